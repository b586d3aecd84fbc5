//! Lists how services used a data subject's attributes, each use with what allowed it: the consents with
//! their notices, and the rules.

use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::grants::erased_uses::ErasedUses;
use crate::app::log::stream::SubjectStream;
use crate::app::profile::paging::Room;
use crate::bounds::rulebook::Rules;
use crate::domain::Violation;
use crate::domain::consent::ConsentRecord;
use crate::domain::event::{
    ArtifactRegistered, Event, GrantGivenAgain, GrantIssued, GrantUsed, GrantedAttribute, Reason, Recorded,
    Tier,
};
use crate::domain::ids::{EventId, GrantId, SubjectId};
use crate::domain::vocabulary;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most bytes of attributes in one use, and the most bytes of its consents. What exceeds them is counted.
const PART_BYTES_MAX: usize = 1 << 20;
/// The sizes in an answer without texts, bytes: of a use, an attribute, a consent and a rule.
const USE_BYTES: usize = 320;
const ATTRIBUTE_BYTES: usize = 96;
const CONSENT_BYTES: usize = 192;
const RULE_BYTES: usize = 32;

/// Which uses to list.
#[derive(Clone, Debug, Default)]
pub struct UseQuery {
    /// Only uses of attributes in this category or below it; empty for all.
    pub category: String,
    /// Only uses by this service; empty for all.
    pub recipient: String,
    /// Only uses at this time or later, milliseconds since the Unix epoch. A grant is in the period if it was
    /// valid at some time in it.
    pub from_ms: Option<u64>,
    /// Only uses before this time, milliseconds since the Unix epoch.
    pub to_ms: Option<u64>,
}

impl UseQuery {
    /// Whether something that happened from `first_ms` to `last_ms` was in the period.
    fn includes(&self, first_ms: u64, last_ms: u64) -> bool {
        self.from_ms.is_none_or(|from| from <= last_ms) && self.to_ms.is_none_or(|to| first_ms < to)
    }
}

/// How attributes were used.
#[derive(Clone, Debug)]
pub enum UseKind {
    /// A grant gave them to the service.
    Granted,
    /// The grant was reused in its conversation.
    Reused(GrantGivenAgain),
    /// The service reported a reply that they shaped.
    Reported(GrantUsed),
    /// The service built an artifact from them.
    Built(ArtifactRegistered),
}

/// The grant of a use.
#[derive(Clone, Debug)]
pub struct UsedGrant {
    /// Its id.
    pub id: GrantId,
    /// What was issued. `allowed` has only the attributes that the query asks for.
    pub issued: GrantIssued,
    /// The version of its event.
    version: u64,
}

impl UsedGrant {
    /// A copy of the grant without its attributes, classes, categories and keys. The size of a page counts
    /// only the attributes that its uses list, so a page must not keep these lists for each of its grants.
    fn without_lists(&self) -> Self {
        let GrantIssued { recipient, purpose, interaction, expires_at_ms, .. } = &self.issued;
        let issued = GrantIssued {
            recipient: recipient.clone(),
            purpose: purpose.clone(),
            interaction: interaction.clone(),
            expires_at_ms: *expires_at_ms,
            ..GrantIssued::default()
        };
        Self { id: self.id, issued, version: self.version }
    }
}

/// A rule pack that was in force when a grant was decided.
#[derive(Clone, Debug)]
pub struct UseRule {
    /// The tier.
    pub tier: Tier,
    /// The name of the pack; empty for the data subject's own rules.
    pub pack: String,
    /// The version of the pack; empty for the data subject's own rules.
    pub version: String,
    /// The position of the event that published it.
    pub position: u64,
    /// Since when it was in force, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// A use of attributes.
#[derive(Clone, Debug)]
pub struct ListedUse {
    /// Its event.
    pub event_id: EventId,
    /// The position of its event.
    pub position: u64,
    /// When it was recorded, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When the attributes were used, as the service stated it, milliseconds since the Unix epoch. For a
    /// grant: when it was recorded.
    pub used_at_ms: u64,
    /// How the attributes were used.
    pub kind: UseKind,
    /// The grant that allowed the use.
    pub grant: UsedGrant,
    /// Those of the used attributes that the query asks for.
    pub attributes: Vec<GrantedAttribute>,
    /// How many more attributes were used.
    pub attributes_left_out: u32,
    /// Whether the report of a use named no attribute. Then `attributes` has all that the grant allowed.
    pub is_unspecific: bool,
    /// The consents that allowed the attributes.
    pub consents: Vec<ConsentRecord>,
    /// How many more consents allowed them.
    pub consents_left_out: u32,
    /// The rules in force when the grant was decided.
    pub rules: Vec<UseRule>,
    /// For a grant: when it was revoked (milliseconds since the Unix epoch), and why.
    pub revoked: Option<(u64, Reason)>,
}

/// A page of uses, oldest first.
#[derive(Clone, Debug, Default)]
pub struct UsePage {
    /// The uses.
    pub uses: Vec<ListedUse>,
    /// The erasures that destroyed the record of uses.
    pub erased: Vec<ErasedUses>,
    /// The version of the event at which the next page begins; `None` on the last page.
    pub next: Option<u64>,
}

impl Grants {
    /// Lists a page of uses, from the event with version `start` on. Reads all events of the data subject.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, the category was never defined, the period is empty, or
    /// the store failed.
    pub async fn list_uses(
        self: &Arc<Self>,
        subject: &SubjectId,
        query: &UseQuery,
        start: u64,
        count: usize,
    ) -> Result<UsePage, AppError> {
        if query.from_ms.zip(query.to_ms).is_some_and(|(from, to)| to <= from) {
            return Err(AppError::invalid("to", "must be after `from`"));
        }
        let categories = self.categories_of(query)?;
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        self.core.record_reuse_before_read(&stream).await;
        let decisions = stream.read().state.consents.records().to_vec();
        let rules = self.core.rules();
        let mut listing = Listing {
            grants: self,
            stream: &stream,
            query,
            categories,
            decisions: decisions.iter().map(|decision| (decision.event_id, decision)).collect(),
            rules: &rules,
            start,
            positions: BTreeMap::new(),
            personal: Vec::new(),
            newest_grant: None,
            listed: BTreeMap::new(),
            room: Room::new(count),
            page: UsePage::default(),
        };
        self.core.for_each_event(&stream.keys, 0, |event, _| listing.take(event))?;
        Ok(listing.page)
    }

    /// The category of a query, and every category that is or ever was below it. `None` for all categories.
    fn categories_of(&self, query: &UseQuery) -> Result<Option<BTreeSet<String>>, AppError> {
        if query.category.is_empty() {
            return Ok(None);
        }
        let history = self.core.rules.history();
        let below = history.categories_ever_below(&query.category);
        drop(history);
        if below.is_empty() {
            let similar = self.core.rules().vocabulary.near_categories(&query.category);
            let unknown = Violation::new("category", vocabulary::unknown("category", &similar));
            return Err(AppError::invalid("category", unknown.problem));
        }
        Ok(Some(below))
    }
}

/// A page in progress.
struct Listing<'a> {
    grants: &'a Grants,
    stream: &'a SubjectStream,
    query: &'a UseQuery,
    categories: Option<BTreeSet<String>>,
    decisions: BTreeMap<EventId, &'a ConsentRecord>,
    rules: &'a Rules,
    start: u64,
    /// The positions of all grants that were read so far, by event.
    positions: BTreeMap<EventId, u64>,
    /// The data subject's own rules that were read so far, with their versions.
    personal: Vec<(u64, UseRule)>,
    /// The grant that was used last. Most uses of a grant follow each other.
    newest_grant: Option<(EventId, Option<Arc<UsedGrant>>)>,
    /// For each grant on the page, its index in the page's list of uses.
    listed: BTreeMap<EventId, usize>,
    room: Room,
    page: UsePage,
}

impl Listing<'_> {
    fn take(&mut self, event: Recorded) -> Result<(), AppError> {
        let place = (event.event_id, event.position, event.recorded_at_ms);
        let used_at_ms = event.about_ms.min(event.recorded_at_ms);
        match event.event {
            Event::GrantIssued(issued) => {
                self.positions.insert(event.event_id, event.position);
                if self.is_on_page(event.version) {
                    let grant = self.matching(event.event_id, event.position, event.version, issued);
                    self.newest_grant = Some((event.event_id, grant.clone()));
                    let Some(grant) = grant else { return Ok(()) };
                    let attributes = grant.issued.allowed.clone();
                    self.add(place, event.recorded_at_ms, event.version, grant, UseKind::Granted, attributes);
                }
            }
            Event::GrantGivenAgain(again) if self.is_on_page(event.version) => {
                let Some(grant) = self.grant(again.grant)? else { return Ok(()) };
                let attributes = grant.issued.allowed.clone();
                self.add(place, used_at_ms, event.version, grant, UseKind::Reused(again), attributes);
            }
            Event::GrantUsed(used) if self.is_on_page(event.version) => {
                let Some(grant) = self.grant(used.grant)? else { return Ok(()) };
                let attributes = cited(&grant, &used.shaped_by);
                self.add(place, used_at_ms, event.version, grant, UseKind::Reported(used), attributes);
            }
            Event::ArtifactRegistered(artifact) if self.is_on_page(event.version) => {
                let Some(grant) = self.grant(artifact.grant)? else { return Ok(()) };
                let attributes = cited(&grant, &artifact.sources);
                self.add(place, used_at_ms, event.version, grant, UseKind::Built(artifact), attributes);
            }
            Event::RequestDecided(decided) if self.is_on_page(event.version) => {
                let query = self.query;
                let erased = self.grants.erased_uses(&decided, &query.recipient, query.from_ms)?;
                let Some(erased) = erased else { return Ok(()) };
                if self.room.take(erased.bytes()) {
                    self.page.erased.push(erased);
                } else {
                    self.page.next = Some(event.version);
                }
            }
            Event::GrantRevoked { grant, reason, .. } => {
                let listed = self.listed.get(&grant).and_then(|index| self.page.uses.get_mut(*index));
                if let Some(listed) = listed {
                    listed.revoked = Some((event.recorded_at_ms, reason));
                }
            }
            Event::PersonalBoundsSet(_) => self.personal.push((event.version, personal_rule(place))),
            _ => {}
        }
        Ok(())
    }

    /// Whether a use with this version may still be added to the page.
    fn is_on_page(&self, version: u64) -> bool {
        version >= self.start && self.page.next.is_none()
    }

    /// The grant, if it is by the recipient that the query names, and allowed attributes in its category.
    fn matching(
        &self,
        event: EventId,
        position: u64,
        version: u64,
        mut issued: GrantIssued,
    ) -> Option<Arc<UsedGrant>> {
        if !self.query.recipient.is_empty() && self.query.recipient != issued.recipient {
            return None;
        }
        if let Some(categories) = &self.categories {
            issued.allowed.retain(|allowed| categories.contains(&allowed.category));
        }
        let id = GrantId::new(position, &event);
        (!issued.allowed.is_empty()).then(|| Arc::new(UsedGrant { id, issued, version }))
    }

    /// Reads the grant of a use. `None` if it does not match the query, or was erased.
    fn grant(&mut self, event: EventId) -> Result<Option<Arc<UsedGrant>>, AppError> {
        if let Some((_, grant)) = self.newest_grant.as_ref().filter(|(newest, _)| *newest == event) {
            return Ok(grant.clone());
        }
        let Some(position) = self.positions.get(&event).copied() else { return Ok(None) };
        let grant = match self.grants.core.event_at(&self.stream.keys, position) {
            Ok(Recorded { event: Event::GrantIssued(issued), version, .. }) => {
                self.matching(event, position, version, issued)
            }
            Ok(_) | Err(AppError::Erased) => None,
            Err(error) => return Err(error),
        };
        self.newest_grant = Some((event, grant.clone()));
        Ok(grant)
    }

    /// Adds a use to the page if it is in the query's period and used attributes that the query asks for.
    fn add(
        &mut self,
        (event_id, position, recorded_at_ms): (EventId, u64, u64),
        used_at_ms: u64,
        version: u64,
        grant: Arc<UsedGrant>,
        kind: UseKind,
        attributes: Vec<GrantedAttribute>,
    ) {
        let (first_ms, last_ms) = match &kind {
            UseKind::Reused(again) => (again.first_ms, again.last_ms),
            UseKind::Granted => (used_at_ms, grant.issued.expires_at_ms.saturating_sub(1)),
            UseKind::Reported(_) | UseKind::Built(_) => (used_at_ms, used_at_ms),
        };
        if attributes.is_empty() || !self.query.includes(first_ms, last_ms) {
            return;
        }
        let is_unspecific = matches!(&kind, UseKind::Reported(used) if used.shaped_by.is_empty());
        let (consents, consents_left_out, consent_bytes) = self.consents_of(&attributes);
        let (attributes, attributes_left_out, attribute_bytes) = within(attributes, attribute_bytes);
        let rules = self.rules_of(&grant);
        let rule_bytes = rules.iter().map(|rule| RULE_BYTES + rule.pack.len() + rule.version.len());
        let texts = [&grant.issued.recipient, &grant.issued.purpose, &grant.issued.interaction];
        let own = texts.into_iter().map(String::len).chain([kind_bytes(&kind), USE_BYTES]);
        let bytes = own.chain(rule_bytes).chain([consent_bytes, attribute_bytes]);
        if !self.room.take(bytes.fold(0, usize::saturating_add)) {
            self.page.next = Some(version);
            return;
        }
        if matches!(kind, UseKind::Granted) {
            self.listed.insert(event_id, self.page.uses.len());
        }
        self.page.uses.push(ListedUse {
            event_id,
            position,
            recorded_at_ms,
            used_at_ms,
            kind,
            grant: grant.without_lists(),
            attributes,
            attributes_left_out,
            is_unspecific,
            consents,
            consents_left_out,
            rules,
            revoked: None,
        });
    }

    /// Returns the consents that allowed the attributes, each once, as many as fit. Also returns the number
    /// of the other consents, and the bytes of the returned ones.
    fn consents_of(&self, attributes: &[GrantedAttribute]) -> (Vec<ConsentRecord>, u32, usize) {
        let cited: BTreeSet<EventId> =
            attributes.iter().filter_map(|allowed| allowed.basis.consent()).collect();
        let consents = cited.iter().filter_map(|consent| self.decisions.get(consent));
        within(consents.map(|consent| (*consent).clone()).collect(), consent_bytes)
    }

    /// The rules in force when the grant was decided. The data subject's own rules come last, if there were
    /// any.
    fn rules_of(&self, grant: &UsedGrant) -> Vec<UseRule> {
        let rule = |position: &u64| match self.rules.version_at(*position) {
            Some(version) => UseRule {
                tier: version.pack.tier,
                pack: version.pack.pack.clone(),
                version: version.pack.version.clone(),
                position: *position,
                since_ms: version.starts_ms(),
            },
            // A restore lost the event that published it.
            None => UseRule {
                tier: Tier::Unspecified,
                pack: String::new(),
                version: String::new(),
                position: *position,
                since_ms: 0,
            },
        };
        let before = self.personal.partition_point(|(version, _)| *version < grant.version);
        let own = before.checked_sub(1).and_then(|last| self.personal.get(last));
        let packs = grant.issued.bounds.iter().map(rule);
        packs.chain(own.map(|(_, own)| own.clone())).collect()
    }
}

/// The attributes of a grant that an event names; all of them if it names none.
fn cited(grant: &UsedGrant, named: &[EventId]) -> Vec<GrantedAttribute> {
    let named: BTreeSet<&EventId> = named.iter().collect();
    let allowed = grant.issued.allowed.iter();
    allowed.filter(|allowed| named.is_empty() || named.contains(&allowed.attribute)).cloned().collect()
}

fn personal_rule((_, position, since_ms): (EventId, u64, u64)) -> UseRule {
    let (pack, version) = (String::new(), String::new());
    UseRule { tier: Tier::Individual, pack, version, position, since_ms }
}

/// Returns the first items, as many as fit into [`PART_BYTES_MAX`]. Also returns the number of the other
/// items, and the bytes of the returned ones.
fn within<T>(mut items: Vec<T>, size: impl Fn(&T) -> usize) -> (Vec<T>, u32, usize) {
    let (mut fitting, mut bytes) = (0_usize, 0_usize);
    for item in &items {
        let with = bytes.saturating_add(size(item));
        if with > PART_BYTES_MAX {
            break;
        }
        (fitting, bytes) = (fitting.saturating_add(1), with);
    }
    let left_out = u32::try_from(items.len().saturating_sub(fitting)).unwrap_or(u32::MAX);
    items.truncate(fitting);
    (items, left_out, bytes)
}

fn attribute_bytes(attribute: &GrantedAttribute) -> usize {
    ATTRIBUTE_BYTES.saturating_add(attribute.key.len()).saturating_add(attribute.category.len())
}

fn consent_bytes(consent: &ConsentRecord) -> usize {
    let terms = &consent.terms;
    let lists = [&terms.purposes, &terms.categories, &terms.recipients];
    let names = lists.into_iter().flatten().map(|name| name.len().saturating_add(4));
    let notice = terms.notice.iter().map(|notice| notice.id.len().saturating_add(notice.version.len()));
    let own = [CONSENT_BYTES, terms.channel.len(), consent.actor.name.len()];
    own.into_iter().chain(names).chain(notice).fold(0, usize::saturating_add)
}

fn kind_bytes(kind: &UseKind) -> usize {
    match kind {
        UseKind::Granted | UseKind::Reused(_) => 0,
        UseKind::Reported(used) => used.reply.len(),
        UseKind::Built(artifact) => artifact.name.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_a_use_is_counted() {
        let items = vec![PART_BYTES_MAX / 2; 3];
        let (fitting, left_out, bytes) = within(items, |item| *item);
        assert_eq!((fitting.len(), left_out, bytes), (2, 1, PART_BYTES_MAX));
    }

    #[test]
    fn a_period_includes_its_start_and_not_its_end() {
        let query = UseQuery { from_ms: Some(10), to_ms: Some(20), ..UseQuery::default() };
        assert!(query.includes(10, 10) && query.includes(19, 19) && query.includes(5, 10));
        assert!(!query.includes(9, 9) && !query.includes(20, 20) && !query.includes(20, 30));
        assert!(UseQuery::default().includes(0, u64::MAX));
    }
}
