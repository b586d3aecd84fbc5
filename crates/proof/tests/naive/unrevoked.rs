//! Finds grants that a later event of the person contradicts and that no event revoked.

use super::{Asked, Handle, Line, Log, standing, subject_choices};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{ArtifactRegistered, Attribute, ErasureScope, GrantIssued, GrantedAttribute};
use std::collections::BTreeSet;

/// A grant or an artifact that a frame contradicted.
struct Contradicted {
    id: [u8; 16],
    is_artifact: bool,
    /// The grant; for an artifact, its grant.
    of: [u8; 16],
    expires: u64,
    /// The position of the last entry of the frame before its revocations.
    at: u64,
    moment: u64,
}

/// The position of each frame whose revocations are missing, with the grant.
pub fn wrong(log: Log<'_>, handle: Handle) -> BTreeSet<(u64, [u8; 16])> {
    let mut run = Run::new(log, handle);
    for line in log.lines.iter().filter(|line| line.handle == handle) {
        run.next(line);
    }
    run.judge();
    if !run.announced && !run.last.is_some_and(begins_full_erasure) {
        run.wrong.extend(run.owed.iter().map(|owed| (owed.at, owed.of)));
    }
    run.wrong
}

/// The grants and artifacts that must end after the last entry.
pub fn owed(log: Log<'_>, handle: Handle) -> Vec<[u8; 16]> {
    let mut run = Run::new(log, handle);
    for line in log.lines.iter().filter(|line| line.handle == handle) {
        run.next(line);
    }
    run.judge();
    run.owed.into_iter().map(|owed| owed.id).collect()
}

/// The grants that frames contradicted which ended before the entry at this position, each with the moment of
/// the frame.
pub fn contradicted(log: Log<'_>, handle: Handle, before: u64) -> Vec<([u8; 16], u64)> {
    let mut run = Run::new(log, handle);
    for line in log.lines.iter().filter(|line| line.handle == handle && line.position < before) {
        run.next(line);
    }
    if let Some(line) = log.lines.iter().find(|line| line.position == before) {
        run.next(line);
    }
    run.found
}

/// A granted attribute, or the one with the same content that took its place before a position.
pub fn as_it_is_now(
    log: Log<'_>,
    handle: Handle,
    granted: &GrantedAttribute,
    position: u64,
) -> GrantedAttribute {
    Run::new(log, handle).as_it_is_now(granted, position)
}

/// Whether everything about the person is to be erased from here on.
fn begins_full_erasure(line: &Line) -> bool {
    matches!(line.event(), Some(Event::ErasureRequested(one)) if one.scope() == ErasureScope::All)
}

/// A pass over the entries of one person.
struct Run<'a> {
    log: Log<'a>,
    handle: Handle,
    last: Option<&'a Line>,
    /// The entries of the frame that were not judged yet.
    frame: Vec<&'a Line>,
    found: Vec<([u8; 16], u64)>,
    owed: Vec<Contradicted>,
    announced: bool,
    wrong: BTreeSet<(u64, [u8; 16])>,
}

impl<'a> Run<'a> {
    fn new(log: Log<'a>, handle: Handle) -> Self {
        let (found, owed, wrong) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { log, handle, last: None, frame: Vec::new(), found, owed, announced: false, wrong }
    }

    fn next(&mut self, line: &'a Line) {
        let event = line.event();
        let revokes = event.is_some_and(is_revocation);
        if revokes || !self.continues_frame(line) {
            self.judge();
        }
        let may_wait = self.announced && event.is_some_and(may_wait);
        if !(revokes || may_wait) {
            self.wrong.extend(self.owed.drain(..).map(|owed| (owed.at, owed.of)));
            self.announced = false;
        }
        match event {
            Some(Event::GrantRevoked(revoked)) => {
                self.owed.retain(|owed| owed.is_artifact || owed.id[..] != revoked.grant[..])
            }
            Some(Event::ArtifactInvalidated(ended)) => {
                self.owed.retain(|owed| !owed.is_artifact || owed.id[..] != ended.artifact[..])
            }
            Some(Event::RevocationsPending(pending)) => {
                let moment = self.log.moment(line);
                let open = self.owed.iter().filter(|owed| owed.expires > moment).count();
                if pending.left > 0 && open > pending.left as usize {
                    self.wrong.insert((line.position, [0; 16]));
                }
                if self.announced {
                    self.owed.retain(|owed| owed.expires > moment);
                }
                self.announced = pending.left > 0;
            }
            _ => self.frame.push(line),
        }
        self.last = Some(line);
    }

    fn continues_frame(&self, line: &Line) -> bool {
        let Some(last) = self.last else { return false };
        let begins = matches!(
            line.event(),
            Some(
                Event::GrantIssued(_)
                    | Event::GrantUsed(_)
                    | Event::GrantGivenAgain(_)
                    | Event::ArtifactRegistered(_)
            )
        );
        last.position + 1 == line.position
            && self.log.moment(last) == self.log.moment(line)
            && !begins
            && !last.event().is_some_and(is_revocation)
    }

    /// Finds the open grants that the frame contradicts.
    fn judge(&mut self) {
        let frame = std::mem::take(&mut self.frame);
        let Some(last) = self.last else { return };
        let changes = Changes::of(self.log, self.handle, &frame);
        let (position, moment) = (last.position + 1, self.log.moment(last));
        for (line, event) in self.log.of(self.handle, position) {
            let (of, grant) = match event {
                Event::GrantIssued(grant) => (line.id, grant.clone()),
                Event::ArtifactRegistered(one) => {
                    let Some(use_of_it) = self.use_of_artifact(one, line.position) else { continue };
                    (<[u8; 16]>::try_from(&one.grant[..]).unwrap_or_default(), use_of_it)
                }
                _ => continue,
            };
            let is_artifact = matches!(event, Event::ArtifactRegistered(_));
            let is_over = self.log.of(self.handle, position).any(|(_, event)| match event {
                Event::GrantRevoked(one) => !is_artifact && one.grant[..] == line.id[..],
                Event::ArtifactInvalidated(one) => is_artifact && one.artifact[..] == line.id[..],
                _ => false,
            });
            let was_found = self.found.iter().any(|(id, _)| *id == line.id);
            if is_over || was_found || grant.expires_at_ms <= moment {
                continue;
            }
            if self.is_contradicted(&grant, &changes, position, moment) {
                let (id, expires) = (line.id, grant.expires_at_ms);
                self.owed.push(Contradicted { id, is_artifact, of, expires, at: last.position, moment });
                self.found.push((id, moment));
            }
        }
        debug_assert!(self.owed.iter().all(|owed| owed.moment <= moment));
    }

    /// An artifact as if it were a grant of its sources, in no conversation and on any basis.
    fn use_of_artifact(&self, one: &ArtifactRegistered, at: u64) -> Option<GrantIssued> {
        let grant = self.log.of(self.handle, at).find_map(|(line, event)| match event {
            Event::GrantIssued(grant) if line.id[..] == one.grant[..] => Some(grant),
            _ => None,
        })?;
        let source = |id: &Vec<u8>| {
            let granted = grant.allowed.iter().find(|granted| granted.attribute == *id)?;
            let (key, category) = (granted.key.clone(), granted.category.clone());
            Some(GrantedAttribute { attribute: id.clone(), key, category, ..GrantedAttribute::default() })
        };
        // Without sources, it may have been built from all that the grant allows.
        let all = || grant.allowed.iter().map(|granted| granted.attribute.clone()).collect();
        let sources: Vec<Vec<u8>> = if one.sources.is_empty() { all() } else { one.sources.clone() };
        Some(GrantIssued {
            recipient: one.recipient.clone(),
            purpose: one.purpose.clone(),
            allowed: sources.iter().filter_map(source).collect(),
            expires_at_ms: if one.expires_at_ms == 0 { u64::MAX } else { one.expires_at_ms },
            ..GrantIssued::default()
        })
    }

    fn is_contradicted(&self, grant: &GrantIssued, changes: &Changes, position: u64, now: u64) -> bool {
        let is_concerned =
            |one: &&GrantedAttribute| changes.anything || changes.source || changes.keys.contains(&one.key);
        let allowed = grant.allowed.iter().filter(is_concerned);
        let allowed = allowed.map(|one| self.as_it_is_now(one, position)).collect();
        // What was requested is not checked again.
        let (categories, keys) = (Vec::new(), Vec::new());
        let grant = GrantIssued { allowed, categories, keys, ..grant.clone() };
        if grant.allowed.is_empty() {
            return false;
        }
        let handle = self.handle;
        let asked = Asked { log: self.log, grant: &grant, handle, position, now, words_at: now };
        if changes.anything {
            return subject_choices::signal_forbids(asked)
                || !grant.allowed.iter().all(|one| standing::stands(asked, one, true));
        }
        grant.allowed.iter().any(|one| {
            let replaced = changes.keys.contains(&one.key) && !standing::stands(asked, one, false);
            replaced || standing::lost_a_source(asked, one)
        })
    }

    /// The newest attribute with the same content, if the granted one was replaced.
    fn as_it_is_now(&self, granted: &GrantedAttribute, position: u64) -> GrantedAttribute {
        let own: Vec<_> = self.log.of(self.handle, position).filter_map(recorded).collect();
        let content = |id: &[u8]| own.iter().find(|(line, _)| line.id[..] == *id).map(|(_, one)| *one);
        let sources = |id: &[u8], one: &Attribute| -> BTreeSet<Vec<u8>> {
            let added = self.log.of(self.handle, position).filter_map(|(_, event)| match event {
                Event::AttributeSourcesAdded(added) if added.attribute[..] == *id => Some(&added.sources),
                _ => None,
            });
            one.derived_from.iter().chain(added.flatten()).cloned().collect()
        };
        let as_recorded =
            |one: &Attribute| -> BTreeSet<Vec<u8>> { one.derived_from.iter().cloned().collect() };
        let same = |(id, one): (&[u8], &Attribute), (other_id, other): (&[u8], &Attribute)| {
            let now = sources(other_id, other);
            one.key == other.key
                && one.value_json == other.value_json
                && one.category == other.category
                && (sources(id, one) == now || as_recorded(one) == now)
        };
        let newest_like = |id: &[u8]| {
            let before = (id, content(id)?);
            let newest = own.iter().rfind(|(line, one)| same((&line.id, one), before))?;
            Some(newest.0.id.to_vec())
        };
        let mut newest = newest_like(&granted.attribute);
        if newest.is_none() {
            return granted.clone();
        }
        while let Some(next) =
            newest.as_ref().and_then(|id| newest_like(id)).filter(|next| Some(next) != newest.as_ref())
        {
            newest = Some(next);
        }
        let is_replaced = standing::was_replaced(self.log, self.handle, position, &granted.attribute);
        let attribute = newest.filter(|_| is_replaced).unwrap_or_else(|| granted.attribute.clone());
        GrantedAttribute { attribute, ..granted.clone() }
    }
}

/// What a frame changed.
struct Changes {
    /// Something that may concern every grant.
    anything: bool,
    /// Keys under which another attribute was recorded.
    keys: Vec<String>,
    /// Whether other attributes were derived from an attribute under such a key.
    source: bool,
}

impl Changes {
    fn of(log: Log<'_>, handle: Handle, frame: &[&Line]) -> Self {
        let mut changes = Self { anything: false, keys: Vec::new(), source: false };
        for line in frame {
            changes.anything |= line.event().is_some_and(is_change);
            let Some(Event::AttributeRecorded(one)) = line.event() else { continue };
            let Some(new) = &one.attribute else { continue };
            let before = || log.of(handle, line.position).filter_map(recorded);
            if log.edition(line.position) >= 3 && before().any(|(_, old)| old.key == new.key) {
                let is_source = |(source, old): (&Line, &Attribute)| {
                    let derives = |one: &Attribute| one.derived_from.iter().any(|id| id[..] == source.id[..]);
                    old.key == new.key
                        && (derives(new)
                            || before().any(|(_, one)| derives(one))
                            || is_added_source(log, handle, line.position, source))
                };
                changes.source |= before().any(is_source);
                changes.keys.push(new.key.clone());
            }
        }
        changes
    }
}

/// Whether an event before a position made this attribute a source of another one.
fn is_added_source(log: Log<'_>, handle: Handle, position: u64, source: &Line) -> bool {
    log.of(handle, position).any(|(line, event)| match event {
        Event::AttributeSourcesAdded(added) => {
            line.position > source.position && added.sources.iter().any(|id| id[..] == source.id[..])
        }
        _ => false,
    })
}

fn recorded<'a>((line, event): (&'a Line, &'a Event)) -> Option<(&'a Line, &'a Attribute)> {
    match event {
        Event::AttributeRecorded(one) => one.attribute.as_ref().map(|one| (line, one)),
        Event::AttributeCorrected(one) => one.attribute.as_ref().map(|one| (line, one)),
        _ => None,
    }
}

fn is_change(event: &Event) -> bool {
    matches!(
        event,
        Event::AttributeContested(_)
            | Event::AttributeSourcesAdded(_)
            | Event::AttributeCorrected(_)
            | Event::AttributeRemoved(_)
            | Event::AttributeExpired(_)
            | Event::ConsentRefused(_)
            | Event::ConsentWithdrawn(_)
            | Event::SignalRecorded(_)
            | Event::PersonalBoundsSet(_)
            | Event::SubjectDescribed(_)
            | Event::ErasureRefused(_)
    )
}

fn is_revocation(event: &Event) -> bool {
    matches!(event, Event::GrantRevoked(_) | Event::ArtifactInvalidated(_) | Event::RevocationsPending(_))
}

/// Whether an event may be recorded while revocations are announced.
fn may_wait(event: &Event) -> bool {
    matches!(
        event,
        Event::ConsentRequested(_)
            | Event::ConsentRefused(_)
            | Event::ConsentWithdrawn(_)
            | Event::ConsentExpired(_)
            | Event::SignalRecorded(_)
            | Event::AttributeContested(_)
            | Event::AttributeSourcesAdded(_)
            | Event::EarlierAttributeRecorded(_)
            | Event::AttributeRemoved(_)
            | Event::AttributeExpired(_)
            | Event::GrantIssued(_)
            | Event::GrantGivenAgain(_)
            | Event::RecordingRefused(_)
            | Event::RecordViewed(_)
            | Event::ErasureRequested(_)
            | Event::ErasureRefused(_)
            | Event::RequestSubmitted(_)
            | Event::RequestDecided(_)
            | Event::RequestExtended(_)
            | Event::HoldPlaced(_)
            | Event::RecipientsKept(_)
            | Event::AccessProvided(_)
    )
}
