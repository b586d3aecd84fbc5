//! Makes the part of the record of uses (see `mod.rs`) that is about one grant, with the consents, notices
//! and rules that the grant rests on. The source is the events of one data subject.

use super::flags::Flags;
use super::log_events::{LogEvents, role_name};
use super::query::{Compared, Filter};
use super::seen::Seen;
use crate::entry::Handle;
use crate::event::event_body::Event;
use crate::event::{
    Actor, ConsentTerms, GrantIssued, GrantUsed, GrantedAttribute, LegalBasis, Reason, Tier, WithheldClass,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Maximum number of pairs of a category and a legal basis that are listed for a grant. Further ones are only
/// counted.
const DATA_MAX: usize = 50;
/// Maximum number of reported uses that are listed for a grant.
const USES_MAX: usize = 20;
/// Maximum number of packs that are listed for a grant.
const PACKS_MAX: usize = 50;

/// How far a grant was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// In full, and nothing contradicts it.
    Full,
    /// Not in full, because events on which it depends are erased or withheld.
    NotInFull,
    /// A finding concerns it.
    Finding,
}

/// The notice that a consent names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CitedNotice {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The language in which the person saw it.
    pub language: String,
    /// Position at which this version was first published; `None` if that was not before the consent.
    pub published_at: Option<u64>,
}

/// What the use of data rests on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A consent of the person.
    Consent,
    /// A contract.
    Contract,
    /// A legitimate interest.
    LegitimateInterest,
    /// A legal obligation.
    LegalObligation,
}

/// Data that a grant allows, and what allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedData {
    /// The category.
    pub category: String,
    /// Number of attributes of this category that rest on the same ground.
    pub attributes: u64,
    /// The legal basis.
    pub basis: Basis,
    /// Position of the consent, or of the definition that declares another basis; `None` if the event of the
    /// consent is not in the bundle: it is erased or withheld, or never existed.
    pub ground_at: Option<u64>,
    /// Recorded time of the consent, in milliseconds since the Unix epoch.
    pub consented_at_ms: Option<u64>,
    /// The role of the author of the consent's event, in lower case.
    pub recorded_by: String,
    /// Whether a guardian consented.
    pub guardian: bool,
    /// Whether the consent is explicit.
    pub explicit: bool,
    /// The notice that the consent names.
    pub notice: Option<CitedNotice>,
}

/// Attributes that a grant withholds for one reason, as the ledger states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldData {
    /// The category.
    pub category: String,
    /// Number of attributes.
    pub attributes: u64,
    /// The name of the reason in the proto file, in lower case.
    pub reason: String,
    /// The tier that decided, in lower case; empty if the event names none.
    pub decided_by: String,
    /// The policy that decided, as `pack/id`; empty if no policy decided.
    pub policy: String,
    /// The article of law that the policy comes from; empty if it names none.
    pub article: String,
}

/// A use that the service reported: a reply, or an artifact that it built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedUse {
    /// Position of the report.
    pub position: u64,
    /// Recorded time of the report, in milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// How often the grant was used.
    pub count: u64,
    /// The kind of artifact, in lower case; `None` for a reply.
    pub artifact: Option<String>,
    /// The categories of the attributes that shaped the reply or artifact.
    pub categories: Vec<String>,
    /// Whether a finding concerns the report.
    pub has_finding: bool,
}

/// The end of a grant before its expiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Position of the `GrantRevoked`.
    pub position: u64,
    /// Its recorded time, in milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// The name of the reason in the proto file, in lower case.
    pub reason: String,
}

/// A grant, with everything that it rests on. It has no values and no keys of attributes. Names are cut off
/// after 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// Position of the grant.
    pub position: u64,
    /// Its recorded time, in milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Event id of the grant, in hex.
    pub grant: String,
    /// The handle of the data subject, in hex.
    pub person: String,
    /// The service that may use the data.
    pub recipient: String,
    /// The purpose.
    pub purpose: String,
    /// The conversation, as the service names it.
    pub conversation: String,
    /// When the grant expires, in milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// The revocation of the grant, if there is one.
    pub revoked: Option<Revocation>,
    /// What the grant allows; only categories that the query names. At most 50.
    pub data: Vec<AllowedData>,
    /// Number of further lines of data that are not listed.
    pub data_left_out: u64,
    /// Number of attributes that the grant withholds, as the ledger states it.
    pub withheld: u64,
    /// Why, and by whom that was decided; at most 50.
    pub withheld_data: Vec<WithheldData>,
    /// Positions of the packs that the grant cites; at most 50.
    pub packs: Vec<u64>,
    /// How often requests were answered with this grant again.
    pub reused: u64,
    /// The reported uses; at most 20.
    pub uses: Vec<ReportedUse>,
    /// Number of further reports that are not listed.
    pub uses_left_out: u64,
    /// How far the grant was checked.
    pub check: Check,
}

/// The parts of a consent that are shown.
struct Consent {
    position: u64,
    recorded_at_ms: u64,
    recorded_by: String,
    terms: ConsentTerms,
}

/// A report of a use.
struct Used {
    position: u64,
    recorded_at_ms: u64,
    count: u64,
    artifact: Option<String>,
    /// Event ids of attributes.
    shaped_by: Vec<Vec<u8>>,
}

/// A grant and what was recorded about it since.
struct Issued {
    position: u64,
    recorded_at_ms: u64,
    event_id: Vec<u8>,
    grant: GrantIssued,
    revoked: Option<Revocation>,
    reused: u64,
    uses: Vec<Used>,
    uses_left_out: u64,
    used_ms: Vec<u64>,
}

/// The events of one data subject, in the order of the log.
#[derive(Default)]
pub(super) struct SubjectUses {
    // Unordered: looked up, never iterated.
    consents: HashMap<Vec<u8>, Consent>,
    grants: Vec<Issued>,
    // Unordered: looked up, never iterated.
    by_id: HashMap<Vec<u8>, usize>,
}

impl SubjectUses {
    /// Adds the next event.
    pub fn add(&mut self, seen: Seen) {
        let Seen { position, recorded_at_ms, event_id, body, .. } = seen;
        let Some(body) = body else { return };
        let used_ms = if body.about_ms == 0 { recorded_at_ms } else { body.about_ms.min(recorded_at_ms) };
        match body.event {
            Some(Event::ConsentGiven(given)) => {
                self.consent(position, recorded_at_ms, event_id, body.actor.as_ref(), given.terms);
            }
            Some(Event::ConsentRenewed(renewed)) => {
                self.consent(position, recorded_at_ms, event_id, body.actor.as_ref(), renewed.terms);
            }
            Some(Event::GrantIssued(grant)) => {
                self.by_id.insert(event_id.clone(), self.grants.len());
                self.grants.push(Issued {
                    position,
                    recorded_at_ms,
                    event_id,
                    grant,
                    revoked: None,
                    reused: 0,
                    uses: Vec::new(),
                    uses_left_out: 0,
                    used_ms: Vec::new(),
                });
            }
            Some(Event::GrantUsed(used)) => {
                let GrantUsed { grant, shaped_by, count, .. } = used;
                let count = u64::from(count).max(1);
                let used = Used { position, recorded_at_ms, count, artifact: None, shaped_by };
                self.used(&grant, used_ms, used);
            }
            Some(Event::ArtifactRegistered(artifact)) => {
                let kind = artifact.kind().as_str_name().trim_start_matches("ARTIFACT_KIND_").to_lowercase();
                let (count, shaped_by) = (1, artifact.sources);
                let artifact_used = Used { position, recorded_at_ms, count, artifact: Some(kind), shaped_by };
                self.used(&artifact.grant, used_ms, artifact_used);
            }
            Some(Event::GrantGivenAgain(again)) => {
                let Some(issued) = self.issued(&again.grant) else { return };
                issued.reused = issued.reused.saturating_add(again.count.into());
            }
            Some(Event::GrantRevoked(revoked)) => {
                let reason = revoked.reason();
                let Some(issued) = self.issued(&revoked.grant) else { return };
                let reason = reason_name(reason);
                issued.revoked.get_or_insert(Revocation { position, recorded_at_ms, reason });
            }
            _ => {}
        }
    }

    fn used(&mut self, grant: &[u8], used_ms: u64, used: Used) {
        let Some(issued) = self.issued(grant) else { return };
        issued.used_ms.push(used_ms);
        if issued.uses.len() < USES_MAX {
            issued.uses.push(used);
        } else {
            issued.uses_left_out += 1;
        }
    }

    fn issued(&mut self, id: &[u8]) -> Option<&mut Issued> {
        self.grants.get_mut(*self.by_id.get(id)?)
    }

    fn consent(
        &mut self,
        position: u64,
        recorded_at_ms: u64,
        id: Vec<u8>,
        actor: Option<&Actor>,
        terms: Option<ConsentTerms>,
    ) {
        let (recorded_by, terms) = (role_name(actor), terms.unwrap_or_default());
        self.consents.insert(id, Consent { position, recorded_at_ms, recorded_by, terms });
    }

    /// The grants that fit the filter, in the order of the log.
    pub fn records<'a>(
        &'a self,
        handle: Handle,
        filter: &'a Filter<'_>,
        log: &'a LogEvents,
        flags: &'a Flags,
    ) -> impl Iterator<Item = GrantRecord> + 'a {
        self.grants.iter().filter_map(move |issued| {
            let ended_ms = issued.revoked.as_ref().map_or(u64::MAX, |revoked| revoked.recorded_at_ms);
            let compared = Compared {
                recipient: &issued.grant.recipient,
                purpose: &issued.grant.purpose,
                subject: handle,
                issued_ms: issued.recorded_at_ms,
                ended_ms: ended_ms.min(issued.grant.expires_at_ms),
                used_ms: &issued.used_ms,
            };
            let data = if filter.fits(&compared) { self.data(issued, filter, log) } else { Vec::new() };
            // A grant that allows nothing does not count as a use.
            (!data.is_empty()).then(|| record(handle, issued, data, flags))
        })
    }

    /// What a grant allows, in one line for each category and ground.
    fn data(&self, issued: &Issued, filter: &Filter<'_>, log: &LogEvents) -> Vec<AllowedData> {
        let mut lines: BTreeMap<(&str, i32, u64, &[u8]), u64> = BTreeMap::new();
        for granted in issued.grant.allowed.iter().filter(|granted| filter.lists(&granted.category)) {
            let GrantedAttribute { category, legal_basis, declared_at, consent, .. } = granted;
            *lines.entry((category, *legal_basis, *declared_at, consent)).or_default() += 1;
        }
        let line = |((category, basis, declared_at, consent), attributes): ((&str, i32, u64, &[u8]), u64)| {
            let basis = basis_of(basis);
            let data = AllowedData {
                category: category.to_owned(),
                attributes,
                ground_at: (basis != Basis::Consent).then_some(declared_at),
                basis,
                consented_at_ms: None,
                recorded_by: String::new(),
                guardian: false,
                explicit: false,
                notice: None,
            };
            let consent = self.consents.get(consent).filter(|_| data.basis == Basis::Consent);
            // A grant can rest only on a consent from before it.
            match consent.filter(|consent| consent.position < issued.position) {
                Some(consent) => with_consent(data, consent, log),
                None => data,
            }
        };
        lines.into_iter().map(line).collect()
    }
}

fn with_consent(data: AllowedData, consent: &Consent, log: &LogEvents) -> AllowedData {
    let terms = &consent.terms;
    let notice = terms.notice.as_ref().map(|notice| CitedNotice {
        id: notice.id.clone(),
        version: notice.version.clone(),
        language: notice.language.clone(),
        published_at: log.notice_before(&notice.id, &notice.version, consent.position),
    });
    AllowedData {
        ground_at: Some(consent.position),
        consented_at_ms: Some(consent.recorded_at_ms),
        recorded_by: consent.recorded_by.clone(),
        guardian: terms.guardian,
        explicit: terms.explicit,
        notice,
        ..data
    }
}

fn basis_of(basis: i32) -> Basis {
    match LegalBasis::try_from(basis) {
        Ok(LegalBasis::Contract) => Basis::Contract,
        Ok(LegalBasis::LegitimateInterest) => Basis::LegitimateInterest,
        Ok(LegalBasis::LegalObligation) => Basis::LegalObligation,
        Ok(LegalBasis::Consent | LegalBasis::Unspecified) | Err(_) => Basis::Consent,
    }
}

fn reason_name(reason: Reason) -> String {
    reason.as_str_name().trim_start_matches("REASON_").to_lowercase()
}

fn withheld_data(class: &WithheldClass) -> WithheldData {
    let decided_by = match class.decided_by() {
        Tier::Unspecified => String::new(),
        tier => tier.as_str_name().trim_start_matches("TIER_").to_lowercase(),
    };
    WithheldData {
        category: class.category.clone(),
        attributes: u64::from(class.count),
        reason: reason_name(class.reason()),
        decided_by,
        policy: class.policy.clone(),
        article: class.article.clone(),
    }
}

fn record(handle: Handle, issued: &Issued, mut data: Vec<AllowedData>, flags: &Flags) -> GrantRecord {
    let grant = &issued.grant;
    let data_left_out = data.len().saturating_sub(DATA_MAX) as u64;
    data.truncate(DATA_MAX);
    let uses: Vec<ReportedUse> = issued.uses.iter().map(|use_of| reported(use_of, grant, flags)).collect();
    let is_found = flags.has_finding_of(issued.position, &issued.event_id)
        || uses.iter().any(|reported| reported.has_finding)
        || issued.revoked.as_ref().is_some_and(|revoked| flags.has_finding(revoked.position));
    GrantRecord {
        position: issued.position,
        recorded_at_ms: issued.recorded_at_ms,
        grant: hex::encode(&issued.event_id),
        person: handle.to_string(),
        recipient: grant.recipient.clone(),
        purpose: grant.purpose.clone(),
        conversation: grant.interaction.clone(),
        expires_at_ms: grant.expires_at_ms,
        revoked: issued.revoked.clone(),
        data,
        data_left_out,
        withheld: grant.withheld.iter().map(|class| u64::from(class.count)).sum(),
        withheld_data: grant.withheld.iter().take(DATA_MAX).map(withheld_data).collect(),
        packs: grant.bounds.iter().copied().take(PACKS_MAX).collect(),
        reused: issued.reused,
        uses,
        uses_left_out: issued.uses_left_out,
        check: match (is_found, flags.is_unchecked(issued.position)) {
            (true, _) => Check::Finding,
            (false, true) => Check::NotInFull,
            (false, false) => Check::Full,
        },
    }
}

fn reported(used: &Used, grant: &GrantIssued, flags: &Flags) -> ReportedUse {
    let shaped: BTreeSet<&[u8]> = used.shaped_by.iter().map(Vec::as_slice).collect();
    let shaping = grant.allowed.iter().filter(|granted| shaped.contains(granted.attribute.as_slice()));
    let categories: BTreeSet<&str> = shaping.map(|granted| granted.category.as_str()).collect();
    ReportedUse {
        position: used.position,
        recorded_at_ms: used.recorded_at_ms,
        count: used.count,
        artifact: used.artifact.clone(),
        categories: categories.into_iter().take(DATA_MAX).map(str::to_owned).collect(),
        has_finding: flags.has_finding(used.position),
    }
}
