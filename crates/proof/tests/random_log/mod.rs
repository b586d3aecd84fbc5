//! Random logs of every event kind that grants depend on, over few names, so that events concern each other.

use super::log::START_MS;
use super::naive::Line;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use sayso_proof::entry::Handle;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;

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
        let edition = writer.dice.of(&[2, 3, 3, 3]);
        writer.system(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
    }
    writer.vocabulary();
    for _ in 0..writer.dice.0.len() / 12 {
        writer.step();
    }
    writer.drafts
}

impl Writer {
    fn push(&mut self, handle: Handle, about_ms: u64, role: Role, event: Event) {
        let actor = Some(Actor { role: role.into(), ..Actor::default() });
        let body = EventBody { about_ms, actor, event: Some(event), ..EventBody::default() };
        self.drafts.push(Draft { handle, sealed_at_ms: self.now, body });
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

    fn step(&mut self) {
        self.now += self.dice.of(&[0, 1, 1000, HOUR_MS, 24 * HOUR_MS]);
        if self.dice.one_in(9) {
            let event = self.system_event();
            return self.system(event);
        }
        let handle = Handle([1 + self.dice.roll(2) as u8; 16]);
        let late = self.dice.of(&[0, 0, 0, 0, 1, 500, 2 * HOUR_MS, 30 * HOUR_MS]);
        let role = self.dice.of(&[Role::Subject, Role::Service, Role::Channel, Role::Steward]);
        let event = self.subject_event(handle);
        self.push(handle, self.now.saturating_sub(late), role, event);
    }

    fn system_event(&mut self) -> Event {
        let from = self.dice.of(&[0, 0, self.now, self.now + HOUR_MS]);
        let notice = NoticeRef {
            id: "notice".into(),
            version: self.dice.of(&["1", "2", "3"]).into(),
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
            _ => Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: self.dice.of(&[2, 3, 3]) }),
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
            _ => self.grant(handle),
        }
    }

    /// The ids of a person's attributes. An entry's id follows from its position, which is one more than its
    /// number here, because the log begins with an entry of its own.
    fn attribute_ids(&self, handle: Handle) -> Vec<Vec<u8>> {
        let is_own = |draft: &Draft| {
            draft.handle == handle
                && matches!(
                    draft.body.event,
                    Some(Event::AttributeRecorded(_) | Event::AttributeCorrected(_))
                )
        };
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
        let notice = NoticeRef { id: "notice".into(), version, ..Default::default() };
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

    /// A grant that is often right: it cites the bounds in force, and a consent or declared basis at random.
    fn grant(&mut self, handle: Handle) -> Event {
        let position = self.drafts.len() as u64 + 1;
        let mut grant = GrantIssued {
            recipient: self.dice.of(&RECIPIENTS).into(),
            purpose: self.dice.of(&PURPOSES[..5]).into(),
            interaction: self.dice.of(&INTERACTIONS).into(),
            expires_at_ms: self.now + HOUR_MS,
            ..GrantIssued::default()
        };
        if self.dice.one_in(5) {
            grant.categories = self.dice.names(&CATEGORIES, 1);
        }
        if self.dice.one_in(6) {
            grant.keys = self.dice.names(&KEYS, 1);
        }
        let lines: Vec<Line> = (1..)
            .zip(&self.drafts)
            .map(|(position, draft)| Line {
                position,
                handle: draft.handle.0,
                id: super::log::event_id(position),
                version: 0,
                sealed_at_ms: draft.sealed_at_ms,
                body: Some(draft.body.clone()),
            })
            .collect();
        super::naive::complete(&lines, &mut grant, handle.0, position, self.now, &mut |below| {
            self.dice.roll(below)
        });
        Event::GrantIssued(grant)
    }
}

/// Changes one to three things of a log at random.
pub fn mutate(drafts: &mut Vec<Draft>, choices: Vec<u16>) {
    let mut dice = Dice(choices, 0);
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(drafts.len());
        match dice.roll(8) {
            0 => drafts.truncate(at.max(2)),
            1 if drafts.len() > 2 => drop(drafts.remove(at)),
            2 => {
                let next = (at + 1) % drafts.len();
                drafts.swap(at, next);
            }
            3 => {
                drafts[at].sealed_at_ms =
                    drafts[at].sealed_at_ms.saturating_add_signed(dice.of(&[-3_600_000, 3_600_000, 1, -1]))
            }
            4 => drafts[at].body.about_ms = dice.of(&[0, START_MS, START_MS + 20 * HOUR_MS, u64::MAX]),
            _ => mutate_body(&mut drafts[at].body, &mut dice),
        }
    }
}

/// Changes one field of a body, at any depth.
fn mutate_body(body: &mut EventBody, dice: &mut Dice) {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let of = pool.get_message_by_name("sayso.v1.EventBody").unwrap();
    let mut message = DynamicMessage::decode(of, body.encode_to_vec().as_slice()).unwrap();
    mutate_message(&mut message, dice, 0);
    *body = EventBody::decode(message.encode_to_vec().as_slice()).unwrap();
}

fn mutate_message(message: &mut DynamicMessage, dice: &mut Dice, depth: usize) {
    let in_body = depth == 0;
    let event = |field: &FieldDescriptor| !in_body || field.containing_oneof().is_some();
    let fields: Vec<FieldDescriptor> = message.descriptor().fields().filter(event).collect();
    let set: Vec<&FieldDescriptor> = fields.iter().filter(|field| message.has_field(field)).collect();
    let field = match (set.is_empty(), in_body || dice.roll(4) > 0) {
        (false, true) => (*dice.of(&set.iter().collect::<Vec<_>>())).clone(),
        _ if fields.is_empty() => return,
        _ => fields[dice.roll(fields.len())].clone(),
    };
    if field.is_map() {
        return;
    }
    let mut value = message.get_field(&field).into_owned();
    match &mut value {
        Value::List(all) => match (all.is_empty(), dice.roll(3)) {
            (true, _) => all.push(any_value(&field.kind(), dice)),
            (false, 0) => drop(all.remove(dice.roll(all.len()))),
            (false, 1) => all.push(any_value(&field.kind(), dice)),
            (false, _) => {
                let at = dice.roll(all.len());
                mutate_value(&mut all[at], &field.kind(), dice, depth);
            }
        },
        one => mutate_value(one, &field.kind(), dice, depth),
    }
    message.set_field(&field, value);
}

fn mutate_value(value: &mut Value, kind: &Kind, dice: &mut Dice, depth: usize) {
    match value {
        Value::Message(inner) => mutate_message(inner, dice, depth + 1),
        other => *other = any_value(kind, dice),
    }
}

fn any_value(kind: &Kind, dice: &mut Dice) -> Value {
    match kind {
        Kind::Bool => Value::Bool(dice.one_in(2)),
        Kind::Int32 => Value::I32(dice.of(&[0, 1, 2, -8])),
        Kind::Uint32 => Value::U32(dice.of(&[0, 1, 2, 3, 400])),
        Kind::Uint64 => {
            Value::U64(dice.of(&[0, 1, 5, 12, START_MS, START_MS + HOUR_MS, START_MS + 90 * HOUR_MS]))
        }
        Kind::Double => Value::F64(dice.of(&[0.0, 0.5, 1.0])),
        Kind::String => {
            let all = [
                &PURPOSES[..],
                &CATEGORIES[..],
                &RECIPIENTS[..],
                &INTERACTIONS[..],
                &KEYS[..],
                &["notice", "1", "2", "2007-02"],
            ];
            Value::String(dice.of(&all.concat()).into())
        }
        Kind::Bytes => Value::Bytes(super::log::event_id(dice.roll(40) as u64).to_vec().into()),
        Kind::Enum(names) => {
            let at = dice.roll(names.values().len());
            Value::EnumNumber(names.values().nth(at).unwrap().number())
        }
        Kind::Message(of) => Value::Message(DynamicMessage::new(of.clone())),
        other => panic!("unexpected field type {other:?}"),
    }
}
