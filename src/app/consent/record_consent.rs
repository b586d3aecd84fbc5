//! Records what a person was asked and what they decided.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, PendingEvent, Timestamping};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::revocation::revoked_ids;
use crate::app::statement_rules;
use crate::domain::attribute::is_text;
use crate::domain::consent::{Decision, NoticeRef, Terms};
use crate::domain::event::{Event, Role};
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
    /// 1 to 32 purposes; of a no at most 32, none: all.
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

/// How the choices were presented to the data subject.
#[derive(Clone, Debug, Default)]
pub struct Presentation {
    /// The notice that was served.
    pub notice: NoticeServed,
    /// Where: an app, a website, a conversation. At most 64 bytes.
    pub channel: String,
}

/// Who made the choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The data subject.
    Subject,
    /// The holder of parental responsibility (GDPR Art. 8(1)).
    Guardian,
}

/// What recording did.
#[derive(Clone, Debug)]
pub struct ConsentChanged {
    /// The events.
    pub receipt: Receipt,
    /// Grants that fell with it.
    pub revoked_grants: Vec<String>,
}

impl Consent {
    /// Records choices, all or none, and revokes the grants that they contradict. `guardian`: the holder of parental
    /// responsibility spoke (GDPR Art. 8(1)). Where a yes among them is not the caller's to record, the noes are recorded all
    /// the same. What a no can't have, as an end, is left out, and so is a notice that is not there.
    ///
    /// # Errors
    /// Out of bounds; a yes without a notice, with an unknown or different one, or that is not the caller's to record;
    /// erased, stale; or the store.
    pub async fn record_consent(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        mut choices: Vec<Choice>,
        presentation: &Presentation,
        decided_by: DecidedBy,
        options: &WriteOptions,
    ) -> Result<ConsentChanged, AppError> {
        let Presentation { notice, channel } = presentation;
        let guardian = decided_by == DecidedBy::Guardian;
        let yes = choices.iter().any(|choice| choice.decision.is_yes());
        let only_yes = choices.iter().all(|choice| choice.decision.is_yes());
        for no in choices.iter_mut().filter(|choice| !choice.decision.is_yes()) {
            no.until_ms = None;
        }
        if yes && guardian && caller.role == Role::Subject {
            return Err(AppError::Denied("a guardian speaks through the controller, not as the person"));
        }
        let channel = if yes || is_text(channel, 0, CHANNEL_BYTES_MAX) { channel } else { "" };
        self.check_choices(&choices, channel)?;
        let notice = match self.notice_served(notice) {
            Err(_) if !yes => None,
            served => served?,
        };
        if yes && notice.is_none() {
            return Err(AppError::invalid("notice", "must name the notice that the person saw"));
        }
        if yes && only_yes {
            statement_rules::check_yes(caller)?;
        }
        let append = match self.core.begin(caller, subject, options, None, Timestamping::Distinct).await? {
            Begun::Replayed(receipt, events) => {
                return Ok(ConsentChanged {
                    receipt,
                    revoked_grants: revoked_ids(caller, events.iter().map(|event| &event.event)),
                });
            }
            Begun::Append(append) => append,
        };
        let said = Said { notice, channel, guardian: guardian && caller.role != Role::Subject };
        let refused = yes.then(|| statement_rules::check_consent(caller, &append, &choices).err()).flatten();
        if let Some(refused) = refused {
            choices.retain(|choice| !choice.decision.is_yes());
            return Err(self.record_noes_alone(append, choices, &said, refused).await?);
        }
        let pending_events = self.pending_events(choices, &said);
        let pending_events = self.core.with_revocations(&append, pending_events);
        let written = self.core.commit(append, pending_events).await?;
        Ok(ConsentChanged { revoked_grants: written.revoked, receipt: written.receipt })
    }

    fn pending_events(&self, choices: Vec<Choice>, said: &Said<'_>) -> Vec<PendingEvent> {
        let event = |choice: Choice| {
            let decision = choice.decision;
            let terms = terms_of(choice, said.notice.clone(), said.channel, said.guardian);
            Event::Consent { decision, terms }
        };
        choices.into_iter().map(|choice| self.core.plan(event(choice))).collect()
    }

    /// Records the noes of a request whose yes is refused, and gives the error that the caller gets. The same request made
    /// again is one attempt.
    async fn record_noes_alone(
        self: &Arc<Self>,
        append: Append,
        noes: Vec<Choice>,
        said: &Said<'_>,
        refused: AppError,
    ) -> Result<AppError, AppError> {
        if noes.is_empty() {
            return Ok(refused);
        }
        let append = self.core.as_attempt(append);
        if !self.core.is_already_recorded(&append)? {
            let pending_events = self.pending_events(noes, said);
            let pending_events = self.core.with_revocations(&append, pending_events);
            self.core.commit(append, pending_events).await?;
        }
        Ok(match refused {
            AppError::Reserved { reason, why } => AppError::Reserved {
                reason,
                why: format!("{why}. What was refused or withdrawn beside it is recorded"),
            },
            other => other,
        })
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
        presentation: &Presentation,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        self.check_choices(std::slice::from_ref(&asked), &presentation.channel)?;
        let notice = self.notice_served(&presentation.notice)?;
        let notice = notice.ok_or_else(|| AppError::invalid("notice", "must name the notice shown"))?;
        match self.core.begin(caller, subject, options, None, Timestamping::Shared).await? {
            Begun::Replayed(receipt, _) => Ok(receipt),
            Begun::Append(append) => {
                let event =
                    Event::ConsentRequested(terms_of(asked, Some(notice), &presentation.channel, false));
                let pending_events = vec![self.core.plan(event)];
                Ok(self.core.commit(append, pending_events).await?.receipt)
            }
        }
    }

    /// The notice as it was published; none where none is named.
    fn notice_served(&self, served: &NoticeServed) -> Result<Option<NoticeRef>, AppError> {
        if served.id.is_empty() {
            return Ok(None);
        }
        let rules = self.core.rules();
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
        let rules = self.core.rules();
        let mut need = |holds: bool, field: &str, problem: String| {
            if !holds {
                found.push(Violation::new(format!("{at}.{field}"), problem));
            }
        };
        let yes = choice.decision.is_yes();
        let named = choice.purposes.len() <= PURPOSES_MAX && !(yes && choice.purposes.is_empty());
        need(named, "purposes", "must have 1 to 32; of a no, none stands for all".into());
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
        need(ends.is_none_or(|until| until > self.core.now_ms()), "until", "must be in the future".into());
    }
}

/// What goes for all choices of a request.
struct Said<'a> {
    notice: Option<NoticeRef>,
    channel: &'a str,
    guardian: bool,
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
