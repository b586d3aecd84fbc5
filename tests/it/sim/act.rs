//! What somebody does, and what that makes of a person.

use super::model::Person;
use sayso::domain::erasure::Scope;
use sayso::domain::event::SignalKind;
use sayso::store::faulty::Power;

pub const CATEGORIES: [&str; 3] = ["interest", "communication-style", "language"];
/// Of each, two.
const KEYS: u64 = 6;
const SIGNALS: [SignalKind; 3] = [SignalKind::Restriction, SignalKind::Objection, SignalKind::Pause];
const PEOPLE: u64 = 3;

/// A fact: key, category, value.
pub type Fact = (String, &'static str, String);

/// One thing that somebody does.
#[derive(Clone, Debug)]
pub enum Act {
    Record(u8, Vec<Fact>),
    Consent(u8, &'static str, bool),
    /// And whether it is taken back.
    Signal(u8, SignalKind, bool),
    Grant(u8),
    Erase(u8, Scope),
    Export,
    /// What was said since the backup is recorded again, as far as anybody knows.
    Confirm,
}

impl Act {
    /// Of `person`, or about nobody.
    fn draw_of(dice: &Power, person: u8, number: usize) -> Self {
        let category = CATEGORIES[dice.below(3) as usize];
        match dice.below(21) {
            0..=6 => {
                let one = |at: u64| {
                    let which = dice.below(KEYS) as usize;
                    (format!("key-{which}"), CATEGORIES[which % 3], format!("\"{number}-{at}\""))
                };
                Self::Record(person, (0..=dice.below(3)).map(one).collect())
            }
            7..=9 => Self::Consent(person, category, true),
            10 => Self::Consent(person, category, false),
            11..=12 => Self::Signal(person, SIGNALS[dice.below(3) as usize], dice.below(2) == 0),
            13..=16 => Self::Grant(person),
            17 => Self::Erase(person, Scope::All),
            18..=19 => {
                let part = match dice.below(3) {
                    0 => Scope::Profile,
                    1 => Scope::Category(category.into()),
                    _ => Scope::Key(format!("key-{}", dice.below(KEYS))),
                };
                Self::Erase(person, part)
            }
            _ => Self::Export,
        }
    }

    pub fn draw(dice: &Power, number: usize) -> Self {
        Self::draw_of(dice, dice.below(PEOPLE) as u8, number)
    }

    /// Several at once: of all the same people, at most one of them an erasure, none an export.
    pub fn draw_together(dice: &Power, number: usize) -> Vec<Self> {
        let (mut acts, mut erases) = (Vec::new(), false);
        for at in 0..2 + dice.below(4) as usize {
            let act = Self::draw(dice, number * 10 + at);
            let is_erasure = matches!(act, Self::Erase(..));
            if matches!(act, Self::Export) || is_erasure && erases {
                continue;
            }
            erases |= is_erasure;
            acts.push(act);
        }
        acts
    }

    /// What two people say and are asked first, so that there is something to grant, to take back and to
    /// erase.
    pub fn beginnings() -> [Vec<Self>; 3] {
        let fact = |at: usize| (format!("key-{at}"), CATEGORIES[at % 3], format!("\"{at}\""));
        let facts = || (0..4).map(fact).collect();
        [
            vec![Self::Record(0, facts()), Self::Record(1, facts())],
            vec![Self::Consent(0, CATEGORIES[0], true), Self::Consent(1, CATEGORIES[1], true)],
            vec![Self::Grant(0), Self::Grant(1)],
        ]
    }

    pub fn person(&self) -> Option<u8> {
        match self {
            Self::Record(person, _)
            | Self::Consent(person, ..)
            | Self::Signal(person, ..)
            | Self::Grant(person)
            | Self::Erase(person, _) => Some(*person),
            Self::Export | Self::Confirm => None,
        }
    }

    /// What it makes of a person; a grant that it issues apart, which has no id before it is there.
    pub fn on(&self, before: &Person) -> Person {
        let mut after = before.clone();
        match self {
            Self::Record(_, facts) => {
                after.known = true;
                for (key, category, value) in facts {
                    after.attributes.insert(key.clone(), (category, value.clone()));
                }
            }
            Self::Consent(_, category, yes) => {
                after.known = true;
                after.decisions.push((category, *yes));
                if !yes {
                    after.fall(|grant| grant.cites.values().any(|cited| cited == category));
                }
            }
            Self::Signal(_, kind, is_lifted) => {
                after.known = true;
                if *is_lifted {
                    after.signals.remove(kind);
                } else {
                    after.signals.insert(*kind);
                    after.fall(|grant| !grant.cites.is_empty());
                }
            }
            Self::Erase(_, Scope::All) => after = Person::default(),
            Self::Erase(_, scope) => {
                after.attributes.retain(|key, (category, _)| !takes(scope, key, category));
                after.grants.retain(|_, grant| {
                    let cites = grant.cites.iter().any(|(key, category)| takes(scope, key, category));
                    // Also what was withheld says that something was held.
                    let says =
                        matches!(scope, Scope::Category(named) if grant.withheld.contains(named.as_str()));
                    !(cites || says || *scope == Scope::Profile)
                });
            }
            Self::Grant(_) | Self::Export | Self::Confirm => {}
        }
        after
    }
}

/// Whether an erasure of a part takes this fact.
pub fn takes(scope: &Scope, key: &str, category: &str) -> bool {
    match scope {
        Scope::All | Scope::Profile => true,
        Scope::Key(named) => named == key,
        Scope::Category(named) => named == category,
        Scope::Versions(_) => unreachable!("nothing ends by its time here"),
    }
}
