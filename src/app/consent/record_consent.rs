//! Records that data subjects were asked for consent, and the decisions that they make: consents, renewals,
//! refusals and withdrawals.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::consent::choice::{Choice, ConsentChanged, DecidedBy, NoticeServed, Presentation};
use crate::app::consent::remaining_uses::remaining_uses;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, PendingEvent, Timestamping};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::statement_rules;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::consent::{NoticeRef, Terms};
use crate::domain::event::{Event, Role};
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;
use crate::domain::{PURPOSES_MAX, Violations};
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

impl Consent {
    /// Records choices and revokes the grants that they contradict. All choices are recorded, or none, with
    /// one exception: if the caller may not record one of the consents, the refusals and withdrawals are
    /// still recorded.
    ///
    /// A refusal or withdrawal is never rejected because of a field that only a consent needs: its end is
    /// ignored, and so is a notice that is not published. A refusal or withdrawal that matches nothing is
    /// recorded too, and the answer says so. It is also recorded if it concerns a time before an erasure of
    /// the subject. A consent is not.
    ///
    /// # Errors
    /// A field is invalid, the subject was erased, the expected version is stale, or the store fails. A
    /// consent also fails if no notice is named, the notice is not published, its text differs, its version
    /// no longer counts, or the caller may not record a consent.
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
        let by_guardian = decided_by == DecidedBy::Guardian;
        let has_yes = choices.iter().any(|choice| choice.decision.is_yes());
        let has_only_yes = choices.iter().all(|choice| choice.decision.is_yes());
        for no in choices.iter_mut().filter(|choice| !choice.decision.is_yes()) {
            no.until_ms = None;
        }
        if has_only_yes {
            check_guardian(caller, by_guardian && has_yes)?;
        }
        let channel = if has_yes || is_text(channel, 0, CHANNEL_BYTES_MAX) { channel } else { "" };
        self.check_choices(&choices, channel)?;
        let notice = match self.published_notice(notice) {
            Err(_) if !has_yes => None,
            notice => notice?,
        };
        if has_yes && notice.is_none() {
            return Err(AppError::invalid("notice", "must name the notice that the person saw"));
        }
        if has_yes && has_only_yes {
            statement_rules::check_may_consent(caller)?;
        }
        let refused = refused_purposes(&choices);
        let remaining = |state: &SubjectState, vocabulary: &Vocabulary, now_ms| {
            refused.as_ref().map(|to| remaining_uses(state, vocabulary, now_ms, to)).unwrap_or_default()
        };
        let append = match self.core.begin(caller, subject, options, None, Timestamping::Distinct).await? {
            Begun::Replayed(receipt, events) => {
                let before = self.before(subject, &events).await?;
                let changed = self.replayed_change(caller, &before, receipt, &events)?;
                let remaining_uses = remaining(&before.state, &before.rules.vocabulary, before.now_ms);
                return Ok(ConsentChanged { remaining_uses, ..changed });
            }
            Begun::Append(append) => append,
        };
        check_names(&append, &choices)?;
        let is_own = caller.role == Role::Subject;
        let context = Context { notice, channel, by_guardian: by_guardian && !is_own };
        let check = || {
            check_guardian(caller, by_guardian)?;
            check_yes(&append, &choices, context.notice.as_ref())
        };
        if let Some(refusal) = has_yes.then(check).and_then(Result::err) {
            choices.retain(|choice| !choice.decision.is_yes());
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

    fn consent_events(&self, choices: Vec<Choice>, context: &Context<'_>) -> Vec<PendingEvent> {
        let event = |choice: Choice| {
            let decision = choice.decision;
            Event::Consent { decision, terms: terms_of(choice, context) }
        };
        choices.into_iter().map(|choice| self.core.plan(event(choice))).collect()
    }

    /// Records the refusals and withdrawals of a request whose consents the caller may not record, and
    /// returns the error for the caller. If the request is repeated, nothing more is recorded.
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
        let said =
            |why: &str| format!("{why}. What was refused or withdrawn in the same request is recorded");
        Ok(match error {
            AppError::Reserved { rule, why } => AppError::Reserved { rule, why: said(&why) },
            AppError::Invalid(Violations(mut found)) => {
                found.iter_mut().for_each(|violation| violation.problem = said(&violation.problem));
                AppError::Invalid(Violations(found))
            }
            other => other,
        })
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
        self.check_choices(std::slice::from_ref(&choice), &presentation.channel)?;
        let notice = self.published_notice(&presentation.notice)?;
        let notice = notice.ok_or_else(|| AppError::invalid("notice", "must name the notice shown"))?;
        match self.core.begin(caller, subject, options, None, Timestamping::Shared).await? {
            Begun::Replayed(receipt, _) => Ok(receipt),
            Begun::Append(append) => {
                check_names(&append, std::slice::from_ref(&choice))?;
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

    fn check_choices(&self, choices: &[Choice], channel: &str) -> Result<(), AppError> {
        let mut checks = Checks::new();
        checks.need((1..=CHOICES_MAX).contains(&choices.len()), "choices", "must have 1 to 16");
        checks.need(is_text(channel, 0, CHANNEL_BYTES_MAX), "channel", "must have at most 64 bytes");
        for (number, choice) in choices.iter().enumerate() {
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
    let refused: Vec<&Choice> = choices.iter().filter(|choice| !choice.decision.is_yes()).collect();
    if refused.is_empty() {
        return None;
    }
    let all = refused.iter().any(|choice| choice.purposes.is_empty());
    let named = refused.iter().flat_map(|choice| choice.purposes.iter().cloned());
    Some(if all { Vec::new() } else { named.collect() })
}

/// Checks the characters of the recipients and conversations that choices name. A name that is recorded about
/// this person is accepted with any character.
fn check_names(append: &Append, choices: &[Choice]) -> Result<(), AppError> {
    let now = append.stream.read();
    let mut checks = Checks::new();
    for (number, choice) in choices.iter().enumerate() {
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
    statement_rules::check_consent(&append.caller, append, choices)?;
    check_notice(append, notice)?;
    let has_no = choices.iter().any(|choice| !choice.decision.is_yes());
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
