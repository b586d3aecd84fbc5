//! The sentences in which the HTML report describes grants, events and rules.

use crate::cli::output::count;
use crate::domain::event::Tier;
use crate::domain::wording;
use crate::package::html::{Html, code, escape, foreign, lines, short_time, time, wrapped};
use sayso_proof::bundle::usage::{
    AllowedData, Basis, Check, GrantRecord, LogEvent, LogEventKind, ReportedUse, Usage, WithheldData,
};
use std::collections::BTreeMap;

/// A time as text for a sentence, given in milliseconds since the Unix epoch.
pub(super) fn at(ms: u64) -> Html {
    time(&wording::time(ms))
}

/// A time in the short form for a table, given in milliseconds since the Unix epoch.
pub(super) fn short(ms: u64) -> Html {
    short_time(&wording::time(ms))
}

/// Joins pieces of HTML.
pub(super) fn joined(parts: &[Html]) -> Html {
    parts.iter().fold(Html::default(), |all, part| all.with(part))
}

/// Escapes a text, and puts it before a piece of HTML.
fn labeled(text: &str, part: &Html) -> Html {
    escape(text).with(part)
}

/// A role in words for people.
fn who(role: &str) -> &str {
    match role {
        "subject" => "the person",
        "service" => "a service",
        "steward" => "the controller's privacy team",
        "channel" => "an application for the person",
        "authority" => "an authority",
        "ledger" => "the ledger",
        "operator" => "the operator",
        "auditor" => "an auditor",
        _ => "somebody without a known role",
    }
}

/// What allows the use of data.
pub(super) fn ground(data: &AllowedData) -> Html {
    let position = data.ground_at.map(|at| format!("position {at}"));
    let basis = match data.basis {
        Basis::Consent => return consent(data),
        Basis::Contract => "contract",
        Basis::LegitimateInterest => "legitimate interest",
        Basis::LegalObligation => "legal obligation",
    };
    escape(&format!("{basis}, declared by the provider at {}", position.unwrap_or_default()))
}

fn consent(data: &AllowedData) -> Html {
    let Some((position, at_ms)) = data.ground_at.zip(data.consented_at_ms) else {
        return escape("a consent that is not in the bundle: erased, withheld or never recorded");
    };
    let explicit = if data.explicit { "explicit consent" } else { "consent" };
    let guardian = if data.guardian { " of a guardian" } else { "" };
    let by = who(&data.recorded_by);
    let head = format!("{explicit}{guardian} at position {position}, recorded by {by}, ");
    let Some(notice) = &data.notice else {
        return labeled(&head, &short(at_ms)).with(&escape("; no notice named"));
    };
    let published = match notice.published_at {
        Some(position) => format!(", published at position {position}"),
        None => ", which was not published before".to_owned(),
    };
    joined(&[
        labeled(&head, &short(at_ms)),
        labeled("; notice ", &foreign(&notice.id)),
        labeled(", version ", &foreign(&notice.version)),
        escape(&published),
    ])
}

/// What a grant allows, one line for each category and legal basis (a consent or another basis).
pub(super) fn data(grant: &GrantRecord) -> Html {
    let block = |data: &AllowedData| {
        let number = format!(", {}: ", count(data.attributes, "attribute"));
        wrapped("div", &joined(&[wrapped("strong", &foreign(&data.category)), escape(&number), ground(data)]))
    };
    let rest = (grant.data_left_out > 0).then(|| escape(&format!("and {} more", grant.data_left_out)));
    let all: u64 = grant.withheld_data.iter().map(|class| class.attributes).sum();
    let more = grant.withheld.saturating_sub(all);
    let more = (more > 0).then(|| escape(&format!("withheld: {} more", count(more, "attribute"))));
    let withheld = grant.withheld_data.iter().map(withheld);
    let data: Vec<Html> = grant.data.iter().map(block).collect();
    joined(&[joined(&data), lines(rest.into_iter().chain(withheld).chain(more))])
}

/// What a grant withholds for one reason, and who decided that.
fn withheld(class: &WithheldData) -> Html {
    let head = format!("withheld: {}, ", count(class.attributes, "attribute"));
    let decided = tier(&class.decided_by).map(|tier| format!(", decided by {}", wording::tier(tier)));
    let decided = decided.unwrap_or_default();
    let reason = format!(": {}{decided}", class.reason.replace('_', " "));
    let cited = |label: &str, name: &str| match name {
        "" => escape(""),
        name => labeled(label, &foreign(name)),
    };
    joined(&[
        labeled(&head, &foreign(&class.category)),
        escape(&reason),
        cited(", policy ", &class.policy),
        cited(", ", &class.article),
    ])
}

/// The tier with this name; `None` for any other text.
fn tier(name: &str) -> Option<Tier> {
    match name {
        "public" => Some(Tier::Public),
        "provider" => Some(Tier::Provider),
        "individual" => Some(Tier::Individual),
        _ => None,
    }
}

/// How a grant was used, one line for each report, and when it expires or was revoked.
pub(super) fn uses(grant: &GrantRecord) -> Html {
    let line = |used: &ReportedUse| {
        let what = match &used.artifact {
            Some(kind) => format!("built an artifact ({kind})"),
            None if used.count == 1 => "used once".to_owned(),
            None => format!("used {}", count(used.count, "time")),
        };
        let shaped = match used.categories.as_slice() {
            [] => Html::default(),
            categories => {
                let names: Vec<Html> = categories.iter().map(|category| foreign(category)).collect();
                labeled(", shaped by ", &commas(&names))
            }
        };
        let finding = if used.has_finding { " (finding)" } else { "" };
        joined(&[
            escape(&format!("{what}, reported at position {}, ", used.position)),
            short(used.recorded_at_ms),
            shaped,
            escape(finding),
        ])
    };
    let none = grant.uses.is_empty().then(|| escape("no use reported"));
    let rest = (grant.uses_left_out > 0)
        .then(|| escape(&format!("and {} more", count(grant.uses_left_out, "report"))));
    let again = (grant.reused > 0).then(|| escape(&format!("reused {}", count(grant.reused, "time"))));
    let end = match &grant.revoked {
        Some(revoked) => joined(&[
            escape(&format!("revoked at position {}, ", revoked.position)),
            short(revoked.recorded_at_ms),
            escape(&format!(": {}", revoked.reason.replace('_', " "))),
        ]),
        None => labeled("expires ", &short(grant.expires_at_ms)),
    };
    lines(none.into_iter().chain(grant.uses.iter().map(line)).chain(rest).chain(again).chain([end]))
}

fn commas(parts: &[Html]) -> Html {
    let mut all = Html::default();
    for (number, part) in parts.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        all = all.with(&labeled(comma, part));
    }
    all
}

/// How far a grant was checked.
pub(super) fn check(check: Check) -> &'static str {
    match check {
        Check::Full => "<span class=\"good\">checked in full</span>",
        Check::NotInFull => "<span class=\"tag doubt\">not in full</span>",
        Check::Finding => "<span class=\"tag bad\">finding</span>",
    }
}

/// What an event did to the log or its rules.
pub(super) fn event(of: &LogEvent) -> Html {
    let named = |what: &str| labeled(what, &foreign(&of.name));
    let version = |what: Html| what.with(&labeled(", version ", &foreign(&of.version)));
    let word = |what: &str| joined(&[named(what), labeled(": ", &foreign(&of.version))]);
    let tier = of.tier.map_or_else(String::new, |tier| tier.to_string());
    match of.kind {
        LogEventKind::Bounds => version(named(&format!("Bounds published, tier {tier}: "))),
        LogEventKind::Purpose => word("Purpose defined: "),
        LogEventKind::Category => word("Category defined: "),
        LogEventKind::NoticePublished => version(named("Notice published: ")),
        LogEventKind::NoticeRequired => version(named("Notice required: ")),
        LogEventKind::Edition => labeled("Rules of decisions from here on: edition ", &escape(&of.version)),
        LogEventKind::KeyRotated => escape("The log changed its key"),
        LogEventKind::Restored => escape("The log was restored from a backup"),
        LogEventKind::RestoreConfirmed => escape("A restore was confirmed"),
        LogEventKind::ClockAccepted => escape("A difference of the machine's clock was accepted"),
        LogEventKind::Erased => {
            let scope = format!("; scope: {}", of.name.replace('_', " "));
            escape(&format!("Erasure completed: {} destroyed{scope}", count(of.erased, "entry")))
        }
        LogEventKind::Exported => named("Log exported by "),
    }
}

/// Who caused an event, and which key signed it.
pub(super) fn author(of: &LogEvent) -> Html {
    let by = match (of.role.as_str(), of.author.as_str()) {
        ("", "") => Html::default(),
        (role, "") => escape(who(role)),
        (role, name) => joined(&[escape(who(role)), labeled(": ", &foreign(name))]),
    };
    let key = of.key.as_ref().map(|key| {
        let trusted = match of.trusted {
            Some(true) => " (a key that you trust)",
            Some(false) => " (not a key that you trust)",
            None => " (not compared with a key that you trust)",
        };
        joined(&[escape("signed with "), code(key), escape(trusted)])
    });
    lines(std::iter::once(by).chain(key))
}

/// Numbers the sets of packs that grants cite, starting with 1, so that grants with the same rules
/// share a number.
pub(super) fn rule_sets(usage: &Usage) -> BTreeMap<Vec<u64>, usize> {
    usage.rule_sets().zip(1..).map(|(set, number)| (set.to_vec(), number)).collect()
}
