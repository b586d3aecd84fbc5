//! Records what a person was asked and what they decided.

use super::error::AppError;
use super::falls::revoked_ids;
use super::write::{Begin, Pace, Receipt};
use super::{App, Caller, WriteOptions};
use crate::domain::attribute::is_text;
use crate::domain::consent::{NoticeRef, Terms};
use crate::domain::event::{Decision, Event, Role};
use crate::domain::ids::SubjectId;
use crate::domain::{Violation, Violations, vocabulary};
use std::sync::Arc;

const CHOICES_MAX: usize = 16;
const PURPOSES_MAX: usize = 32;
const NAMES_MAX: usize = 64;
const CHANNEL_BYTES_MAX: usize = 64;

/// One choice.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What.
    pub decision: Decision,
    /// 1 to 32 purposes.
    pub purposes: Vec<String>,
    /// At most 64; none: all, special ones never included in a yes.
    pub categories: Vec<String>,
    /// At most 64; none: all.
    pub recipients: Vec<String>,
    /// GDPR Art. 9(2)(a).
    pub explicit: bool,
    /// In force until then, milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
    /// Only in these conversations; at most 64, none: in all.
    pub interactions: Vec<String>,
}

/// Which text was served.
#[derive(Clone, Debug, Default)]
pub struct NoticeServed {
    /// Its id; empty: none was.
    pub id: String,
    /// Empty: the newest.
    pub version: String,
    /// Empty: the notice's own.
    pub language: String,
    /// Empty: the published text's.
    pub digest: Vec<u8>,
}

/// What recording did.
#[derive(Clone, Debug)]
pub struct ConsentChanged {
    /// The events.
    pub receipt: Receipt,
    /// Grants that fell with it.
    pub revoked_grants: Vec<String>,
}

impl App {
    /// Records choices, all or none, and revokes the grants that they contradict. `guardian`: the holder of parental
    /// responsibility spoke (GDPR Art. 8(1)).
    ///
    /// # Errors
    /// Out of bounds; a yes without a notice; an unknown or different notice; erased, stale; or the store.
    pub async fn record_consent(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        choices: Vec<Choice>,
        served: (&NoticeServed, &str),
        guardian: bool,
        options: &WriteOptions,
    ) -> Result<ConsentChanged, AppError> {
        if guardian && caller.role == Role::Subject {
            return Err(AppError::Denied("a guardian speaks through the controller, not as the person"));
        }
        self.check_choices(&choices, served.1)?;
        let notice = self.notice_served(served.0)?;
        if notice.is_none() && choices.iter().any(|choice| choice.decision.is_yes()) {
            return Err(AppError::invalid("notice", "must name the notice that the person saw"));
        }
        let turn = match self.begin(caller, subject, options, None, Pace::Distinct).await? {
            Begin::Replayed(receipt, events) => {
                return Ok(ConsentChanged {
                    receipt,
                    revoked_grants: revoked_ids(caller, events.iter().map(|event| &event.event)),
                });
            }
            Begin::Turn(turn) => turn,
        };
        let planned = choices
            .into_iter()
            .map(|choice| {
                let decision = choice.decision;
                let terms = terms_of(choice, notice.clone(), served.1, guardian);
                self.plan(Event::Consent { decision, terms })
            })
            .collect();
        let planned = self.with_falls(&turn, planned);
        let written = self.commit(turn, planned).await?;
        Ok(ConsentChanged { revoked_grants: written.revoked, receipt: written.receipt })
    }

    /// Records that the person was asked.
    ///
    /// # Errors
    /// Out of bounds, an unknown notice; or the store.
    pub async fn request_consent(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        asked: Choice,
        served: (&NoticeServed, &str),
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        self.check_choices(std::slice::from_ref(&asked), served.1)?;
        let notice = self.notice_served(served.0)?;
        let notice = notice.ok_or_else(|| AppError::invalid("notice", "must name the notice shown"))?;
        match self.begin(caller, subject, options, None, Pace::Shared).await? {
            Begin::Replayed(receipt, _) => Ok(receipt),
            Begin::Turn(turn) => {
                let event = Event::ConsentRequested(terms_of(asked, Some(notice), served.1, false));
                let planned = vec![self.plan(event)];
                Ok(self.commit(turn, planned).await?.receipt)
            }
        }
    }

    /// The notice as it was published; none where none is named.
    fn notice_served(&self, served: &NoticeServed) -> Result<Option<NoticeRef>, AppError> {
        if served.id.is_empty() {
            return Ok(None);
        }
        let rules = self.rules();
        let unknown =
            || AppError::invalid("notice", "must name a published notice; `sayso notice publish` does that");
        let (_, found) = rules.notice(&served.id, &served.version).ok_or_else(unknown)?;
        let mut notice = found.notice.clone().ok_or_else(unknown)?;
        if !served.digest.is_empty() && served.digest != notice.digest {
            return Err(AppError::invalid(
                "notice.digest",
                "is not the published text's: another text was served",
            ));
        }
        if !served.language.is_empty() {
            notice.language.clone_from(&served.language);
        }
        Ok(Some(notice))
    }

    fn check_choices(&self, choices: &[Choice], channel: &str) -> Result<(), AppError> {
        let mut found = Vec::new();
        if !(1..=CHOICES_MAX).contains(&choices.len()) {
            found.push(Violation::new("choices", "must have 1 to 16"));
        }
        if !is_text(channel, 0, CHANNEL_BYTES_MAX) {
            found.push(Violation::new("channel", "must have at most 64 bytes"));
        }
        for (number, choice) in choices.iter().enumerate() {
            self.check_choice(&format!("choices[{number}]"), choice, &mut found);
        }
        if found.is_empty() { Ok(()) } else { Err(AppError::Invalid(Violations(found))) }
    }

    fn check_choice(&self, at: &str, choice: &Choice, found: &mut Vec<Violation>) {
        let rules = self.rules();
        let mut need = |holds: bool, field: &str, problem: String| {
            if !holds {
                found.push(Violation::new(format!("{at}.{field}"), problem));
            }
        };
        need((1..=PURPOSES_MAX).contains(&choice.purposes.len()), "purposes", "must have 1 to 32".into());
        need(choice.categories.len() <= NAMES_MAX, "categories", "must have at most 64".into());
        need(choice.recipients.len() <= NAMES_MAX, "recipients", "must have at most 64".into());
        let named = choice.recipients.iter().all(|name| is_text(name, 1, 256));
        need(named, "recipients", "each must have 1 to 256 bytes".into());
        let conversations = choice.interactions.len() <= NAMES_MAX
            && choice.interactions.iter().all(|name| is_text(name, 1, 128));
        need(conversations, "interactions", "must have at most 64, each of 1 to 128 bytes".into());
        for purpose in choice.purposes.iter().filter(|id| !rules.vocabulary.has_purpose(id)) {
            let near = rules.vocabulary.near_purposes(purpose);
            need(false, "purposes", vocabulary::unknown("purpose", &near));
        }
        for category in choice.categories.iter().filter(|id| !rules.vocabulary.has_category(id)) {
            let near = rules.vocabulary.near_categories(category);
            need(false, "categories", vocabulary::unknown("category", &near));
        }
        let ends = choice.until_ms;
        need(ends.is_none_or(|until| until > self.now_ms()), "until", "must be in the future".into());
        need(choice.decision.is_yes() || ends.is_none(), "until", "is for given and renewed only".into());
    }
}

fn terms_of(choice: Choice, notice: Option<NoticeRef>, channel: &str, guardian: bool) -> Terms {
    Terms {
        purposes: choice.purposes,
        categories: choice.categories,
        recipients: choice.recipients,
        explicit: choice.explicit,
        notice,
        channel: channel.to_owned(),
        until_ms: choice.until_ms,
        interactions: choice.interactions,
        guardian,
    }
}
