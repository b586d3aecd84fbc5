//! Builds honest logs with random contents, and forges entries with the log's key as a dishonest operator
//! could.

pub mod bytes;
pub mod ends;
pub mod grants;
pub mod rules;
pub mod times;
pub mod uses;

use crate::log::*;
use ed25519_dalek::SigningKey;
use sayso_proof::entry::Handle;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::writer::{self, Binding};
use std::collections::BTreeMap;

pub type Id = [u8; 16];
pub const HOUR_MS: u64 = 3_600_000;
pub const PEOPLE: [u8; 3] = [1, 2, 3];
/// The categories that a consent for everything covers.
const CATEGORIES: [&str; 4] = ["food", "work", "money", "preference"];

/// Random numbers from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `below`.
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % below as u64) as usize
    }

    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())].clone()
    }
}

/// An attribute of a person.
#[derive(Clone)]
pub struct Fact {
    pub id: Id,
    pub key: String,
    pub category: String,
}

/// An open grant of one attribute.
#[derive(Clone)]
pub struct Open {
    pub id: Id,
    pub at: u64,
    pub fact: Fact,
    pub expires_at_ms: u64,
}

#[derive(Default)]
struct SubjectSoFar {
    facts: Vec<Fact>,
    consent: Option<Id>,
    open: Vec<Open>,
}

/// A log of edition 4 with bounds, words, a notice and three people.
pub struct World {
    pub log: Log,
    pub dice: Dice,
    people: BTreeMap<u8, SubjectSoFar>,
    /// The positions of the bounds in force, by pack.
    bounds: BTreeMap<&'static str, u64>,
    /// The number of versions of the steward's pack.
    pub house_versions: u64,
}

pub fn steward() -> SigningKey {
    SigningKey::from_bytes(&[21; 32])
}

pub fn authority() -> SigningKey {
    SigningKey::from_bytes(&[22; 32])
}

pub fn bounds(tier: Tier, pack: &str, version: &str) -> Event {
    let (pack, version) = (pack.into(), version.into());
    Event::BoundsPublished(BoundsPublished { tier: tier.into(), pack, version, ..Default::default() })
}

pub fn purpose(id: &str, parent: &str, title: &str) -> Event {
    let (id, parent, title) = (id.into(), parent.into(), title.into());
    Event::PurposeDefined(PurposeDefined { id, parent, title, ..Default::default() })
}

pub fn category(id: &str, parent: &str, special: bool) -> Event {
    let (id, parent) = (id.into(), parent.into());
    Event::CategoryDefined(CategoryDefined { id, parent, special, ..Default::default() })
}

pub fn everything() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

pub fn signal(kind: SignalKind) -> Event {
    Event::SignalRecorded(SignalRecorded { kind: kind.into(), ..SignalRecorded::default() })
}

impl World {
    /// A random honest log, in which the person [`World::ada`] has an open grant.
    pub fn new(seed: u64) -> Self {
        let mut log = Log::opened_by(Role::Ledger);
        log.append_rule(Role::Ledger, Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 4 }), None);
        for word in [
            purpose("personalization", "", "Adapt"),
            purpose("tone-adaptation", "personalization", "Tone"),
            purpose("advertising", "", "Advertise"),
            category("preference", "", false),
            category("food", "preference", false),
            category("work", "", false),
            category("money", "", false),
            category("health", "", true),
            category("allergy", "health", false),
        ] {
            log.append_rule(Role::Ledger, word, None);
        }
        let house = log.size();
        log.append_rule(Role::Ledger, bounds(Tier::Provider, "house", "1"), None);
        let notice = Some(published_notice());
        let notice = Event::NoticePublished(NoticePublished { notice, text: "We ask.".into() });
        log.append_rule(Role::Steward, notice, None);
        let people = PEOPLE.map(|number| (number, SubjectSoFar::default())).into();
        let bounds = [("house", house)].into();
        let mut world = Self { log, dice: Dice::new(seed), people, bounds, house_versions: 1 };
        for _ in 0..3 + world.dice.roll(25) {
            world.honest_step();
        }
        world.grant_to(Self::ada_number());
        world
    }

    fn ada_number() -> u8 {
        PEOPLE[0]
    }

    pub fn ada() -> Handle {
        subject(Self::ada_number())
    }

    pub fn bob() -> Handle {
        subject(PEOPLE[1])
    }

    /// Ada's newest open grant.
    pub fn open(&self) -> Open {
        self.people[&Self::ada_number()].open.last().unwrap().clone()
    }

    pub fn consent(&self) -> Id {
        self.people[&Self::ada_number()].consent.unwrap()
    }

    fn honest_step(&mut self) {
        self.log.now += self.dice.of(&[0, 10, 1000, 60_000, HOUR_MS]);
        let person = self.dice.of(&PEOPLE);
        match self.dice.roll(9) {
            0 | 1 => drop(self.record(person)),
            2 | 3 => self.grant_to(person),
            4 => self.withdraw_everything(person),
            5 => self.publish_house(),
            6 => {
                let open = self.people[&person].open.last().cloned();
                if let Some(open) = open.filter(|open| open.expires_at_ms > self.log.now + 1000) {
                    self.log.append(subject(person), Event::GrantUsed(Self::use_of(&open)));
                }
            }
            7 => drop(self.log.append(subject(person), Event::RecordViewed(RecordViewed::default()))),
            _ => {
                let terms = ConsentTerms { notice: Some(published_notice()), ..everything() };
                let consent = self.log.append(subject(person), given(terms));
                self.people.get_mut(&person).unwrap().consent = Some(consent);
            }
        }
    }

    fn record(&mut self, person: u8) -> Fact {
        let (key, category) = (format!("key-{}", self.log.size()), self.dice.of(&CATEGORIES).to_owned());
        let id = self.log.append(subject(person), recorded(attribute(&key, &category)));
        let fact = Fact { id, key, category };
        self.people.get_mut(&person).unwrap().facts.push(fact.clone());
        fact
    }

    fn grant_to(&mut self, person: u8) {
        if self.people[&person].facts.is_empty() {
            self.record(person);
        }
        if self.people[&person].consent.is_none() {
            let consent = self.log.append(subject(person), given(everything()));
            self.people.get_mut(&person).unwrap().consent = Some(consent);
        }
        let fact = self.dice.of(&self.people[&person].facts);
        let consent = self.people[&person].consent.unwrap();
        let issued = self.grant_of(&fact, consent);
        let (at, expires_at_ms) = (self.log.size(), issued.expires_at_ms);
        let id = self.log.append(subject(person), Event::GrantIssued(issued));
        self.people.get_mut(&person).unwrap().open.push(Open { id, at, fact, expires_at_ms });
    }

    /// A grant that is right if the consent is.
    pub fn grant_of(&mut self, fact: &Fact, consent: Id) -> GrantIssued {
        let Event::GrantIssued(issued) = grant(fact.id, consent, &fact.key, &fact.category) else { panic!() };
        let expires_at_ms = self.log.now + HOUR_MS * (1 + self.dice.roll(20) as u64);
        GrantIssued { bounds: self.in_force(), expires_at_ms, ..issued }
    }

    /// A grant of the attribute that Ada's open grant allows.
    pub fn next_grant(&mut self) -> GrantIssued {
        let (fact, consent) = (self.open().fact, self.consent());
        self.grant_of(&fact, consent)
    }

    pub fn in_force(&self) -> Vec<u64> {
        let mut positions: Vec<u64> = self.bounds.values().copied().collect();
        positions.sort_unstable();
        positions
    }

    pub fn use_of(open: &Open) -> GrantUsed {
        let (grant, shaped_by) = (open.id.to_vec(), vec![open.fact.id.to_vec()]);
        GrantUsed { grant, shaped_by, count: 1, ..GrantUsed::default() }
    }

    pub fn revocation(open: &Open) -> GrantRevoked {
        GrantRevoked {
            grant: open.id.to_vec(),
            reason: Reason::ConsentWithdrawn.into(),
            grant_id: format!("g{}-{}", open.at, hex::encode(&open.id[8..])),
            recipient: "bot".into(),
            ..GrantRevoked::default()
        }
    }

    fn withdraw_everything(&mut self, person: u8) {
        self.change_and_revoke(person, withdrawn(everything()));
        self.people.get_mut(&person).unwrap().consent = None;
    }

    fn change_and_revoke(&mut self, person: u8, change: Event) {
        self.log.append(subject(person), change);
        let now = self.log.now;
        for open in std::mem::take(&mut self.people.get_mut(&person).unwrap().open) {
            if open.expires_at_ms > now {
                let revoked = Event::GrantRevoked(Self::revocation(&open));
                self.log.append_at_same_time(subject(person), revoked);
            }
        }
    }

    /// Records a change of Ada's that contradicts all of her grants, and their revocations. Returns the grant
    /// that was her newest.
    pub fn revoke_by(&mut self, change: Event) -> Open {
        let open = self.open();
        self.change_and_revoke(Self::ada_number(), change);
        open
    }

    fn publish_house(&mut self) {
        self.house_versions += 1;
        let event = bounds(Tier::Provider, "house", &self.house_versions.to_string());
        self.bounds.insert("house", self.log.size());
        self.publish(Role::Steward, event, self.house_versions, &steward());
    }

    /// Publishes a rule with a signature that is bound to this log, this number and now.
    pub fn publish(&mut self, role: Role, event: Event, sequence: u64, key: &SigningKey) {
        let signature = self.signed(&event, sequence, key);
        self.log.append_rule(role, event, Some(signature));
    }

    pub fn signed(&self, event: &Event, sequence: u64, key: &SigningKey) -> WriterSignature {
        let binding = Binding { origin: ORIGIN, sequence, signed_at_ms: self.log.now };
        writer::sign(event, binding, key).unwrap()
    }
}
