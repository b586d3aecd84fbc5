//! The actions that make up a history (see the parent module), and the effect of each action on a data
//! subject in the model.

use super::model::Subject;
use sayso::domain::erasure::Scope;
use sayso::domain::event::SignalKind;
use sayso::store::faulty::Power;

pub const CATEGORIES: [&str; 3] = ["interest", "communication-style", "language"];
/// Two keys of each category.
const KEYS: u64 = 6;
const SIGNALS: [SignalKind; 3] = [SignalKind::Restriction, SignalKind::Objection, SignalKind::Pause];
const SUBJECTS: u64 = 3;

/// An attribute to record: key, category, value.
pub type NewAttribute = (String, &'static str, String);

/// One action. The first field is the number of the data subject.
#[derive(Clone, Debug)]
pub enum Action {
    Record(u8, Vec<NewAttribute>),
    /// A decision about a category: whether consent is given.
    Consent(u8, &'static str, bool),
    /// A signal, and whether it is lifted.
    Signal(u8, SignalKind, bool),
    Grant(u8),
    Erase(u8, Scope),
    Export,
    /// Confirms a restore, so that use is allowed again.
    Confirm,
}

impl Action {
    /// A random action of `subject`, or an export.
    fn draw_of(dice: &Power, subject: u8, number: usize) -> Self {
        let category = CATEGORIES[dice.below(3) as usize];
        match dice.below(21) {
            0..=6 => {
                let one = |at: u64| {
                    let which = dice.below(KEYS) as usize;
                    (format!("key-{which}"), CATEGORIES[which % 3], format!("\"{number}-{at}\""))
                };
                Self::Record(subject, (0..=dice.below(3)).map(one).collect())
            }
            7..=9 => Self::Consent(subject, category, true),
            10 => Self::Consent(subject, category, false),
            11..=12 => Self::Signal(subject, SIGNALS[dice.below(3) as usize], dice.below(2) == 0),
            13..=16 => Self::Grant(subject),
            17 => Self::Erase(subject, Scope::All),
            18..=19 => {
                let part = match dice.below(3) {
                    0 => Scope::Profile,
                    1 => Scope::Category(category.into()),
                    _ => Scope::Key(format!("key-{}", dice.below(KEYS))),
                };
                Self::Erase(subject, part)
            }
            _ => Self::Export,
        }
    }

    pub fn draw(dice: &Power, number: usize) -> Self {
        Self::draw_of(dice, dice.below(SUBJECTS) as u8, number)
    }

    /// Several random actions to run at once: at most one erasure, no export.
    pub fn draw_together(dice: &Power, number: usize) -> Vec<Self> {
        let (mut actions, mut erases) = (Vec::new(), false);
        for at in 0..2 + dice.below(4) as usize {
            let action = Self::draw(dice, number * 10 + at);
            let is_erasure = matches!(action, Self::Erase(..));
            if matches!(action, Self::Export) || is_erasure && erases {
                continue;
            }
            erases |= is_erasure;
            actions.push(action);
        }
        actions
    }

    /// The first actions of a history: two data subjects get attributes, consent and grants, so that later
    /// actions have something to grant, withdraw and erase.
    pub fn initial() -> [Vec<Self>; 3] {
        let attribute = |at: usize| (format!("key-{at}"), CATEGORIES[at % 3], format!("\"{at}\""));
        let attributes = || (0..4).map(attribute).collect();
        [
            vec![Self::Record(0, attributes()), Self::Record(1, attributes())],
            vec![Self::Consent(0, CATEGORIES[0], true), Self::Consent(1, CATEGORIES[1], true)],
            vec![Self::Grant(0), Self::Grant(1)],
        ]
    }

    pub fn subject(&self) -> Option<u8> {
        match self {
            Self::Record(subject, _)
            | Self::Consent(subject, ..)
            | Self::Signal(subject, ..)
            | Self::Grant(subject)
            | Self::Erase(subject, _) => Some(*subject),
            Self::Export | Self::Confirm => None,
        }
    }

    /// The data subject after this action. A new grant is not added, because its id is known only after the
    /// ledger issued it.
    pub fn apply_to(&self, before: &Subject) -> Subject {
        let mut after = before.clone();
        match self {
            Self::Record(_, attributes) => {
                after.exists = true;
                for (key, category, value) in attributes {
                    let before = after.attributes.insert(key.clone(), (category, value.clone()));
                    if before.is_some_and(|before| before != (*category, value.clone())) {
                        after.revoke(|grant| grant.cites.contains_key(key));
                    }
                }
            }
            Self::Consent(_, category, is_given) => {
                after.exists = true;
                after.decisions.push((category, *is_given));
                if !is_given {
                    after.revoke(|grant| grant.cites.values().any(|cited| cited == category));
                }
            }
            Self::Signal(_, kind, is_lifted) => {
                after.exists = true;
                if *is_lifted {
                    after.signals.remove(kind);
                } else {
                    after.signals.insert(*kind);
                    after.revoke(|grant| !grant.cites.is_empty());
                }
            }
            Self::Erase(_, Scope::All) => after = Subject::default(),
            Self::Erase(_, scope) => {
                after.attributes.retain(|key, (category, _)| !is_in_scope(scope, key, category));
                after.grants.retain(|_, grant| {
                    let cites = grant.cites.iter().any(|(key, category)| is_in_scope(scope, key, category));
                    // A grant that withholds a category also reveals that attributes of this category
                    // existed.
                    let withholds =
                        matches!(scope, Scope::Category(named) if grant.withheld.contains(named.as_str()));
                    !(cites || withholds || *scope == Scope::Profile)
                });
            }
            Self::Grant(_) | Self::Export | Self::Confirm => {}
        }
        after
    }
}

/// Whether a partial erasure of this scope erases the attribute.
pub fn is_in_scope(scope: &Scope, key: &str, category: &str) -> bool {
    match scope {
        Scope::All | Scope::Profile => true,
        Scope::Key(named) => named == key,
        Scope::Category(named) => named == category,
        Scope::Content(_) => unreachable!("no text is erased in the simulation"),
        Scope::Versions(_) => unreachable!("attributes do not expire in the simulation"),
    }
}
