//! A second verifier, for tests only. It was written from `docs/format.md`. It shares no code with the
//! real one, except the types of the events and their decoding. It is simple and slow: for each grant, it
//! reads all earlier entries again.
#![allow(dead_code, reason = "tests; not every test uses every function")]

mod attributes;
mod consent;
mod parties;
mod rules;
mod standing;
mod subject_choices;
mod unrevoked;
mod uses;
mod withheld;
mod words;

pub use parties::repeated_ids;

use sayso_proof::event::event_body::Event;
use sayso_proof::event::{EventBody, GrantIssued, Ranking, Role};
use std::collections::BTreeSet;

pub type Handle = [u8; 16];

/// An entry that is not erased. The body is none if it is withheld.
#[derive(Clone, Debug)]
pub struct Line {
    pub position: u64,
    pub handle: Handle,
    pub id: [u8; 16],
    pub version: u64,
    pub sealed_at_ms: u64,
    pub body: Option<EventBody>,
}

impl Line {
    pub fn event(&self) -> Option<&Event> {
        self.body.as_ref()?.event.as_ref()
    }

    pub fn about_ms(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.about_ms)
    }

    pub fn role(&self) -> Role {
        self.body
            .as_ref()
            .and_then(|body| body.actor.as_ref())
            .map_or(Role::Unspecified, |actor| actor.role())
    }

    pub fn is_system(&self) -> bool {
        self.handle == [0; 16]
    }
}

/// A log, and what it knew before one of its positions.
#[derive(Clone, Copy)]
pub struct Log<'a> {
    /// All entries that are not erased, in order of position.
    pub lines: &'a [Line],
}

/// A grant, and what came before it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub log: Log<'a>,
    pub grant: &'a GrantIssued,
    pub handle: Handle,
    pub position: u64,
    /// The moment of the grant.
    pub now: u64,
    /// The time as of which words and required notices count: the moment of the grant, or of its use.
    pub words_at: u64,
}

impl<'a> Log<'a> {
    /// The recorded time of a position.
    pub fn recorded(&self, position: u64) -> u64 {
        self.until(position).map(|line| line.sealed_at_ms).max().unwrap_or(0)
    }

    /// The moment of an entry.
    pub fn moment(&self, of: &Line) -> u64 {
        let own = self.until(of.position).filter(|line| line.handle == of.handle);
        own.map(|line| line.sealed_at_ms).max().unwrap_or(0)
    }

    /// The moment of a grant, of a report of its use or of an artifact.
    fn grant_moment(&self, of: &Line) -> u64 {
        self.moment(of).max(self.recorded(of.position).saturating_sub(500))
    }

    /// Whether an entry was sealed long before the recorded time of its position.
    fn is_dated_back(&self, line: &Line) -> bool {
        self.recorded(line.position).saturating_sub(line.sealed_at_ms) > 120_000
    }

    /// The entries up to a position and with it.
    fn until(&self, position: u64) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.position <= position)
    }

    /// The entries before a position.
    pub fn before(&self, position: u64) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.position < position)
    }

    /// The system events before a position.
    pub fn system(&self, position: u64) -> impl Iterator<Item = (&'a Line, &'a Event)> {
        self.before(position).filter(|line| line.is_system()).filter_map(|line| Some((line, line.event()?)))
    }

    /// A person's events before a position.
    pub fn of(&self, handle: Handle, position: u64) -> impl Iterator<Item = (&'a Line, &'a Event)> {
        self.before(position)
            .filter(move |line| line.handle == handle)
            .filter_map(|line| Some((line, line.event()?)))
    }

    /// The edition of the rules of decisions before a position.
    pub fn edition(&self, position: u64) -> u32 {
        let editions = self.system(position).map(|(_, event)| match event {
            Event::DecisionRulesAdopted(adopted) => adopted.edition,
            _ => 0,
        });
        editions.max().unwrap_or(0)
    }

    /// Whether some earlier entry of this person is erased or withheld.
    pub fn is_incomplete(&self, handle: Handle, position: u64) -> bool {
        let own: Vec<&Line> = self.until(position).filter(|line| line.handle == handle).collect();
        let withheld = own.iter().any(|line| line.position < position && line.body.is_none());
        withheld || own.iter().zip(0..).any(|(line, version)| line.version != version)
    }
}

impl<'a> Asked<'a> {
    pub fn own(&self) -> impl Iterator<Item = (&'a Line, &'a Event)> {
        self.log.of(self.handle, self.position)
    }

    pub fn edition(&self) -> u32 {
        self.log.edition(self.position)
    }
}

/// The positions of all entries that are wrong. Grants of people with missing events are left out.
pub fn wrong(lines: &[Line]) -> BTreeSet<u64> {
    let mut wrong = wrong_by_itself(lines);
    let log = Log { lines };
    wrong.extend(parties::wrong(log));
    let of_wrong = wrong_grants(lines);
    wrong.extend(uses::wrong(log).into_iter().filter(|at| !names_one_of(log, *at, &of_wrong)));
    let people: BTreeSet<Handle> = lines.iter().map(|line| line.handle).filter(|it| *it != [0; 16]).collect();
    for handle in people {
        let missing = unrevoked::wrong(log, handle);
        wrong.extend(missing.iter().filter(|(_, grant)| !of_wrong.contains(grant)).map(|(at, _)| *at));
    }
    wrong
}

/// The grants and artifacts of a person that must end after the last entry.
pub fn owed(lines: &[Line], handle: Handle) -> Vec<[u8; 16]> {
    unrevoked::owed(Log { lines }, handle)
}

/// The ids of the grants that should not have been issued. What is recorded about them later is not compared.
pub fn wrong_grants(lines: &[Line]) -> BTreeSet<[u8; 16]> {
    let wrong = wrong_by_itself(lines);
    let is_wrong_grant = |line: &&Line| {
        let is_grant = !line.is_system() && matches!(line.event(), Some(Event::GrantIssued(_)));
        is_grant && wrong.contains(&line.position)
    };
    lines.iter().filter(is_wrong_grant).map(|line| line.id).collect()
}

/// Whether the entry at a position reports about one of these grants.
fn names_one_of(log: Log<'_>, at: u64, grants: &BTreeSet<[u8; 16]>) -> bool {
    let line = log.lines.iter().find(|line| line.position == at);
    let named = line.and_then(Line::event).and_then(|event| match event {
        Event::GrantUsed(one) => Some(&one.grant),
        Event::GrantGivenAgain(one) => Some(&one.grant),
        Event::ArtifactRegistered(one) => Some(&one.grant),
        Event::GrantRevoked(one) => Some(&one.grant),
        _ => None,
    });
    named.is_some_and(|id| grants.iter().any(|grant| grant[..] == id[..]))
}

/// The positions of grants that should not have been issued, and of rules that are at fault.
fn wrong_by_itself(lines: &[Line]) -> BTreeSet<u64> {
    let log = Log { lines };
    let mut wrong = rules::unsigned(log);
    wrong.extend(words::narrowing(log));
    wrong.extend(lines.iter().filter(|line| log.is_dated_back(line)).map(|line| line.position));
    for line in lines {
        let Some(Event::GrantIssued(grant)) = line.event() else { continue };
        if line.is_system() || log.is_incomplete(line.handle, line.position) {
            continue;
        }
        let now = log.grant_moment(line);
        let asked = Asked { log, grant, handle: line.handle, position: line.position, now, words_at: now };
        if !is_right(asked) || !is_possible(line, grant) {
            wrong.insert(line.position);
        }
    }
    wrong
}

/// Whether a ledger can issue such a grant.
fn is_possible(line: &Line, grant: &GrantIssued) -> bool {
    let ids: BTreeSet<&Vec<u8>> = grant.allowed.iter().map(|one| &one.attribute).collect();
    !grant.recipient.is_empty()
        && grant.expires_at_ms > line.sealed_at_ms
        && grant.profile_version <= line.version
        && ids.len() == grant.allowed.len()
}

fn is_right(asked: Asked<'_>) -> bool {
    if asked.grant.bounds != rules::in_force(asked) || !withheld::is_right(asked) {
        return false;
    }
    if asked.grant.allowed.is_empty() {
        return true;
    }
    !rules::use_waits(asked)
        && words::purpose(asked, &asked.grant.purpose).is_some()
        && !subject_choices::signal_forbids(asked)
        && asked.grant.allowed.iter().all(|granted| attributes::may_be_granted(asked, granted))
}

/// Completes a grant: it cites the bounds in force, and allows one or two attributes on a basis that holds,
/// if there is one. One grant of five is made without care. `roll` returns a number below its argument.
pub fn complete(
    lines: &[Line],
    grant: &mut GrantIssued,
    handle: Handle,
    position: u64,
    now: u64,
    roll: &mut dyn FnMut(usize) -> usize,
) {
    let log = Log { lines };
    let own = lines.iter().filter(|line| line.handle == handle).map(|line| line.sealed_at_ms);
    let now = now.max(own.max().unwrap_or(0)).max(log.recorded(position).saturating_sub(500));
    let bare = grant.clone();
    let asked = Asked { log, grant: &bare, handle, position, now, words_at: now };
    grant.bounds = rules::in_force(asked);
    let careless = roll(5) == 0;
    let mut candidates = attributes::candidates(asked);
    if careless {
        candidates = attributes::anything(asked, roll);
    }
    for _ in 0..=roll(2) {
        if !candidates.is_empty() {
            grant.allowed.push(candidates.remove(roll(candidates.len())));
        }
    }
    // A ranking may have chosen what the grant allows.
    if roll(5) == 0 {
        let chosen = grant.allowed.len() as u32 + u32::from(roll(12) == 0);
        let permitted = chosen + [0, 0, 1, 2][roll(4)];
        grant.ranking = Some(Ranking { chosen, permitted, ..Ranking::default() });
    }
    // Most grants state what they withhold.
    if roll(3) > 0 {
        let bare = grant.clone();
        grant.withheld = withheld::classes(Asked { grant: &bare, ..asked }, roll);
    }
}
