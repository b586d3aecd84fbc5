//! Converts domain types to the records of an access package.

use crate::app::error::{AppError, Cause};
use crate::app::rights::export_subject::export::Export;
use crate::app::rights::export_subject::survey::Survey;
use crate::bounds::Decision as Decided;
use crate::bounds::titles::{Title, TitleMoment};
use crate::domain::active_signal::ActiveSignal;
use crate::domain::consent::{ConsentRecord, Decision, NoticeRef};
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{
    Actor, AgeBand, Event, GrantIssued, GrantUsed, GrantedAttribute, Provenance, Recorded, Role, SignalKind,
};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::legal_basis::{Basis, DeclaredBasis};
use crate::domain::stopped_uses::is_stopped;
use crate::domain::wording;
use crate::package::{
    ActorName, Attribute, Consent, Disclosure, NamedAttribute, Notice, NoticeServed, PermittedUse,
    RevokedGrant, Signal, Subject, Use, VocabularyTerm, Withheld,
};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// The path of a consent receipt in the package.
pub(crate) fn receipt_path(event: &EventId) -> String {
    format!("receipts/{event}.jsonld")
}

/// The actor of an event, as the package shows it. Services and channels are named. For the controller's own
/// staff, only the role is given (CJEU C-579/21).
pub(crate) fn by(actor: &Actor) -> ActorName {
    let role = actor.role;
    let name = matches!(role, Role::Service | Role::Channel).then(|| actor.name.clone());
    let role = match role {
        Role::Service => "service",
        Role::Channel => "channel",
        Role::Subject => "subject",
        Role::Steward => "steward",
        Role::Authority => "authority",
        Role::Auditor => "auditor",
        Role::Operator => "operator",
        Role::Ledger => "ledger",
        Role::Unspecified => "unknown",
    };
    ActorName { role, name }
}

pub(crate) fn named(of: &GrantedAttribute) -> NamedAttribute {
    NamedAttribute {
        event_id: of.attribute.to_string(),
        key: of.key.clone(),
        category: of.category.clone(),
        consent: of.basis.consent().map(|event| event.to_string()),
        legal_basis: legal_basis(of.basis),
    }
}

/// The words for a legal basis other than consent.
fn legal_basis(basis: Basis) -> Option<&'static str> {
    DeclaredBasis::of(basis.kind()).map(DeclaredBasis::title)
}

fn consents<'a>(of: impl Iterator<Item = &'a GrantedAttribute>) -> Vec<String> {
    let cited = of.filter_map(|allowed| allowed.basis.consent());
    let ids: BTreeSet<String> = cited.map(|event| event.to_string()).collect();
    ids.into_iter().collect()
}

fn served(notice: &NoticeRef) -> NoticeServed {
    NoticeServed {
        id: notice.id.clone(),
        version: notice.version.clone(),
        language: notice.language.clone(),
        digest: hex::encode(&notice.digest),
    }
}

pub(crate) fn revoked_grant(event: &Recorded) -> Option<RevokedGrant> {
    let Event::GrantRevoked { reason, cause, grant_id, recipient, .. } = &event.event else { return None };
    Some(RevokedGrant {
        at: wording::time(event.recorded_at_ms),
        recipient: recipient.clone(),
        grant_id: grant_id.clone(),
        reason: reason.as_str_name(),
        explanation: wording::reason_to_subject(*reason),
        cause: cause.map(|id| id.to_string()),
    })
}

pub(crate) fn signal(of: &ActiveSignal) -> Signal {
    Signal {
        event_id: of.event_id.to_string(),
        kind: match of.kind {
            SignalKind::Objection => "objection",
            SignalKind::Restriction => "restriction",
            SignalKind::OptOut => "opt_out",
            SignalKind::OptOutAutomated => "opt_out_automated",
            SignalKind::LimitSensitive => "limit_sensitive",
            SignalKind::Pause => "pause",
            SignalKind::Unspecified => "unknown",
        },
        purposes: of.purposes.clone(),
        interaction: (!of.interaction.is_empty()).then(|| of.interaction.clone()),
        recorded_at: wording::time(of.recorded_at_ms),
    }
}

fn term(id: &str, found: &Title) -> VocabularyTerm {
    VocabularyTerm { id: id.to_owned(), title: found.title.clone(), iri: found.iri.clone() }
}

/// The moment of an event.
fn moment(event: &Recorded) -> TitleMoment {
    TitleMoment { position: event.position, sealed_at_ms: event.sealed_at_ms }
}

impl Export {
    pub(crate) fn subject(&self) -> Subject {
        let description = &self.state.description;
        Subject {
            id: self.subject.as_str().to_owned(),
            pseudonym: self.stream.keys.handle.to_string(),
            age_band: match description.age.band {
                AgeBand::Child => Some("child"),
                AgeBand::Teen => Some("teen"),
                AgeBand::Adult => Some("adult"),
                AgeBand::Unspecified | AgeBand::Unknown => None,
            },
            age_years: description.age.years,
            born: description.age.born.map(|born| born.to_string()),
            jurisdiction: (!description.jurisdiction.is_empty()).then(|| description.jurisdiction.clone()),
        }
    }

    pub(crate) fn attribute(
        &self,
        current: &CurrentAttribute,
        may_be_used_for: Option<Vec<String>>,
    ) -> Result<Attribute, AppError> {
        let attribute = &current.attribute;
        let value = RawValue::from_string(attribute.value.expose().to_owned());
        let value =
            value.map_err(|_| AppError::Internal(Cause::Inconsistent("a recorded value is not JSON")))?;
        let category = self.category(&attribute.category);
        let (retention, words) = (&self.rules.retention, &self.rules.vocabulary);
        let ends = retention.attribute_ends_ms(attribute, current.recorded_at_ms, words);
        let erased_at = ends.map(|(end_ms, _)| wording::time(end_ms));
        Ok(Attribute {
            event_id: current.event_id.to_string(),
            key: attribute.key.clone(),
            value,
            category: category.id,
            category_title: category.title,
            category_iri: category.iri,
            special_category: self.rules.vocabulary.is_special(&attribute.category),
            provenance: wording::provenance(attribute.provenance),
            claimed_provenance: Some(attribute.claimed_provenance)
                .filter(|claimed| *claimed != Provenance::Unspecified)
                .map(wording::provenance),
            source: by(&current.actor),
            recorded_at: wording::time(current.recorded_at_ms),
            observed_at: wording::time(attribute.observed_at_ms),
            expires_at: attribute.expires_at_ms.map(wording::time),
            evidence: attribute.evidence.clone(),
            derived_from: attribute.derived_from.iter().map(EventId::to_string).collect(),
            confidence: attribute.confidence,
            model: (!attribute.model.is_empty()).then(|| attribute.model.clone()),
            contested: current.contested,
            confirmed: current.confirmed,
            retention: match &erased_at {
                Some(end) => format!("until {end}; then it is erased"),
                None => "until it is removed or erased".into(),
            },
            erased_at,
            may_be_used_for,
        })
    }

    pub(crate) fn category(&self, id: &str) -> VocabularyTerm {
        let found = self.rules.vocabulary.categories().find(|category| category.id == id);
        let (title, iri) = found.map_or((id, ""), |found| (found.title.as_str(), found.iri.as_str()));
        VocabularyTerm { id: id.to_owned(), title: title.to_owned(), iri: iri.to_owned() }
    }

    pub(crate) fn purpose(&self, id: &str) -> VocabularyTerm {
        let found = self.rules.vocabulary.purposes().find(|purpose| purpose.id == id);
        let (title, iri) = found.map_or((id, ""), |found| (found.title.as_str(), found.iri.as_str()));
        VocabularyTerm { id: id.to_owned(), title: title.to_owned(), iri: iri.to_owned() }
    }

    /// A purpose with the words of a moment.
    fn purpose_at(&self, id: &str, at: TitleMoment) -> VocabularyTerm {
        self.titles.purpose(id, at).map_or_else(|| self.purpose(id), |found| term(id, found))
    }

    /// A category with the words of a moment.
    fn category_at(&self, id: &str, at: TitleMoment) -> VocabularyTerm {
        self.titles.category(id, at).map_or_else(|| self.category(id), |found| term(id, found))
    }

    /// The moment whose words a decision used: the time from which it counts, or the time at which it was
    /// sealed if it names a word that was not defined before.
    fn agreed_at(&self, record: &ConsentRecord) -> TitleMoment {
        let position = record.position;
        let said = TitleMoment { position, sealed_at_ms: record.said_ms() };
        let terms = &record.terms;
        let is_known = terms.purposes.iter().all(|id| self.titles.purpose(id, said).is_some())
            && terms.categories.iter().all(|id| self.titles.category(id, said).is_some());
        if is_known { said } else { TitleMoment { sealed_at_ms: record.sealed_at_ms, ..said } }
    }

    pub(crate) fn permitted_use(
        &self,
        purpose: &str,
        recipient: Option<String>,
        decision: Decided,
    ) -> PermittedUse {
        let definition = self.rules.vocabulary.purpose(purpose);
        let (declared, reference) = definition
            .map(|purpose| (purpose.declared_basis(), purpose.basis_reference.as_str()))
            .unwrap_or_default();
        let legal_bases = wording::legal_bases(declared, reference);
        let purpose = self.purpose(purpose);
        let allowed = decision.allowed.into_iter().map(|allowed| NamedAttribute {
            event_id: allowed.event_id.to_string(),
            key: allowed.key,
            category: allowed.category,
            consent: allowed.basis.consent().map(|event| event.to_string()),
            legal_basis: legal_basis(allowed.basis),
        });
        let withheld = decision.withheld.iter().map(|class| Withheld {
            category: class.category.clone(),
            provenance: wording::provenance(class.provenance),
            count: class.count,
            reason: class.reason.as_str_name(),
            explanation: wording::withheld_to_subject(class),
        });
        PermittedUse {
            purpose: purpose.id,
            purpose_title: purpose.title,
            purpose_iri: purpose.iri,
            legal_bases,
            recipient,
            allowed: allowed.collect(),
            withheld: withheld.collect(),
        }
    }

    pub(crate) fn disclosure(&self, event: &Recorded, issued: &GrantIssued) -> Disclosure {
        Disclosure {
            at: wording::time(event.recorded_at_ms),
            recipient: issued.recipient.clone(),
            attributes: issued.allowed.iter().map(named).collect(),
            purpose_title: self.purpose_at(&issued.purpose, moment(event)).title,
            purpose: issued.purpose.clone(),
            consents: consents(issued.allowed.iter()),
            interaction: issued.interaction.clone(),
            grant_id: GrantId::new(event.position, &event.event_id).to_string(),
            expires_at: wording::time(issued.expires_at_ms),
            profile_version: issued.profile_version,
        }
    }

    /// A reported use with the details of its grant; none if the grant was erased.
    pub(crate) fn reported_use(
        &self,
        event: &Recorded,
        used: &GrantUsed,
        survey: &Survey,
    ) -> Result<Option<Use>, AppError> {
        let id = used.grant;
        let Some(position) = survey.grant_position(&id) else { return Ok(None) };
        let grant = self.rights.core.event_at(&self.stream.keys, position)?;
        let issued_at = moment(&grant);
        let Event::GrantIssued(issued) = grant.event else { return Ok(None) };
        let shaped = || issued.allowed.iter().filter(|allowed| used.shaped_by.contains(&allowed.attribute));
        Ok(Some(Use {
            at: wording::time(event.recorded_at_ms),
            recipient: issued.recipient.clone(),
            attributes: shaped().map(named).collect(),
            purpose_title: self.purpose_at(&issued.purpose, issued_at).title,
            purpose: issued.purpose.clone(),
            consents: consents(shaped()),
            reply: used.reply.clone(),
            count: used.count,
            ai_disclosure_shown: used.ai_disclosure_shown,
            grant_id: GrantId::new(position, &id).to_string(),
        }))
    }

    pub(crate) fn consent(&self, record: &ConsentRecord) -> Consent {
        let terms = &record.terms;
        let vocabulary = &self.rules.vocabulary;
        let in_force = self.state.consents.in_force(record, vocabulary, self.now_ms);
        let is_stopped = |purpose: &&String| in_force && is_stopped(&self.state, vocabulary, purpose);
        let agreed_at = self.agreed_at(record);
        Consent {
            event_id: record.event_id.to_string(),
            decision: match record.decision {
                Decision::Given => "given",
                Decision::Refused => "refused",
                Decision::Renewed => "renewed",
                Decision::Withdrawn => "withdrawn",
            },
            recorded_at: wording::time(record.recorded_at_ms),
            decided_at: wording::time(record.about_ms),
            guardian: terms.guardian,
            purposes: terms.purposes.iter().map(|id| self.purpose_at(id, agreed_at)).collect(),
            categories: terms.categories.iter().map(|id| self.category_at(id, agreed_at)).collect(),
            recipients: terms.recipients.clone(),
            explicit: terms.explicit,
            until: terms.until_ms.map(wording::time),
            in_force,
            stopped_purposes: terms.purposes.iter().filter(is_stopped).cloned().collect(),
            channel: terms.channel.clone(),
            brought_by: by(&record.actor),
            notice: terms.notice.as_ref().map(served),
            receipt: receipt_path(&record.event_id),
        }
    }

    /// Every notice that the subject was served, once.
    pub(crate) fn notices(&self, survey: &Survey) -> Vec<Notice> {
        let decided = self.state.consents.records().iter().filter_map(|record| record.terms.notice.as_ref());
        let asked = survey.asked.iter().filter_map(|asked| asked.terms.notice.as_ref());
        let served: BTreeSet<NoticeServed> = asked.chain(decided).map(served).collect();
        let with_text = |served: NoticeServed| {
            let found = self.rules.notices().iter().find(|(_, published)| {
                let of = published.notice.as_ref();
                let same = |of: &NoticeRef| {
                    of.id == served.id
                        && of.version == served.version
                        && hex::encode(&of.digest) == served.digest
                };
                of.is_some_and(same)
            });
            let published_at = found.map(|(at_ms, _)| wording::time(*at_ms));
            let text = found.map(|(_, published)| published.text.clone());
            Notice { served, published_at, text }
        };
        served.into_iter().map(with_text).collect()
    }
}
