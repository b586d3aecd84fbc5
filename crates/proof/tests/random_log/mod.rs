//! Generates random logs with every kind of event that grants depend on. The logs use few names, so that many
//! events concern the same things.

mod mutate;

pub use mutate::mutate;

use super::log::START_MS;
use super::naive::Line;
use sayso_proof::entry::Handle;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sha2::{Digest, Sha256};

const HOUR_MS: u64 = 3_600_000;
const PURPOSES: [&str; 6] =
    ["personalization", "tone-adaptation", "advertising", "legal-claims", "fraud-prevention", "other"];
const CATEGORIES: [&str; 5] = ["preference", "food", "health", "allergy", "work"];
const RECIPIENTS: [&str; 2] = ["bot", "shop"];
const INTERACTIONS: [&str; 3] = ["", "chat-1", "chat-2"];
const KEYS: [&str; 3] = ["tea", "job", "nuts"];

/// An entry to be sealed.
#[derive(Clone, Debug)]
pub struct Draft {
    pub handle: Handle,
    pub sealed_at_ms: u64,
    /// Its id; by default, one that contains its position.
    pub id: Option<[u8; 16]>,
    pub body: EventBody,
}

pub fn is_grant(line: &Line) -> bool {
    matches!(line.event(), Some(Event::GrantIssued(_)))
}

/// Random numbers from a fixed list, which repeats at its end.
struct Dice(Vec<u16>, usize);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.1 += 1;
        let at = self.0[self.1 % self.0.len()];
        usize::from(at).wrapping_mul(2_654_435_761).wrapping_add(self.1 / self.0.len()) / 7 % below
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.roll(of) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }

    /// Up to two names.
    fn names(&mut self, all: &[&str], none_in: usize) -> Vec<String> {
        if self.one_in(none_in) {
            return Vec::new();
        }
        let count = 1 + usize::from(self.one_in(4));
        (0..count).map(|_| self.of(all).to_owned()).collect()
    }
}

/// A history and where it is.
struct Writer {
    dice: Dice,
    drafts: Vec<Draft>,
    now: u64,
}

/// A random history after a small vocabulary.
pub fn history(dice: Vec<u16>) -> Vec<Draft> {
    let mut writer = Writer { dice: Dice(dice, 0), drafts: Vec::new(), now: START_MS };
    if !writer.dice.one_in(4) {
        let edition = writer.dice.of(&[2, 3, 3, 4, 5]);
        writer.system(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
    }
    writer.vocabulary();
    writer.consented_attributes();
    for _ in 0..writer.dice.0.len() / 12 {
        writer.step();
    }
    writer.drafts
}

impl Writer {
    fn push(&mut self, handle: Handle, about_ms: u64, role: Role, event: Event) {
        let actor = Some(Actor { role: role.into(), ..Actor::default() });
        let body = EventBody { about_ms, actor, event: Some(event), ..EventBody::default() };
        self.drafts.push(Draft { handle, sealed_at_ms: self.now, id: None, body });
    }

    fn system(&mut self, event: Event) {
        self.now += 1000;
        self.push(Handle::SYSTEM, self.now, Role::Ledger, event);
    }

    fn vocabulary(&mut self) {
        let parents = ["", "personalization", "", "", "", ""];
        for (id, parent) in PURPOSES.into_iter().zip(parents).take(5) {
            let basis = self.dice.of(&[0, 0, 0, 2, 3]);
            let rung = self.dice.of(&[0, 0, 1, 3]);
            let legal_basis = if id == "fraud-prevention" { basis } else { 0 };
            let (id, parent) = (id.into(), parent.into());
            self.system(Event::PurposeDefined(PurposeDefined {
                id,
                parent,
                rung,
                legal_basis,
                ..Default::default()
            }));
        }
        for (id, parent, special) in [
            ("preference", "", false),
            ("food", "preference", false),
            ("health", "", true),
            ("allergy", "health", false),
        ] {
            let (id, parent) = (id.into(), parent.into());
            self.system(Event::CategoryDefined(CategoryDefined {
                id,
                parent,
                special,
                ..Default::default()
            }));
        }
    }

    /// Often, both people have an attribute and consent to its use, so that more grants are right.
    fn consented_attributes(&mut self) {
        for handle in [1, 2].map(|number| Handle([number; 16])) {
            if self.dice.one_in(4) {
                continue;
            }
            let observed_at_ms = self.now;
            let (key, category, value_json) = ("tea".into(), "food".into(), "\"x\"".into());
            let provenance = Provenance::Declared.into();
            let attribute =
                Attribute { key, value_json, category, provenance, observed_at_ms, ..Attribute::default() };
            let recorded = AttributeRecorded { attribute: Some(attribute) };
            self.push(handle, self.now, Role::Subject, Event::AttributeRecorded(recorded));
            let purposes = vec!["personalization".into(), "advertising".into()];
            let terms = Some(ConsentTerms { purposes, explicit: true, ..ConsentTerms::default() });
            self.push(handle, self.now, Role::Subject, Event::ConsentGiven(ConsentGiven { terms }));
        }
    }

    fn step(&mut self) {
        self.now += self.dice.of(&[0, 1, 1000, 1000, HOUR_MS, 24 * HOUR_MS]);
        if self.dice.one_in(9) {
            let event = self.system_event();
            return self.system(event);
        }
        let handle = Handle([1 + self.dice.roll(2) as u8; 16]);
        let late = self.dice.of(&[0, 0, 0, 0, 1, 500, 2 * HOUR_MS, 30 * HOUR_MS]);
        let role = self.dice.of(&[Role::Subject, Role::Service, Role::Channel, Role::Steward]);
        let event = if self.dice.one_in(5) { self.report(handle) } else { self.subject_event(handle) };
        self.push(handle, self.now.saturating_sub(late), role, event);
        self.revoke(handle);
    }

    /// Records the missing ends of grants and artifacts in the frame of the last entry, or announces them.
    /// One time of four, it forgets them.
    fn revoke(&mut self, handle: Handle) {
        let mut owed = super::naive::owed(&self.lines(), handle.0);
        if owed.is_empty() || self.dice.one_in(4) {
            return;
        }
        let left = if self.dice.one_in(3) { owed.len() as u32 } else { 0 };
        owed.truncate(owed.len() - left as usize);
        let artifacts = self.ids(handle, |event| matches!(event, Event::ArtifactRegistered(_)));
        for id in owed.into_iter().map(|id| id.to_vec()) {
            let recipient =
                if self.dice.one_in(2) { self.dice.of(&RECIPIENTS).into() } else { String::new() };
            let ended = match artifacts.contains(&id) {
                true => Event::ArtifactInvalidated(ArtifactInvalidated {
                    artifact: id,
                    recipient,
                    ..Default::default()
                }),
                false => {
                    Event::GrantRevoked(GrantRevoked { grant: id, recipient, ..GrantRevoked::default() })
                }
            };
            self.push(handle, self.now, Role::Ledger, ended);
        }
        if left > 0 || self.dice.one_in(3) {
            self.push(handle, self.now, Role::Ledger, Event::RevocationsPending(RevocationsPending { left }));
        }
    }

    /// An event that reports about an earlier grant or artifact, or answers a request.
    fn report(&mut self, handle: Handle) -> Event {
        let mut own = self.ids(handle, |event| matches!(event, Event::GrantIssued(_)));
        own.push(vec![9; 16]);
        let grant = own[self.dice.roll(own.len())].clone();
        let issued = self.lines().into_iter().find(|line| line.id[..] == grant[..]);
        let issued = issued.and_then(|line| match line.event() {
            Some(Event::GrantIssued(issued)) => Some(issued.clone()),
            _ => None,
        });
        let GrantIssued { recipient, purpose, allowed, .. } = issued.unwrap_or_default();
        let recipient = if self.dice.one_in(6) { self.dice.of(&RECIPIENTS).into() } else { recipient };
        let attributes: Vec<Vec<u8>> = allowed.into_iter().map(|one| one.attribute).collect();
        match self.dice.roll(12) {
            9 | 10 if !attributes.is_empty() => Event::AttributeContested(AttributeContested {
                attribute: attributes[0].clone(),
                ..AttributeContested::default()
            }),
            11 => Event::ConsentWithdrawn(ConsentWithdrawn {
                terms: Some(ConsentTerms { purposes: vec![purpose], ..ConsentTerms::default() }),
            }),
            0..=3 => Event::GrantUsed(GrantUsed { grant, shaped_by: attributes, ..GrantUsed::default() }),
            4 => {
                let (first_ms, last_ms) = (self.now, self.now + self.dice.of(&[0, 1000, 2 * HOUR_MS]));
                Event::GrantGivenAgain(GrantGivenAgain { grant, count: 1, first_ms, last_ms, recipient })
            }
            5 => Event::ArtifactRegistered(ArtifactRegistered {
                recipient,
                purpose,
                grant,
                sources: attributes,
                ..ArtifactRegistered::default()
            }),
            6 => {
                let artifacts = self.ids(handle, |event| matches!(event, Event::ArtifactRegistered(_)));
                let artifact = artifacts.last().cloned().unwrap_or(grant);
                Event::ArtifactInvalidated(ArtifactInvalidated { artifact, recipient, ..Default::default() })
            }
            7 => Event::RequestSubmitted(RequestSubmitted {
                request: vec![self.dice.of(&[1, 2]); 16],
                ..RequestSubmitted::default()
            }),
            _ => Event::ErasureRequested(ErasureRequested {
                request: vec![self.dice.of(&[1, 2]); 16],
                scope: self.dice.of(&[1, 2, 5]),
            }),
        }
    }

    fn system_event(&mut self) -> Event {
        let from = self.dice.of(&[0, 0, self.now, self.now + HOUR_MS]);
        let notice = NoticeRef {
            id: "notice".into(),
            version: self.dice.of(&["1", "2", "3"]).into(),
            digest: self.digest(),
            ..Default::default()
        };
        match self.dice.roll(9) {
            0 | 1 => Event::BoundsPublished(BoundsPublished {
                tier: self.dice.of(&[1, 2]),
                pack: self.dice.of(&["law", "own"]).into(),
                effective_from_ms: from,
                ..Default::default()
            }),
            2 => Event::NoticePublished(NoticePublished { notice: Some(notice), text: "We ask.".into() }),
            3 => Event::NoticeRequired(NoticeRequired {
                id: notice.id,
                version: notice.version,
                effective_from_ms: from,
            }),
            4 => Event::PurposeDefined(PurposeDefined {
                id: self.dice.of(&PURPOSES).into(),
                parent: self.dice.of(&["", "", "personalization", "advertising"]).into(),
                title: self.dice.of(&["", "Another"]).into(),
                rung: self.dice.of(&[0, 0, 2, 5]),
                legal_basis: self.dice.of(&[0, 0, 2, 3, 4]),
                same_meaning: self.dice.one_in(3),
                effective_from_ms: from,
                ..Default::default()
            }),
            5 => Event::CategoryDefined(CategoryDefined {
                id: self.dice.of(&CATEGORIES).into(),
                parent: self.dice.of(&["", "", "preference", "health"]).into(),
                title: self.dice.of(&["", "Another"]).into(),
                special: self.dice.one_in(4),
                same_meaning: self.dice.one_in(3),
                effective_from_ms: from,
                ..Default::default()
            }),
            6 => {
                let restore = vec![self.dice.of(&[1, 2]); 16];
                Event::BackupRestored(BackupRestored {
                    restore,
                    use_waits: self.dice.one_in(2),
                    ..Default::default()
                })
            }
            7 => Event::RestoreConfirmed(RestoreConfirmed { restore: vec![self.dice.of(&[1, 2]); 16] }),
            _ => Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: self.dice.of(&[2, 3, 4, 5]) }),
        }
    }

    fn subject_event(&mut self, handle: Handle) -> Event {
        let own = self.attribute_ids(handle);
        let some = if own.is_empty() { vec![9; 16] } else { own[self.dice.roll(own.len())].clone() };
        match self.dice.roll(40) {
            0..=6 => Event::AttributeRecorded(AttributeRecorded { attribute: Some(self.attribute(&own)) }),
            7 => Event::AttributeCorrected(AttributeCorrected {
                corrects: some,
                attribute: Some(self.attribute(&own)),
            }),
            8 => Event::EarlierAttributeRecorded(EarlierAttributeRecorded {
                attribute: Some(self.attribute(&own)),
            }),
            9 => Event::AttributeContested(AttributeContested { attribute: some, ..Default::default() }),
            10 => Event::AttributeConfirmed(AttributeConfirmed { attribute: some }),
            11 => Event::AttributeRemoved(AttributeRemoved { attribute: some, ..Default::default() }),
            12 => Event::AttributeExpired(AttributeExpired { attribute: some, ..Default::default() }),
            13..=18 => Event::ConsentGiven(ConsentGiven { terms: Some(self.terms()) }),
            19 => Event::ConsentRenewed(ConsentRenewed { terms: Some(self.terms()) }),
            20 => Event::ConsentRefused(ConsentRefused { terms: Some(self.terms()) }),
            21 => Event::ConsentWithdrawn(ConsentWithdrawn { terms: Some(self.terms()) }),
            22 | 23 => self.signal(),
            24 => Event::PersonalBoundsSet(self.personal_bounds()),
            25 => Event::SubjectDescribed(SubjectDescribed {
                age_band: self.dice.of(&[0, 1, 2, 3, 3, 4]),
                born: self.dice.of(&["", "", "2007", "2007-06", "2007-06-15", "1990"]).into(),
                ..Default::default()
            }),
            26 => self.erasure_refused(),
            27 => Event::RequestWithdrawn(RequestWithdrawn { request: vec![self.dice.of(&[1, 2]); 16] }),
            28 => Event::RecipientsKept(RecipientsKept::default()),
            29 => Event::AttributeSourcesAdded(AttributeSourcesAdded {
                attribute: some,
                sources: own.into_iter().take(2).collect(),
            }),
            _ => self.grant(handle),
        }
    }

    /// The ids of a person's attributes. An entry's id follows from its position, which is one more than its
    /// number here, because the log begins with an entry of its own.
    fn attribute_ids(&self, handle: Handle) -> Vec<Vec<u8>> {
        self.ids(handle, |event| matches!(event, Event::AttributeRecorded(_) | Event::AttributeCorrected(_)))
    }

    fn ids(&self, handle: Handle, is_kind: fn(&Event) -> bool) -> Vec<Vec<u8>> {
        let is_own = |draft: &Draft| draft.handle == handle && draft.body.event.as_ref().is_some_and(is_kind);
        let positions = (1..).zip(&self.drafts).filter(|(_, draft)| is_own(draft));
        positions.map(|(position, _)| super::log::event_id(position).to_vec()).collect()
    }

    fn attribute(&mut self, own: &[Vec<u8>]) -> Attribute {
        let mut derived_from = Vec::new();
        if !own.is_empty() && self.dice.one_in(3) {
            derived_from.push(own[self.dice.roll(own.len())].clone());
        }
        Attribute {
            key: self.dice.of(&KEYS).into(),
            value_json: "\"x\"".into(),
            category: self.dice.of(&CATEGORIES).into(),
            provenance: self.dice.of(&[1, 1, 2, 3]),
            derived_from,
            observed_at_ms: self.now - self.dice.of(&[0, 0, HOUR_MS, 40 * HOUR_MS]),
            expires_at_ms: self.dice.one_in(6).then_some(self.now + 10 * HOUR_MS),
            ..Attribute::default()
        }
    }

    fn terms(&mut self) -> ConsentTerms {
        let version = self.dice.of(&["1", "2", "3"]).into();
        let notice = NoticeRef { id: "notice".into(), version, digest: self.digest(), ..Default::default() };
        ConsentTerms {
            purposes: self.dice.names(&PURPOSES, 12),
            categories: self.dice.names(&CATEGORIES, 2),
            recipients: self.dice.names(&RECIPIENTS, 2),
            interactions: self.dice.names(&INTERACTIONS[1..], 2),
            explicit: !self.dice.one_in(3),
            until_ms: self.dice.one_in(5).then_some(self.now + 8 * HOUR_MS),
            notice: self.dice.one_in(3).then_some(notice),
            ..ConsentTerms::default()
        }
    }

    /// The digest of the text of all notices, most of the time.
    fn digest(&mut self) -> Vec<u8> {
        if self.dice.one_in(8) { vec![0; 32] } else { Sha256::digest("We ask.").to_vec() }
    }

    fn signal(&mut self) -> Event {
        let kind = self.dice.of(&[1, 2, 3, 5]);
        let purposes = self.dice.names(&PURPOSES, 4);
        let interaction: String = self.dice.of(&INTERACTIONS).into();
        if self.dice.one_in(3) {
            Event::SignalRecorded(SignalRecorded { kind, purposes, interaction })
        } else {
            Event::SignalLifted(SignalLifted { kind, purposes, interaction })
        }
    }

    fn personal_bounds(&mut self) -> PersonalBoundsSet {
        let never = NeverUse {
            category: self.dice.of(&["", "food", "health"]).into(),
            purposes: self.dice.names(&PURPOSES, 3),
        };
        PersonalBoundsSet {
            never: if self.dice.one_in(3) { vec![never] } else { vec![] },
            only_recipients: if self.dice.one_in(4) { self.dice.names(&RECIPIENTS, 2) } else { vec![] },
            declared_only: self.dice.one_in(4),
            forget_inferences_days: self.dice.of(&[0, 0, 1, 2]),
            ask_each_time: self.dice.one_in(5),
            paused: self.dice.one_in(8),
            paused_interactions: if self.dice.one_in(4) { self.dice.names(&INTERACTIONS, 2) } else { vec![] },
        }
    }

    fn erasure_refused(&mut self) -> Event {
        Event::ErasureRefused(ErasureRefused {
            request: vec![self.dice.of(&[1, 2]); 16],
            ground: self.dice.of(&[1, 2, 5, 6, 7]),
            whole: !self.dice.one_in(4),
            scope: self.dice.of(&[0, 1, 2, 3, 4, 5]),
            category: self.dice.of(&CATEGORIES).into(),
            key: self.dice.of(&KEYS).into(),
            categories: self.dice.names(&CATEGORIES, 2),
            purposes: self.dice.names(&PURPOSES, 3),
            ..Default::default()
        })
    }

    fn lines(&self) -> Vec<Line> {
        let line = |(position, draft): (u64, &Draft)| Line {
            position,
            handle: draft.handle.0,
            id: super::log::event_id(position),
            version: self.drafts[..position as usize - 1]
                .iter()
                .filter(|one| one.handle == draft.handle)
                .count() as u64,
            sealed_at_ms: draft.sealed_at_ms,
            body: Some(draft.body.clone()),
        };
        (1..).zip(&self.drafts).map(line).collect()
    }

    /// A grant that is often right: it cites the bounds in force, and a consent or declared basis at random.
    fn grant(&mut self, handle: Handle) -> Event {
        let position = self.drafts.len() as u64 + 1;
        let mut grant = GrantIssued {
            recipient: self.dice.of(&RECIPIENTS).into(),
            purpose: self.dice.of(&PURPOSES[..5]).into(),
            interaction: self.dice.of(&INTERACTIONS).into(),
            expires_at_ms: self.now + self.dice.of(&[1, 20, 20, 24, 25]) * HOUR_MS,
            ..GrantIssued::default()
        };
        if self.dice.one_in(5) {
            grant.categories = self.dice.names(&CATEGORIES, 1);
        }
        if self.dice.one_in(6) {
            grant.keys = self.dice.names(&KEYS, 1);
        }
        super::naive::complete(&self.lines(), &mut grant, handle.0, position, self.now, &mut |below| {
            self.dice.roll(below)
        });
        Event::GrantIssued(grant)
    }
}
