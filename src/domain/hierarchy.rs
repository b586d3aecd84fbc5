//! A hierarchy of defined words: purposes or categories. For each word, it remembers since when the word
//! has had its present meaning, and since when each of its ancestors has been above it. A consent covers
//! what the words meant when it was given.

use std::collections::{BTreeMap, BTreeSet};

/// Maximum depth of a hierarchy. Deeper entries cannot be published; the verifier cuts ancestries off at the
/// same depth.
pub const DEPTH_MAX: usize = 32;

/// The moment from which a definition counts. The default is the beginning of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// The ledger's time, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The position of the definition in the log.
    pub position: u64,
}

impl Since {
    /// Whether something that was said at `said_ms` and recorded at `position` came later.
    #[must_use]
    pub fn is_before(self, said_ms: u64, position: u64) -> bool {
        self.at_ms <= said_ms && self.position <= position
    }
}

/// What a hierarchy needs to know about a word.
pub trait Word {
    /// The id of the word.
    fn id(&self) -> &str;
    /// The id of the word above it; empty if there is none.
    fn parent(&self) -> &str;
    /// Whether this definition leaves the meaning of the word as it was.
    fn means_the_same(&self, before: &Self) -> bool;
}

/// A word or one of its ancestors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor<'a> {
    /// Its id.
    pub id: &'a str,
    /// Since when it has been an ancestor of the word. For the word itself, since when it has had its
    /// meaning.
    pub since: Since,
    /// When the ancestor was first defined, milliseconds since the Unix epoch.
    pub defined_ms: u64,
}

#[derive(Clone, Debug)]
struct Node<T> {
    word: T,
    meaning: Since,
    /// When the word was first defined, milliseconds since the Unix epoch.
    defined_ms: u64,
    /// The ancestors, nearest first, without the word itself.
    ancestors: Vec<(String, Since)>,
}

/// The words in force, by id.
#[derive(Clone, Debug)]
pub struct Hierarchy<T> {
    nodes: BTreeMap<String, Node<T>>,
    /// The ids below each id.
    children: BTreeMap<String, BTreeSet<String>>,
    /// The latest time and the latest position of a definition.
    newest: Since,
}

impl<T> Default for Hierarchy<T> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), children: BTreeMap::new(), newest: Since::default() }
    }
}

impl<T: Word> Hierarchy<T> {
    /// Adds a word or replaces its definition.
    pub fn define(&mut self, word: T, since: Since) {
        let id = word.id().to_owned();
        self.newest = Since {
            at_ms: self.newest.at_ms.max(since.at_ms),
            position: self.newest.position.max(since.position),
        };
        self.children.entry(word.parent().to_owned()).or_default().insert(id.clone());
        let node = match self.nodes.remove(&id) {
            Some(old) => {
                if old.word.parent() != word.parent()
                    && let Some(siblings) = self.children.get_mut(old.word.parent())
                {
                    siblings.remove(&id);
                }
                let meaning = if word.means_the_same(&old.word) { old.meaning } else { since };
                Node { word, meaning, ..old }
            }
            None => Node { word, meaning: since, defined_ms: since.at_ms, ancestors: Vec::new() },
        };
        self.nodes.insert(id.clone(), node);
        for below in self.subtree(&id) {
            self.refresh(&below, since);
        }
    }

    /// Notes that a word has had its meaning only since this moment.
    pub fn change_meaning(&mut self, id: &str, since: Since) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.meaning = since;
        }
    }

    /// A defined word.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&T> {
        self.nodes.get(id).map(|node| &node.word)
    }

    /// All words, by id.
    pub fn words(&self) -> impl Iterator<Item = &T> {
        self.nodes.values().map(|node| &node.word)
    }

    /// The ids of all words.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    /// A word and its ancestors, nearest first. An undefined word has no ancestors.
    #[must_use]
    pub fn ancestry<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let above = self.nodes.get(id).into_iter().flat_map(|node| &node.ancestors);
        std::iter::once(id).chain(above.map(|(above, _)| above.as_str())).collect()
    }

    /// As [`Hierarchy::ancestry`], with the moment from which each word counts.
    #[must_use]
    pub fn ancestors<'a>(&'a self, id: &'a str) -> Vec<Ancestor<'a>> {
        let node = self.nodes.get(id);
        let meaning = node.map(|node| node.meaning).unwrap_or_default();
        let own = Ancestor { id, since: meaning, defined_ms: self.defined_ms(id) };
        let above = node.into_iter().flat_map(|node| &node.ancestors);
        let above = above.map(|(above, since)| Ancestor {
            id: above,
            since: *since,
            defined_ms: self.defined_ms(above),
        });
        std::iter::once(own).chain(above).collect()
    }

    /// The word and each word below it, as pairs: the word `id` as an ancestor of the other word, and that
    /// word itself. In the first pair, both are the word `id`.
    #[must_use]
    pub fn pairs_below<'a>(&'a self, id: &str) -> Vec<(Ancestor<'a>, Ancestor<'a>)> {
        let pair = |below: &String| {
            let (below, _) = self.nodes.get_key_value(below)?;
            let ancestors = self.ancestors(below);
            let lowest = *ancestors.first()?;
            Some((ancestors.into_iter().find(|above| above.id == id)?, lowest))
        };
        self.subtree(id).iter().filter_map(pair).collect()
    }

    /// The latest time and the latest position of a definition.
    #[must_use]
    pub fn newest(&self) -> Since {
        self.newest
    }

    /// Whether a word is above another one.
    #[must_use]
    pub fn has_below(&self, id: &str) -> bool {
        !id.is_empty() && self.children.get(id).is_some_and(|below| !below.is_empty())
    }

    /// A word and the words below it.
    #[must_use]
    pub fn subtree(&self, id: &str) -> Vec<String> {
        let (mut found, mut seen) = (vec![id.to_owned()], BTreeSet::from([id.to_owned()]));
        let mut next = 0;
        while let Some(above) = found.get(next).cloned() {
            next = next.saturating_add(1);
            let below = self.children.get(&above).into_iter().flatten();
            found.extend(below.filter(|below| seen.insert((*below).clone())).cloned());
        }
        found
    }

    /// Whether the hierarchy, after this word is added, would have no cycle and at most [`DEPTH_MAX`] levels.
    #[must_use]
    pub fn can_take(&self, word: &T) -> bool {
        let parent = |id: &str| {
            let parent = self.get(id).map(T::parent);
            if id == word.id() { Some(word.parent()) } else { parent }
        };
        let ends = |id: &str| {
            let mut next = parent(id).filter(|above| !above.is_empty());
            for _ in 1..DEPTH_MAX {
                let Some(above) = next else { return true };
                next = parent(above).filter(|above| !above.is_empty());
            }
            next.is_none()
        };
        ends(word.id()) && self.ids().all(|id| ends(id))
    }

    /// The first ancestor that a word would lose if this definition replaced its own.
    #[must_use]
    pub fn lost_ancestor(&self, word: &T) -> Option<&str> {
        let node = self.nodes.get(word.id())?;
        let kept = match word.parent() {
            "" => Vec::new(),
            parent => self.ancestry(parent),
        };
        node.ancestors.iter().map(|(above, _)| above.as_str()).find(|above| !kept.contains(above))
    }

    fn defined_ms(&self, id: &str) -> u64 {
        self.nodes.get(id).map(|node| node.defined_ms).unwrap_or_default()
    }

    fn refresh(&mut self, id: &str, since: Since) {
        let above: Vec<String> = self.walk(id).into_iter().map(str::to_owned).collect();
        let Some(node) = self.nodes.get_mut(id) else { return };
        let before = std::mem::take(&mut node.ancestors);
        let since_of = |id: &String| {
            let known = before.iter().find(|(known, _)| known == id);
            known.map_or(since, |(_, since)| *since)
        };
        node.ancestors = above.into_iter().map(|id| (id.clone(), since_of(&id))).collect();
    }

    /// The ancestors of a word, by its definition and theirs.
    fn walk<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let mut ancestry = vec![id];
        let mut next = self.get(id).map(T::parent);
        while let Some(above) = next.filter(|above| !above.is_empty() && ancestry.len() < DEPTH_MAX) {
            if ancestry.contains(&above) {
                break;
            }
            ancestry.push(above);
            next = self.get(above).map(T::parent);
        }
        ancestry.split_off(1)
    }
}
