//! Compiles a data subject's personal bounds to policies, which only forbid. The data subject writes no
//! policy text, but makes choices in the fields of `PersonalBoundsSet`.
//!
//! The policies contain names of categories, purposes, recipients and conversations, each as a quoted string.
//! No other text of a caller reaches the engine. The data subject is shown exactly the policies that are
//! compiled.

use crate::bounds::policy_text::parse;
use crate::domain::event::{BoundsPublished, PersonalBoundsSet, Tier};
use std::fmt::Write;

/// The name of the pack that personal bounds are shown as.
pub const PERSONAL: &str = "personal";

/// The policies for a data subject's choices, in Cedar's human-readable syntax. Empty if there are no
/// choices.
#[must_use]
pub fn personal_policies(choices: &PersonalBoundsSet) -> String {
    let mut policies = Policies::default();
    if choices.paused {
        policies.forbid("pause", "You paused everything", "PAUSED", "", "");
    }
    if !choices.paused_interactions.is_empty() {
        let names = quoted_all(&choices.paused_interactions);
        let when = format!("[{names}].contains(context.conversation)");
        policies.forbid("pause-conversation", "You paused this conversation", "PAUSED", "", &when);
    }
    for (number, never) in choices.never.iter().enumerate() {
        let number = number.saturating_add(1);
        let scope = match never.category.as_str() {
            "" => String::new(),
            category => format!(" in Category::{}", quoted(category)),
        };
        let purposes = never.purposes.iter().map(|id| format!("Purpose::{}", quoted(id)));
        let purposes = purposes.collect::<Vec<_>>().join(", ");
        let when =
            if purposes.is_empty() { String::new() } else { format!("context.purpose in [{purposes}]") };
        policies.forbid(&format!("never-{number}"), "You said: never use this", "FORBIDDEN", &scope, &when);
    }
    if !choices.only_recipients.is_empty() {
        let named = choices.only_recipients.iter().map(|name| format!("Recipient::{}", quoted(name)));
        let when = format!("!([{}].contains(principal))", named.collect::<Vec<_>>().join(", "));
        policies.forbid("only-recipients", "You named who may use your data", "FORBIDDEN", "", &when);
    }
    if choices.declared_only {
        let when = "resource.provenance != \"declared\" && !context.confirmed";
        policies.forbid("declared-only", "Only what you said yourself is used", "FORBIDDEN", "", when);
    }
    if choices.forget_inferences_days > 0 {
        let days = choices.forget_inferences_days;
        let when = format!("resource.provenance == \"inferred\" && context.age_days >= {days}");
        let title = format!("Conclusions about you are forgotten after {days} days");
        policies.forbid("forget-inferences", &title, "ATTRIBUTE_EXPIRED", "", &when);
    }
    if choices.ask_each_time {
        policies.forbid("ask-each-time", "You want to be asked each time", "NOT_ASKED", "", "!context.asked");
    }
    policies.text
}

/// The title of a personal policy, which is given as `personal/id`.
#[must_use]
pub fn personal_title(choices: &PersonalBoundsSet, policy: &str) -> Option<String> {
    let policies = parse::trusted(&personal_policies(choices)).ok()?;
    let id = policy.strip_prefix(PERSONAL)?.strip_prefix('/')?;
    let named = policies.policies().find(|policy| policy.annotation("id") == Some(id))?;
    named.annotation("title").map(str::to_owned)
}

/// The pack that the choices compile to.
pub(super) fn pack(choices: &PersonalBoundsSet) -> BoundsPublished {
    BoundsPublished {
        tier: Tier::Individual,
        pack: PERSONAL.into(),
        version: String::new(),
        policies: personal_policies(choices),
        schema_digest: crate::bounds::schema_digest().to_vec(),
        effective_from_ms: 0,
    }
}

#[derive(Default)]
struct Policies {
    text: String,
    count: u32,
}

impl Policies {
    fn forbid(&mut self, id: &str, title: &str, reason: &str, scope: &str, when: &str) {
        self.count = self.count.saturating_add(1);
        let (order, title) = (self.count, quoted(title));
        let when = if when.is_empty() { String::new() } else { format!("\nwhen {{ {when} }}") };
        let _infallible = writeln!(
            self.text,
            "@id(\"{id}\")\n@title({title})\n@reason(\"{reason}\")\n@order(\"{order}\")\n\
             forbid (principal, action in Action::\"use\", resource{scope}){when};\n",
        );
    }
}

fn quoted_all(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// Any string as a Cedar string literal.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _infallible = write!(quoted, "\\u{{{:x}}}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
