//! Explains a grant, and so the replies that were made with it: who recorded each attribute, which consents
//! and rules allowed its use, and what was withheld.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::grants::explain_consents::{ExplainedConsent, Known, consents};
use crate::app::grants::standing::Standing;
use crate::bounds::explain_refusal::{refusal, who};
use crate::domain::consent::ConsentRecord;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{
    Actor, Event, GrantIssued, GrantedAttribute, Provenance, Recorded, Role, WithheldClass,
};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::legal_basis::Basis;
use crate::domain::word_cache::WordCache;
use crate::domain::wording;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

/// The largest size of the reported uses in an answer, bytes. The answer has each use twice: as fields and as
/// text.
const USES_BYTES_MAX: usize = 256 << 10;
/// The size of a reported use in an answer without its texts, bytes.
const USE_BYTES: usize = 64;

/// An attribute that a grant allowed, and what happened to it since.
#[derive(Clone, Debug)]
pub struct ExplainedAttribute {
    /// As it was recorded.
    pub current: CurrentAttribute,
    /// What the use rests on.
    pub basis: Basis,
    /// What happened to it since; empty if nothing did.
    pub since: String,
}

/// A reported use.
#[derive(Clone, Debug)]
pub struct ExplainedUse {
    /// The recipient's own name for the reply.
    pub reply: String,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// How many uses the report counts.
    pub count: u32,
    /// Keys of the attributes that shaped the reply.
    pub shaped_by: Vec<String>,
}

/// The explanation of a grant.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The grant.
    pub id: GrantId,
    /// As it was issued.
    pub issued: GrantIssued,
    /// Milliseconds since the Unix epoch.
    pub issued_at_ms: u64,
    /// Whether it is still valid.
    pub standing: Standing,
    /// When it was revoked, if it was. Milliseconds since the Unix epoch.
    pub revoked_at_ms: Option<u64>,
    /// The attributes that it allowed.
    pub allowed: Vec<ExplainedAttribute>,
    /// The attributes that it allowed and that are gone since, each with what happened to it.
    pub gone: Vec<(GrantedAttribute, String)>,
    /// What it withheld, by class.
    pub withheld: Vec<WithheldClass>,
    /// The consents that it was based on.
    pub consents: Vec<ExplainedConsent>,
    /// The newest reported uses, as many as fit the answer.
    pub uses: Vec<ExplainedUse>,
    /// How many earlier reports there are.
    pub uses_before: u64,
    /// How often the grant was reused in its conversation.
    pub reuse_count: u32,
    /// The explanation as text.
    pub text: String,
    /// `c2sp.org/tlog-proof` text of the grant's entry.
    pub proof: String,
}

impl Grants {
    /// Explains a grant: what was known then, who allowed it, and what happened since.
    ///
    /// # Errors
    /// The caller has no such grant, a data subject asks about a grant that does not concern them, the grant
    /// was erased and the caller may know that, or the store failed.
    pub async fn explain_grant(
        self: &Arc<Self>,
        caller: &Caller,
        grant: &GrantId,
    ) -> Result<Explanation, AppError> {
        let found = self.find_grant(caller, grant).await?;
        if let Some(subject) = &caller.subject {
            let own =
                self.core.vault.subject(subject)?.is_some_and(|keys| keys.handle == found.stream.keys.handle);
            if !own {
                return Err(AppError::NotFound("grant"));
            }
        }
        let (standing, recipient) = self.standing(&found, grant)?;
        if caller.role == Role::Service && recipient != caller.name {
            return Err(AppError::NotFound("grant"));
        }
        self.core.record_view_in(caller, Arc::clone(&found.stream), "ExplainGrant").await?;
        self.core.record_reuse_before_read(&found.stream).await;
        let mut history = self.core.events_of(&found.stream.keys)?;
        if !caller.sees_others() {
            history.iter_mut().for_each(|event| redact_for(&caller.name, event));
        }
        let event = history.iter().find(|event| event.event_id == found.event);
        let event = event.ok_or(AppError::NotFound("grant"))?;
        let Event::GrantIssued(issued) = &event.event else { return Err(AppError::NotFound("grant")) };
        let rules = self.core.rules();
        let state = found.stream.read().state.clone();
        let now_ms = self.core.now_ms();
        let current: BTreeSet<EventId> =
            state.attributes.values().map(|attribute| attribute.event_id).collect();
        let words_of = |record: &ConsentRecord| self.core.rules.history().words_of(record);
        let (log, vocabulary) = (&state.consents, &rules.vocabulary);
        let known = Known { log, vocabulary, words_of: &words_of, now_ms };
        let (uses, uses_before) = uses(&history, issued, found.event);
        let mut explanation = Explanation {
            id: *grant,
            issued: issued.clone(),
            issued_at_ms: event.recorded_at_ms,
            standing,
            revoked_at_ms: revoked_at(&history, found.event),
            allowed: allowed(&history, issued, &|id| current.contains(&id)),
            gone: gone(&history, issued),
            withheld: issued.withheld.clone(),
            consents: consents(caller, &history, issued, &known),
            uses,
            uses_before,
            reuse_count: reuse_count(&history, found.event),
            text: String::new(),
            proof: self.core.ledger.proof_text(grant.position)?,
        };
        let at = |event: &Recorded| {
            let history = self.core.rules.history();
            history.before(event.position, event.sealed_at_ms)
        };
        let rules = at(event)?;
        // Later events do not explain the decision.
        let (before, _) = history.split_at(history.partition_point(|other| other.version < event.version));
        let refusals: Vec<String> =
            issued.withheld.iter().map(|class| refusal(class, &rules, before)).collect();
        explanation.text = explanation_text(&explanation, &refusals);
        Ok(explanation)
    }
}

/// Removes what a service may not see: the names of other actors, the evidence of attributes, and the other
/// recipients of a consent.
fn redact_for(service: &str, event: &mut Recorded) {
    if event.actor.name != service {
        event.actor.name.clear();
    }
    match &mut event.event {
        Event::AttributeRecorded(attribute)
        | Event::EarlierAttributeRecorded(attribute)
        | Event::AttributeCorrected { attribute, .. } => {
            attribute.evidence.clear();
        }
        Event::Consent { terms, .. } if terms.recipients.iter().any(|named| named == service) => {
            terms.recipients.retain(|named| named == service);
        }
        _ => {}
    }
}

fn revoked_at(history: &[Recorded], grant: EventId) -> Option<u64> {
    let revokes =
        |event: &&Recorded| matches!(&event.event, Event::GrantRevoked { grant: of, .. } if *of == grant);
    history.iter().find(revokes).map(|event| event.recorded_at_ms)
}

/// A data subject's history. It is indexed in one pass, however many attributes are explained.
struct History<'a> {
    by_id: BTreeMap<EventId, &'a Recorded>,
    /// The last change to each attribute. The key is the id of the event that recorded the attribute.
    since: BTreeMap<EventId, (&'a Recorded, &'static str)>,
    /// The last two events that recorded an attribute under each key, the newest first.
    recorded: BTreeMap<&'a str, (&'a Recorded, Option<&'a Recorded>)>,
}

impl<'a> History<'a> {
    fn of(history: &'a [Recorded]) -> Self {
        let mut index = Self { by_id: BTreeMap::new(), since: BTreeMap::new(), recorded: BTreeMap::new() };
        for event in history {
            index.by_id.insert(event.event_id, event);
            let (of, what) = match &event.event {
                Event::AttributeCorrected { corrects, .. } => (*corrects, "corrected"),
                Event::AttributeContested { attribute, .. } => (*attribute, "contested by the person"),
                Event::AttributeConfirmed { attribute } => (*attribute, "confirmed by the person"),
                Event::AttributeSourcesAdded { attribute, .. } => {
                    (*attribute, "found to be inferred from special details")
                }
                Event::AttributeRemoved { attribute, .. } => (*attribute, "removed"),
                Event::AttributeRecorded(attribute) => {
                    let before = index.recorded.get(attribute.key.as_str()).map(|(newest, _)| *newest);
                    index.recorded.insert(&attribute.key, (event, before));
                    continue;
                }
                _ => continue,
            };
            index.since.insert(of, (event, what));
        }
        index
    }

    /// The last change to an attribute; empty if there was none.
    fn since(&self, id: EventId, key: &str, is_current: bool) -> String {
        let happened = self.since.get(&id).copied();
        let recorded = self.recorded.get(key).filter(|_| !is_current);
        let other =
            recorded.and_then(|(newest, before)| if newest.event_id == id { *before } else { Some(*newest) });
        let replaced = other.map(|event| (event, "replaced"));
        let last = happened.into_iter().chain(replaced).max_by_key(|(event, _)| event.version);
        last.map(|(event, what)| format!("{what} on {}", wording::time(event.recorded_at_ms)))
            .unwrap_or_default()
    }
}

fn allowed(
    history: &[Recorded],
    issued: &GrantIssued,
    is_current: &dyn Fn(EventId) -> bool,
) -> Vec<ExplainedAttribute> {
    let index = History::of(history);
    let explained = |cited: &GrantedAttribute| {
        let id = cited.attribute;
        let event = index.by_id.get(&id)?;
        let (Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. }) =
            &event.event
        else {
            return None;
        };
        Some(ExplainedAttribute {
            current: CurrentAttribute {
                event_id: id,
                position: event.position,
                unchanged_since: 0,
                version: event.version,
                recorded_at_ms: event.recorded_at_ms,
                actor: event.actor.clone(),
                attribute: attribute.clone(),
                contested: false,
                contested_in_person: false,
                contested_at_ms: 0,
                words: WordCache::default(),
                confirmed: false,
            },
            basis: cited.basis,
            since: index.since(id, &attribute.key, is_current(id)),
        })
    };
    issued.allowed.iter().filter_map(explained).collect()
}

/// The attributes that the grant allowed and whose events are gone, each with what happened to it.
fn gone(history: &[Recorded], issued: &GrantIssued) -> Vec<(GrantedAttribute, String)> {
    let present: BTreeSet<EventId> = history.iter().map(|event| event.event_id).collect();
    let expired: BTreeMap<EventId, (u64, bool)> = history
        .iter()
        .filter_map(|event| match &event.event {
            Event::AttributeExpired { attribute, by_retention } => {
                Some((*attribute, (event.recorded_at_ms, *by_retention)))
            }
            _ => None,
        })
        .collect();
    let since = |id: &EventId| match expired.get(id) {
        Some((at_ms, true)) => format!("it reached the end of its retention on {}", wording::time(*at_ms)),
        Some((at_ms, false)) => format!("it expired on {}", wording::time(*at_ms)),
        None => "it is no longer stored".to_owned(),
    };
    let gone = issued.allowed.iter().filter(|granted| !present.contains(&granted.attribute));
    gone.map(|granted| (granted.clone(), since(&granted.attribute))).collect()
}

/// How often a grant was reused, according to the recorded events.
fn reuse_count(history: &[Recorded], grant: EventId) -> u32 {
    let counts = history.iter().filter_map(|event| match &event.event {
        Event::GrantGivenAgain(again) if again.grant == grant => Some(again.count),
        _ => None,
    });
    counts.fold(0, u32::saturating_add)
}

/// The newest reports that fit the answer, oldest first, and the number of earlier ones.
fn uses(history: &[Recorded], issued: &GrantIssued, grant: EventId) -> (Vec<ExplainedUse>, u64) {
    let keys: BTreeMap<EventId, &str> =
        issued.allowed.iter().map(|cited| (cited.attribute, cited.key.as_str())).collect();
    let (mut shown, mut earlier, mut left_bytes) = (Vec::new(), 0_u64, USES_BYTES_MAX);
    for event in history.iter().rev() {
        let Event::GrantUsed(used) = &event.event else { continue };
        if used.grant != grant {
            continue;
        }
        let shaped_by: Vec<&str> = used.shaped_by.iter().filter_map(|id| keys.get(id).copied()).collect();
        let bytes =
            shaped_by.iter().map(|key| key.len()).fold(USE_BYTES + used.reply.len(), usize::saturating_add);
        let fits = left_bytes.checked_sub(bytes).filter(|_| earlier == 0);
        let Some(left) = fits else {
            earlier = earlier.saturating_add(1);
            continue;
        };
        left_bytes = left;
        shown.push(ExplainedUse {
            reply: used.reply.clone(),
            recorded_at_ms: event.recorded_at_ms,
            count: used.count,
            shaped_by: shaped_by.into_iter().map(str::to_owned).collect(),
        });
    }
    shown.reverse();
    (shown, earlier)
}

/// The explanation as text. It names keys and categories, never values.
fn explanation_text(of: &Explanation, refusals: &[String]) -> String {
    let mut text = String::new();
    let _infallible = write_explanation(&mut text, of, refusals);
    text
}

fn write_explanation(text: &mut String, of: &Explanation, refusals: &[String]) -> std::fmt::Result {
    let issued = &of.issued;
    let permitted = issued.ranking.map_or(issued.allowed.len(), |ranking| ranking.permitted as usize);
    let total = permitted + of.withheld.iter().map(|class| class.count as usize).sum::<usize>();
    writeln!(
        text,
        "On {} `{}` asked what it may use for `{}` and was granted {} of {} {}, until {}.",
        wording::time(of.issued_at_ms),
        issued.recipient,
        issued.purpose,
        issued.allowed.len(),
        total,
        if total == 1 { "attribute" } else { "attributes" },
        wording::time(issued.expires_at_ms),
    )?;
    if let Some(ranking) = &issued.ranking {
        writeln!(text, "{}", wording::ranking(ranking))?;
    }
    for consent in &of.consents {
        write_consent(text, consent)?;
    }
    for allowed in &of.allowed {
        write_allowed(text, allowed)?;
    }
    for (granted, since) in &of.gone {
        writeln!(text, "- `{}` ({}); {since}.", granted.key, granted.category)?;
    }
    for refusal in refusals {
        writeln!(text, "- {refusal}")?;
    }
    if of.reuse_count > 0 {
        let times = if of.reuse_count == 1 { "time" } else { "times" };
        writeln!(text, "It was reused {} {times} in the same conversation.", of.reuse_count)?;
    }
    if of.uses_before > 0 {
        let reports = if of.uses_before == 1 { "report of use is" } else { "reports of use are" };
        writeln!(text, "{} earlier {reports} not shown.", of.uses_before)?;
    }
    for used in &of.uses {
        let shaped = if used.shaped_by.is_empty() {
            "no attribute named".to_owned()
        } else {
            used.shaped_by.join(", ")
        };
        let at = wording::time(used.recorded_at_ms);
        writeln!(text, "Reply `{}` was reported on {at}, shaped by: {shaped}.", used.reply)?;
    }
    match (of.standing.is_valid, of.revoked_at_ms, of.standing.reason) {
        (true, ..) => writeln!(text, "The grant is valid."),
        (false, Some(at), Some(reason)) => {
            writeln!(text, "The grant was revoked on {}: {}.", wording::time(at), wording::reason(reason))
        }
        (false, _, reason) => {
            writeln!(text, "The grant is not valid: {}.", wording::reason(reason.unwrap_or_default()))
        }
    }
}

fn write_allowed(text: &mut String, allowed: &ExplainedAttribute) -> std::fmt::Result {
    let attribute = &allowed.current.attribute;
    write!(
        text,
        "- `{}` ({}, {}), recorded on {} by {}",
        attribute.key,
        attribute.category,
        wording::provenance(attribute.provenance),
        wording::time(allowed.current.recorded_at_ms),
        who(&allowed.current.actor),
    )?;
    if attribute.provenance == Provenance::Inferred && !attribute.evidence.is_empty() {
        write!(text, ", from {}", attribute.evidence.join(", "))?;
    }
    if let Basis::Declared { kind, .. } = allowed.basis {
        write!(text, ", on the basis of {} ({}), without consent", kind.title(), kind.article())?;
    }
    end_sentence(text, &allowed.since)
}

fn write_consent(text: &mut String, consent: &ExplainedConsent) -> std::fmt::Result {
    let all =
        |names: &[String], none: &str| if names.is_empty() { none.to_owned() } else { names.join(", ") };
    let terms = &consent.terms;
    let explicit = if terms.explicit { "explicitly " } else { "" };
    write!(
        text,
        "{} had {explicit}consented to {} for {}, to be used by {}, on {}",
        speaker(&consent.actor, terms.guardian),
        all(&terms.purposes, "nothing"),
        all(&terms.categories, "all but special categories"),
        all(&terms.recipients, "any service"),
        wording::time(consent.recorded_at_ms),
    )?;
    if let Some(notice) = &terms.notice {
        write!(text, ", having seen notice `{}` version {}", notice.id, notice.version)?;
    }
    end_sentence(text, &consent.since)
}

fn end_sentence(text: &mut String, since: &str) -> std::fmt::Result {
    if since.is_empty() { writeln!(text, ".") } else { writeln!(text, "; {since}.") }
}

fn speaker(actor: &Actor, is_guardian: bool) -> String {
    let speaker = if is_guardian { "The person's guardian" } else { "The person" };
    match actor.role {
        Role::Subject => speaker.to_owned(),
        _ => format!("{speaker} (through {})", who(actor)),
    }
}
