//! Records that data subjects were asked for consent, and the decisions that they make: consents, renewals,
//! refusals and withdrawals.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::consent::choice::{Choice, ConsentChanged, DecidedBy, NoticeServed, Presentation};
use crate::app::consent::remaining_uses::remaining_uses;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, PendingEvent, Timestamping};
use crate::app::log::idempotency::KeyUse;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::statement_rules;
use crate::domain::PURPOSES_MAX;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::consent::{NoticeRef, Terms};
use crate::domain::event::{Event, Role};
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;
use std::sync::Arc;

const CHOICES_MAX: usize = 16;
const NAMES_MAX: usize = 64;
const CHANNEL_BYTES_MAX: usize = 64;

/// What all choices of one request have in common.
struct Context<'a> {
    notice: Option<NoticeRef>,
    channel: &'a str,
    by_guardian: bool,
}

/// The choices of a request with what they have in common, after their fields were checked.
struct Checked {
    choices: Vec<Choice>,
    notice: Option<NoticeRef>,
    /// What is wrong with the consents, if there is also a no, which is recorded without them.
    invalid_yes: Option<AppError>,
}

impl Consent {
    /// Records choices and revokes the grants that they contradict. All choices are recorded, or none, with
    /// one exception: if the consents in the request can't be recorded, or its idempotency key was used for
    /// another request, the refusals and withdrawals are still recorded.
    ///
    /// A refusal or withdrawal is never rejected because of a field that only a consent needs: its end is
    /// ignored, and so is a notice that is not published. A refusal or withdrawal that matches nothing is
    /// recorded too, and the answer says so. It is also recorded if it concerns a time before an erasure of
    /// the subject. A consent is not.
    ///
    /// # Errors
    /// A field is invalid, the subject was erased, the expected version is stale, the idempotency key was
    /// used for another request, or the store fails. A consent also fails if no notice is named, the notice
    /// is not published, its text differs, its version no longer counts, or the caller may not record a
    /// consent.
    pub async fn record_consent(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        choices: Vec<Choice>,
        presentation: &Presentation,
        decided_by: DecidedBy,
        options: &WriteOptions,
    ) -> Result<ConsentChanged, AppError> {
        let by_guardian = decided_by == DecidedBy::Guardian;
        let checked = self.check_decisions(caller, choices, presentation, by_guardian)?;
        let Checked { mut choices, notice, invalid_yes } = checked;
        let has_yes = choices.iter().any(|choice| choice.decision.is_yes());
        let has_no = choices.iter().any(is_no);
        let refused = refused_purposes(&choices);
        let remaining = |state: &SubjectState, vocabulary: &Vocabulary, now_ms| {
            refused.as_ref().map(|to| remaining_uses(state, vocabulary, now_ms, to)).unwrap_or_default()
        };
        let (begun, key_use) = match has_no {
            true => self.core.begin_no(caller, subject, options).await?,
            false => {
                let begun = self.core.begin(caller, subject, options, None, Timestamping::Distinct).await?;
                (begun, KeyUse::Own)
            }
        };
        let append = match begun {
            Begun::Replayed(receipt, events) => {
                let before = self.before(subject, &events).await?;
                let changed = self.replayed_change(caller, &before, receipt, &events)?;
                let remaining_uses = remaining(&before.state, &before.rules.vocabulary, before.now_ms);
                return Ok(ConsentChanged { remaining_uses, ..changed });
            }
            Begun::Append(append) => append,
        };
        check_names(&append, &choices, is_no)?;
        let is_own = caller.role == Role::Subject;
        let channel = channel_of(presentation);
        let context = Context { notice, channel, by_guardian: by_guardian && !is_own };
        let check = || {
            check_guardian(caller, by_guardian)?;
            check_yes(&append, &choices, context.notice.as_ref())
        };
        let refusal = match (key_use, invalid_yes) {
            (KeyUse::Reused, _) => Some(AppError::KeyReused),
            (KeyUse::Own, Some(invalid)) => Some(invalid),
            (KeyUse::Own, None) => has_yes.then(check).and_then(Result::err),
        };
        if let Some(refusal) = refusal {
            choices.retain(is_no);
            return Err(self.record_refusals_alone(append, choices, &context, refusal).await?);
        }
        let events = self.consent_events(choices, &context);
        let unmatched = self.unmatched(&append, &events)?;
        let frame = self.core.with_revocations(&append, events);
        let remaining_uses = remaining(&append.stream.read().state, &append.rules.vocabulary, append.now_ms);
        let written = self.core.commit(append, frame).await?;
        Ok(ConsentChanged {
            revoked_grants: written.revoked,
            receipt: written.receipt,
            unmatched,
            effect: None,
            remaining_uses,
        })
    }

    /// Checks the fields of choices. If there is a no among them, fields that are wrong for the consents only
    /// are no error: the no is recorded without the consents.
    ///
    /// # Errors
    /// A field is invalid, or the caller may not record what are consents only.
    fn check_decisions(
        &self,
        caller: &Caller,
        mut choices: Vec<Choice>,
        presentation: &Presentation,
        by_guardian: bool,
    ) -> Result<Checked, AppError> {
        let has_yes = choices.iter().any(|choice| choice.decision.is_yes());
        let has_no = choices.iter().any(is_no);
        choices.iter_mut().filter(|choice| is_no(choice)).for_each(|no| no.until_ms = None);
        if !has_no {
            check_guardian(caller, by_guardian && has_yes)?;
        }
        self.check_choices(&choices, is_no)?;
        let notice = self.published_notice(&presentation.notice);
        if !has_yes {
            return Ok(Checked { choices, notice: notice.ok().flatten(), invalid_yes: None });
        }
        let shown = notice.as_ref().ok().cloned().flatten();
        let invalid_yes = self
            .check_choices(&choices, |choice| choice.decision.is_yes())
            .and_then(|()| check_channel(&presentation.channel))
            .and(notice)
            .and_then(|notice| {
                notice.ok_or_else(|| AppError::invalid("notice", "must name the notice that the person saw"))
            })
            .err();
        match invalid_yes {
            Some(invalid) if !has_no => return Err(invalid),
            _ if !has_no => statement_rules::check_may_consent(caller)?,
            _ => {}
        }
        Ok(Checked { choices, notice: shown, invalid_yes })
    }

    fn consent_events(&self, choices: Vec<Choice>, context: &Context<'_>) -> Vec<PendingEvent> {
        let event = |choice: Choice| {
            let decision = choice.decision;
            Event::Consent { decision, terms: terms_of(choice, context) }
        };
        choices.into_iter().map(|choice| self.core.plan(event(choice))).collect()
    }

    /// Records the refusals and withdrawals of a request that fails otherwise, and returns the error for the
    /// caller. If the same request is repeated, nothing more is recorded.
    async fn record_refusals_alone(
        self: &Arc<Self>,
        append: Append,
        refusals: Vec<Choice>,
        context: &Context<'_>,
        error: AppError,
    ) -> Result<AppError, AppError> {
        if refusals.is_empty() {
            return Ok(error);
        }
        let append = self.core.as_attempt(append);
        if !self.core.is_already_recorded(&append)? {
            let frame = self.core.with_revocations(&append, self.consent_events(refusals, context));
            self.core.commit(append, frame).await?;
        }
        Ok(AppError::RefusalsRecorded(Box::new(error)))
    }

    /// Records that the data subject was asked for consent.
    ///
    /// # Errors
    /// A field is invalid, the notice is not published, the subject was erased, or the store fails.
    pub async fn request_consent(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        choice: Choice,
        presentation: &Presentation,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        self.check_choices(std::slice::from_ref(&choice), |_| true)?;
        check_channel(&presentation.channel)?;
        let notice = self.published_notice(&presentation.notice)?;
        let notice = notice.ok_or_else(|| AppError::invalid("notice", "must name the notice shown"))?;
        match self.core.begin(caller, subject, options, None, Timestamping::Shared).await? {
            Begun::Replayed(receipt, _) => Ok(receipt),
            Begun::Append(append) => {
                check_names(&append, std::slice::from_ref(&choice), |_| true)?;
                let channel = &presentation.channel;
                let context = Context { notice: Some(notice), channel, by_guardian: false };
                let event = Event::ConsentRequested(terms_of(choice, &context));
                let pending_events = vec![self.core.plan(event)];
                Ok(self.core.commit(append, pending_events).await?.receipt)
            }
        }
    }

    /// The published notice that was served; none if the request names no notice.
    fn published_notice(&self, served: &NoticeServed) -> Result<Option<NoticeRef>, AppError> {
        if served.id.is_empty() {
            return Ok(None);
        }
        let rules = self.core.rules();
        let unknown = || {
            AppError::invalid(
                "notice",
                "must name a published notice; publish it with `sayso notice publish`",
            )
        };
        let (_, found) = rules.notice(&served.id, &served.version).ok_or_else(unknown)?;
        let mut notice = found.notice.clone().ok_or_else(unknown)?;
        if !served.digest.is_empty() && served.digest != notice.digest {
            return Err(AppError::invalid(
                "notice.digest",
                "must be the SHA-256 of the published text: another text was served",
            ));
        }
        if !served.language.is_empty() {
            notice.language.clone_from(&served.language);
        }
        Ok(Some(notice))
    }

    /// Checks how many choices there are, and the fields of those that `are_checked` selects.
    fn check_choices(
        &self,
        choices: &[Choice],
        are_checked: impl Fn(&Choice) -> bool,
    ) -> Result<(), AppError> {
        let mut checks = Checks::new();
        checks.need((1..=CHOICES_MAX).contains(&choices.len()), "choices", "must have 1 to 16");
        for (number, choice) in choices.iter().enumerate().filter(|(_, choice)| are_checked(choice)) {
            checks.enter(format!("choices[{number}]"));
            self.check_choice(choice, &mut checks);
        }
        Ok(checks.finish()?)
    }

    fn check_choice(&self, choice: &Choice, checks: &mut Checks) {
        let rules = self.core.rules();
        let vocabulary = &rules.vocabulary;
        let is_yes = choice.decision.is_yes();
        let purposes = choice.purposes.len() <= PURPOSES_MAX && !(is_yes && choice.purposes.is_empty());
        checks.need(purposes, "purposes", "must have 1 to 32; for a refusal or withdrawal, none means all");
        checks.need(choice.categories.len() <= NAMES_MAX, "categories", "must have at most 64");
        checks.need(choice.recipients.len() <= NAMES_MAX, "recipients", "must have at most 64");
        let recipients = choice.recipients.iter().all(|name| is_text(name, 1, 256));
        checks.need(recipients, "recipients", "each must have 1 to 256 bytes");
        let interactions = choice.interactions.len() <= NAMES_MAX
            && choice.interactions.iter().all(|name| is_text(name, 1, 128));
        checks.need(interactions, "interactions", "must have at most 64, each of 1 to 128 bytes");
        checks.need_purposes(vocabulary, &choice.purposes, "purposes");
        checks.need_categories(vocabulary, &choice.categories, "categories");
        let until = choice.until_ms.is_none_or(|until| until > self.core.now_ms());
        checks.need(until, "expires_at", "must be in the future");
    }
}

/// Whether a choice is a refusal or withdrawal.
fn is_no(choice: &Choice) -> bool {
    !choice.decision.is_yes()
}

/// The channel through which choices were presented. A no is recorded without a channel that is not valid.
fn channel_of(presentation: &Presentation) -> &str {
    if check_channel(&presentation.channel).is_ok() { &presentation.channel } else { "" }
}

fn check_channel(channel: &str) -> Result<(), AppError> {
    match is_text(channel, 0, CHANNEL_BYTES_MAX) {
        true => Ok(()),
        false => Err(AppError::invalid("channel", "must have at most 64 bytes")),
    }
}

/// Checks that a consent which a guardian gives is not recorded with the person's own credential.
fn check_guardian(caller: &Caller, by_guardian: bool) -> Result<(), AppError> {
    if by_guardian && caller.role == Role::Subject {
        let why = "a guardian's consent must be recorded by the controller, not by the person";
        return Err(AppError::Denied { why, allowed: &[Role::Channel, Role::Steward] });
    }
    Ok(())
}

/// The purposes that the refusals and withdrawals among choices name, where an empty list means all purposes.
/// `None` if there is no refusal or withdrawal.
fn refused_purposes(choices: &[Choice]) -> Option<Vec<String>> {
    let refused: Vec<&Choice> = choices.iter().filter(|choice| is_no(choice)).collect();
    if refused.is_empty() {
        return None;
    }
    let all = refused.iter().any(|choice| choice.purposes.is_empty());
    let named = refused.iter().flat_map(|choice| choice.purposes.iter().cloned());
    Some(if all { Vec::new() } else { named.collect() })
}

/// Checks the characters of the recipients and conversations that choices name, of those choices that
/// `are_checked` selects. A name that is recorded about this person is accepted with any character.
fn check_names(
    append: &Append,
    choices: &[Choice],
    are_checked: impl Fn(&Choice) -> bool,
) -> Result<(), AppError> {
    let now = append.stream.read();
    let mut checks = Checks::new();
    for (number, choice) in choices.iter().enumerate().filter(|(_, choice)| are_checked(choice)) {
        checks.enter(format!("choices[{number}]"));
        for name in &choice.recipients {
            checks.need_name(now.state.recipient_problem(name), "recipients");
        }
        for name in &choice.interactions {
            checks.need_name(now.state.interaction_problem(name), "interactions");
        }
    }
    Ok(checks.finish()?)
}

/// Whether the consents among choices may be recorded. If they concern a time before the subject's erasure,
/// and there are refusals or withdrawals too, only these are recorded.
fn check_yes(append: &Append, choices: &[Choice], notice: Option<&NoticeRef>) -> Result<(), AppError> {
    check_names(append, choices, |choice| choice.decision.is_yes())?;
    statement_rules::check_consent(&append.caller, append, choices)?;
    check_notice(append, notice)?;
    let has_no = choices.iter().any(is_no);
    if append.predates_erasure && has_no { Err(AppError::ConsentErased) } else { Ok(()) }
}

/// Rejects a new consent to a version of a notice that no longer counts: the person was shown the wrong
/// version. A consent that was given before the requirement is recorded as what the person said then.
fn check_notice(append: &Append, notice: Option<&NoticeRef>) -> Result<(), AppError> {
    let outdated = notice.and_then(|notice| append.rules.vocabulary.notices.outdated(notice));
    match outdated {
        Some(required) if append.about_ms >= required.since_ms => Err(AppError::invalid(
            "notice.version",
            format!(
                "must be `{}` or later: earlier versions no longer count for new consents",
                required.version
            ),
        )),
        _ => Ok(()),
    }
}

fn terms_of(choice: Choice, context: &Context<'_>) -> Terms {
    Terms {
        purposes: choice.purposes,
        categories: choice.categories,
        recipients: choice.recipients,
        explicit: choice.explicit,
        notice: context.notice.clone(),
        channel: context.channel.to_owned(),
        until_ms: choice.until_ms,
        interactions: choice.interactions,
        guardian: context.by_guardian,
    }
}
