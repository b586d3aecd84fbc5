//! The result of a preview of bounds: how many grants and uses the bounds would change, and a few data
//! subjects (by handle) as examples.

use crate::domain::ids::Handle;
use std::collections::BTreeMap;

const LINES_MAX: usize = 1_000;
/// The most data subjects whose grants would be revoked that are named as examples.
pub(super) const EXAMPLES_MAX: usize = 10;
/// The most data subjects that a line names as examples.
pub(super) const LINE_EXAMPLES_MAX: usize = 3;

/// What the previewed bounds would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Open grants.
    pub grants_open: u64,
    /// How many of the open grants would be revoked.
    pub grants_revoked: u64,
    /// Subjects with a grant that would be revoked.
    pub subjects_revoked: u64,
    /// Subjects with a use that would be decided differently.
    pub subjects_changed: u64,
    /// The first ten subjects with a grant that would be revoked.
    pub examples: Vec<Handle>,
    /// Changes by purpose, recipient, category and policy; at most 1,000 lines.
    pub lines: BTreeMap<PreviewLineKey, PreviewLine>,
    /// Attributes, counted once per subject, whose lines are omitted because there are 1,000 lines already.
    pub omitted: u64,
}

/// What a line of a preview is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PreviewLineKey {
    /// The purpose of the use.
    pub purpose: String,
    /// The recipient; empty means any recipient.
    pub recipient: String,
    /// The category of the attributes.
    pub category: String,
    /// The policy that would refuse the use, or refuses it now.
    pub policy: String,
}

/// A line of a preview.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviewLine {
    /// What is allowed now and would be refused.
    pub refused: PreviewCount,
    /// What is refused now and would be allowed.
    pub allowed: PreviewCount,
    /// The first three subjects.
    pub examples: Vec<Handle>,
}

/// How many subjects a change affects, and how many of their attributes in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreviewCount {
    /// Data subjects.
    pub subjects: u64,
    /// Attributes of all of them.
    pub attributes: u64,
}

impl Preview {
    /// Adds what another thread found among other subjects. Keeps only the examples with the smallest
    /// handles.
    pub(super) fn merge(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.grants_open, other.grants_open),
            (&mut self.grants_revoked, other.grants_revoked),
            (&mut self.subjects_revoked, other.subjects_revoked),
            (&mut self.subjects_changed, other.subjects_changed),
            (&mut self.omitted, other.omitted),
        ] {
            *sum = sum.saturating_add(more);
        }
        first_of(&mut self.examples, other.examples, EXAMPLES_MAX);
        for (key, more) in other.lines {
            let Some(line) = self.line(key) else {
                self.omitted = self.omitted.saturating_add(more.attributes());
                continue;
            };
            line.add(more.refused, more.allowed);
            first_of(&mut line.examples, more.examples, LINE_EXAMPLES_MAX);
        }
    }

    /// The line with this key; none if it is new and there are `LINES_MAX` lines.
    pub(super) fn line(&mut self, key: PreviewLineKey) -> Option<&mut PreviewLine> {
        if self.lines.len() >= LINES_MAX && !self.lines.contains_key(&key) {
            return None;
        }
        Some(self.lines.entry(key).or_default())
    }
}

impl PreviewLine {
    pub(super) fn add(&mut self, refused: PreviewCount, allowed: PreviewCount) {
        self.refused.add(refused);
        self.allowed.add(allowed);
    }

    pub(super) fn attributes(&self) -> u64 {
        self.refused.attributes.saturating_add(self.allowed.attributes)
    }
}

impl PreviewCount {
    /// The count of one subject.
    pub(super) fn of_one(attributes: u64) -> Self {
        Self { subjects: u64::from(attributes > 0), attributes }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.subjects = self.subjects.saturating_add(more.subjects);
        self.attributes = self.attributes.saturating_add(more.attributes);
    }
}

fn first_of(handles: &mut Vec<Handle>, more: Vec<Handle>, count: usize) {
    handles.extend(more);
    handles.sort_unstable();
    handles.truncate(count);
}
