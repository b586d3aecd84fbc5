//! What no definition of a word (a purpose or category) may do: remove a word from below one of its
//! ancestors, make a special category ordinary, or put a word below itself or too deep. Otherwise a refusal,
//! a signal or the protection of a special category would no longer cover the word.

use super::definitions::DEPTH_MAX;
use super::fault::Fault;
use crate::event::event_body::Event;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The words as they are by now, and the definitions that are not in force yet.
#[derive(Default)]
pub(super) struct WordRules {
    /// By the time from which they count, and their position.
    pending: BTreeMap<(u64, u64), Definition>,
    purposes: Words,
    categories: Words,
    /// Whether a definition was found at fault.
    is_faulty: bool,
}

struct Definition {
    is_purpose: bool,
    id: String,
    word: Word,
}

/// A definition in force.
struct Word {
    parent: String,
    /// Whether a category is marked as special.
    special: bool,
}

/// The words in force, by id.
#[derive(Default)]
struct Words {
    by_id: BTreeMap<String, Word>,
    children: BTreeMap<String, BTreeSet<String>>,
}

impl WordRules {
    /// Applies the next system event, after the definitions that are in force by `now_ms`. `from_ms` is its
    /// moment; none at the beginning of the log, whose words have always had their meaning. Returns
    /// the faults of the definitions that came into force, each with its position.
    pub fn apply(
        &mut self,
        position: u64,
        now_ms: u64,
        from_ms: Option<u64>,
        event: &Event,
    ) -> Vec<(u64, Fault)> {
        let (is_purpose, id, parent, special, effective_from_ms) = match event {
            Event::PurposeDefined(word) => (true, &word.id, &word.parent, false, word.effective_from_ms),
            Event::CategoryDefined(word) => {
                (false, &word.id, &word.parent, word.special, word.effective_from_ms)
            }
            _ => return Vec::new(),
        };
        let word = Word { parent: parent.clone(), special };
        let from_ms = from_ms.map_or(0, |moment_ms| effective_from_ms.max(moment_ms));
        self.pending.insert((from_ms, position), Definition { is_purpose, id: id.clone(), word });
        self.advance(now_ms)
    }

    /// Brings all definitions into force, and returns their faults.
    pub fn finish(mut self) -> Vec<(u64, Fault)> {
        self.advance(u64::MAX)
    }

    fn advance(&mut self, now_ms: u64) -> Vec<(u64, Fault)> {
        let mut faults = Vec::new();
        while let Some(next) = self.pending.first_entry().filter(|next| next.key().0 <= now_ms) {
            let ((_, position), definition) = next.remove_entry();
            let words = if definition.is_purpose { &mut self.purposes } else { &mut self.categories };
            // Depths below are looked at only while no definition was at fault. Until then, every word keeps
            // the words above it, so each word moves deeper a limited number of times.
            if let Some(fault) = words.define(definition, !self.is_faulty) {
                self.is_faulty = true;
                faults.push((position, fault));
            }
        }
        faults
    }
}

impl Words {
    /// Replaces a definition, and returns what is wrong with the new one.
    fn define(&mut self, definition: Definition, with_depth: bool) -> Option<Fault> {
        let Definition { id, word, .. } = definition;
        let before: Vec<String> = self.ancestry(&id).into_iter().map(str::to_owned).collect();
        let was_special = self.is_special(&id);
        if let Some(replaced) = self.by_id.get(&id) {
            self.children.entry(replaced.parent.clone()).or_default().remove(&id);
        }
        if !word.parent.is_empty() {
            self.children.entry(word.parent.clone()).or_default().insert(id.clone());
        }
        self.by_id.insert(id.clone(), word);
        let after = self.ancestry(&id);
        if was_special && !self.is_special(&id) {
            return Some(Fault::SpecialLost);
        }
        if before.iter().any(|above| !after.contains(&above.as_str())) {
            return Some(Fault::AncestorLost);
        }
        let depth = after.len();
        let is_too_deep =
            depth > DEPTH_MAX || with_depth && depth > before.len() && !self.fits_below(&id, depth);
        is_too_deep.then_some(Fault::TooDeep)
    }

    /// A word and the words above it, one more than the limit at most.
    fn ancestry<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let parent = |id: &&'a str| Some(self.by_id.get(*id)?.parent.as_str()).filter(|id| !id.is_empty());
        std::iter::successors(Some(id), parent).take(DEPTH_MAX + 1).collect()
    }

    fn is_special(&self, id: &str) -> bool {
        self.ancestry(id).iter().any(|id| self.by_id.get(*id).is_some_and(|word| word.special))
    }

    /// Whether no word below one of this depth is deeper than the limit. `false` if a word is below itself.
    fn fits_below(&self, id: &str, depth: usize) -> bool {
        let mut open = VecDeque::from([(id, depth)]);
        while let Some((id, depth)) = open.pop_front() {
            if depth > DEPTH_MAX {
                return false;
            }
            let below = self.children.get(id).into_iter().flatten();
            open.extend(below.map(|child| (child.as_str(), depth + 1)));
        }
        true
    }
}
