//! The vocabulary: finds what purposes and categories meant at a moment.

use super::{Asked, Line, Log};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{CategoryDefined, GrantIssued, PurposeDefined, Role};
use std::collections::BTreeSet;

/// A definition of a purpose or category.
#[derive(Clone, Copy)]
pub struct Definition<'a> {
    pub event: &'a Event,
    pub position: u64,
    /// The time from which it counts.
    pub from: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Purpose,
    Category,
}

impl<'a> Definition<'a> {
    fn id(&self) -> &'a str {
        match self.event {
            Event::PurposeDefined(PurposeDefined { id, .. })
            | Event::CategoryDefined(CategoryDefined { id, .. }) => id,
            _ => "",
        }
    }

    fn parent(&self) -> &'a str {
        match self.event {
            Event::PurposeDefined(PurposeDefined { parent, .. })
            | Event::CategoryDefined(CategoryDefined { parent, .. }) => parent,
            _ => "",
        }
    }

    fn wording(&self) -> (&'a str, &'a str) {
        match self.event {
            Event::PurposeDefined(PurposeDefined { title, iri, .. })
            | Event::CategoryDefined(CategoryDefined { title, iri, .. }) => (title, iri),
            _ => ("", ""),
        }
    }

    /// Whether it states that the word keeps its meaning, which the beginning of a log and edition 2 allow.
    fn says_same(&self, log: Log<'_>) -> bool {
        if self.from > 0 && log.edition(self.position) < 2 {
            return false;
        }
        match self.event {
            Event::PurposeDefined(PurposeDefined { same_meaning, .. })
            | Event::CategoryDefined(CategoryDefined { same_meaning, .. }) => *same_meaning,
            _ => false,
        }
    }

    fn own_rung(&self) -> i32 {
        match self.event {
            Event::PurposeDefined(defined) => defined.rung,
            _ => 0,
        }
    }

    fn is_special(&self) -> bool {
        matches!(self.event, Event::CategoryDefined(defined) if defined.special)
    }
}

/// When a definition counts from.
fn from(log: Log<'_>, line: &Line, effective_from: u64) -> u64 {
    let ledger_alone = |line: &Line| line.is_system() && line.body.is_some() && line.role() == Role::Ledger;
    if ledger_alone(line) && log.before(line.position).all(ledger_alone) {
        return 0;
    }
    effective_from.max(log.moment(line))
}

/// All definitions of one kind before a grant, in the order in which they count.
fn definitions<'a>(asked: Asked<'a>, kind: Kind) -> Vec<Definition<'a>> {
    let mut all: Vec<Definition<'a>> = Vec::new();
    for (line, event) in asked.log.system(asked.position) {
        let effective_from = match event {
            Event::PurposeDefined(defined) if kind == Kind::Purpose => defined.effective_from_ms,
            Event::CategoryDefined(defined) if kind == Kind::Category => defined.effective_from_ms,
            _ => continue,
        };
        all.push(Definition { event, position: line.position, from: from(asked.log, line, effective_from) });
    }
    all.sort_by_key(|definition| (definition.from, definition.position));
    all
}

/// A moment in the log: a time, and the position until which entries are known.
#[derive(Clone, Copy)]
pub struct Moment {
    pub time: u64,
    pub position: u64,
}

/// The definition of a name in force at a moment.
fn in_force<'a>(asked: Asked<'a>, kind: Kind, id: &str, moment: Moment) -> Option<Definition<'a>> {
    let counts = |one: &Definition<'_>| one.from <= moment.time && one.position < moment.position;
    definitions(asked, kind).into_iter().rfind(|one| one.id() == id && counts(one))
}

/// A name with its ancestors at a moment, at most 32 names.
pub fn upward(asked: Asked<'_>, kind: Kind, id: &str, moment: Moment) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut next = id.to_owned();
    while !next.is_empty() && names.len() < 32 {
        let parent = in_force(asked, kind, &next, moment).map_or("", |one| one.parent()).to_owned();
        names.push(next);
        next = parent;
    }
    names
}

pub fn now(asked: Asked<'_>) -> Moment {
    Moment { time: asked.words_at, position: asked.position }
}

/// The definition of a purpose at the moment of the grant.
pub fn purpose<'a>(asked: Asked<'a>, id: &str) -> Option<Definition<'a>> {
    in_force(asked, Kind::Purpose, id, now(asked))
}

pub fn category<'a>(asked: Asked<'a>, id: &str) -> Option<Definition<'a>> {
    in_force(asked, Kind::Category, id, now(asked))
}

/// The names of a category and its ancestors that are special, each by its own definition or an ancestor's.
pub fn special(asked: Asked<'_>, id: &str) -> Vec<String> {
    let is_special = |name: &String| {
        let ancestors = upward(asked, Kind::Category, name, now(asked));
        ancestors.iter().any(|one| category(asked, one).is_some_and(|one| one.is_special()))
    };
    upward(asked, Kind::Category, id, now(asked)).into_iter().filter(is_special).collect()
}

/// Whether `used` was `named` or below it at the moment of a permission, and has no new meaning since.
pub fn meant(asked: Asked<'_>, kind: Kind, named: &str, used: &str, given: Moment, sealed: u64) -> bool {
    let defined = in_force(asked, kind, named, given).is_some();
    let given = if defined { given } else { Moment { time: sealed, ..given } };
    if !upward(asked, kind, used, given).iter().any(|name| name == named) {
        return false;
    }
    !has_new_meaning(asked, kind, used, given)
}

fn has_new_meaning(asked: Asked<'_>, kind: Kind, used: &str, given: Moment) -> bool {
    let all: Vec<Definition<'_>> =
        definitions(asked, kind).into_iter().filter(|one| one.from <= asked.words_at).collect();
    let is_later = |one: &Definition<'_>| one.from > given.time || one.position >= given.position;
    let mut before: Option<Definition<'_>> = None;
    for one in all.iter().filter(|one| one.id() == used) {
        let new = before.is_none_or(|before| before.wording() != one.wording() && !one.says_same(asked.log));
        if new && is_later(one) {
            return true;
        }
        before = Some(*one);
    }
    // A definition of the purpose or of an ancestor may lift it to a higher rung.
    kind == Kind::Purpose
        && all.iter().enumerate().filter(|(_, one)| is_later(one)).any(|(at, _)| {
            let (without, with) = (all.get(..at), all.get(..=at));
            rung_by(with.unwrap_or_default(), used) > rung_by(without.unwrap_or_default(), used)
        })
}

/// The rung of a purpose by these definitions.
fn rung_by(all: &[Definition<'_>], used: &str) -> i32 {
    let (mut next, mut highest) = (used, 0);
    for _ in 0..32 {
        let Some(one) = all.iter().rfind(|one| one.id() == next) else { break };
        highest = highest.max(one.own_rung());
        next = one.parent();
    }
    highest
}

/// The positions of definitions that take a word away from an ancestor, make a special category ordinary, or
/// put a word below itself or too deep.
pub fn narrowing(log: Log<'_>) -> BTreeSet<u64> {
    let grant = GrantIssued::default();
    let now = u64::MAX;
    let asked = Asked { log, grant: &grant, handle: [0; 16], position: now, now, words_at: now };
    let mut wrong = BTreeSet::new();
    for kind in [Kind::Purpose, Kind::Category] {
        let all = definitions(asked, kind);
        for (at, one) in all.iter().enumerate() {
            let (before, after) = (all.get(..at).unwrap_or_default(), all.get(..=at).unwrap_or_default());
            let (names, kept) = (names_by(before, one.id()), names_by(after, one.id()));
            let lost = names.iter().any(|name| !kept.contains(name));
            let ordinary = is_special_by(before, one.id()) && !is_special_by(after, one.id());
            if lost || ordinary || kept.len() > 32 {
                wrong.insert(one.position);
            }
        }
    }
    wrong
}

/// A name with its ancestors by these definitions, at most 33 names.
fn names_by<'a>(all: &[Definition<'a>], id: &'a str) -> Vec<&'a str> {
    let mut names = vec![id];
    while names.len() < 33 {
        let Some(one) = all.iter().rfind(|one| Some(&one.id()) == names.last()) else { break };
        if one.parent().is_empty() {
            break;
        }
        names.push(one.parent());
    }
    names
}

fn is_special_by(all: &[Definition<'_>], id: &str) -> bool {
    let is_marked =
        |name: &&str| all.iter().rfind(|one| one.id() == *name).is_some_and(Definition::is_special);
    names_by(all, id).iter().any(is_marked)
}
