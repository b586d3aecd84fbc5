//! Judges open grants and artifacts of one data subject again, by the state at a later moment.

use super::allowed::Allowed;
use super::contents::Contents;
use super::fault::Fault;
use super::grant::{GrantCheck, GrantContext};
use super::issued_grants::IssuedGrant;
use super::missing::{Citing, NO_GRANT};
use super::subject::Subject;
use super::vocabulary::{Vocabulary, WordsInForce};
use crate::entry::EventId;
use crate::event::{GrantIssued, GrantedAttribute};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The edition of the rules of decisions from which on an attribute that is recorded again with another
/// content ends the grants that allow it.
pub(super) const REPLACEMENT_EDITION: u32 = 3;

/// Grants with the same recipient, purpose and attributes, by conversation.
pub(super) struct Case {
    pub recipient: String,
    pub purpose: String,
    pub allowed: Arc<Allowed>,
    /// When the last of the grants expires, milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// The open grants by conversation.
    pub by_interaction: BTreeMap<String, Vec<EventId>>,
}

/// What the current frame changed that may end grants.
#[derive(Default)]
pub(super) struct Changes {
    /// Something that may concern every grant.
    pub anything: bool,
    /// The keys of attributes that were recorded again.
    pub keys: BTreeSet<String>,
    /// Whether an attribute was recorded again that others were derived from.
    pub is_source: bool,
}

impl Changes {
    fn replace(&self, granted: &GrantedAttribute) -> bool {
        self.keys.contains(&granted.key)
    }
}

/// Judges grants of one data subject by the state at a moment.
pub(super) struct Judge<'a> {
    pub subject: &'a Subject,
    pub vocabulary: &'a Vocabulary,
    pub contents: &'a Contents,
    /// The moment, milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The time at which the definitions and notices count, milliseconds since the Unix epoch.
    pub words_at_ms: u64,
}

impl Judge<'_> {
    /// The conversations in which these changes contradict the open grants of a case. Conversations that no
    /// decision names are judged together.
    pub fn contradicted(&self, case: &Case, named: &BTreeSet<String>, changes: &Changes) -> Vec<String> {
        if !changes.anything
            && !changes.is_source
            && !case.allowed.attributes.iter().any(|one| changes.replace(one))
        {
            return Vec::new();
        }
        let is_contradicted = |interaction: &&String| self.is_contradicted(case, interaction, changes);
        let (open, mut ended) = (&case.by_interaction, Vec::new());
        if !self.subject.effort.spend(open.len().min(named.len()).saturating_add(1)) {
            return ended;
        }
        if named.len() < open.len() {
            let named = named.iter().filter(|name| open.contains_key(*name));
            ended.extend(named.filter(is_contradicted).cloned());
        } else {
            let named = open.keys().filter(|name| named.contains(*name));
            ended.extend(named.filter(is_contradicted).cloned());
        }
        let mut others = open.keys().filter(|name| !named.contains(*name));
        if let Some(other) = others.next().filter(is_contradicted) {
            ended.push(other.clone());
            ended.extend(others.cloned());
        }
        ended
    }

    /// Whether changes contradict the grants of a case in this conversation. A replaced attribute concerns
    /// only itself and what was derived from it.
    fn is_contradicted(&self, case: &Case, interaction: &str, changes: &Changes) -> bool {
        let is_concerned =
            |granted: &&GrantedAttribute| changes.anything || changes.is_source || changes.replace(granted);
        if !self.subject.effort.spend(case.allowed.attributes.len()) {
            return false;
        }
        let concerned = case.allowed.attributes.iter().filter(is_concerned);
        let grant = self.use_of((&case.recipient, &case.purpose, interaction), concerned);
        let (mut check, words) = self.check(&grant);
        if changes.anything && check.signal_against().is_some() {
            return true;
        }
        grant.allowed.iter().any(|granted| match check.check_standing(granted) {
            Ok(()) => false,
            Err(Fault::Replaced) if words.edition() < REPLACEMENT_EDITION => false,
            Err(Fault::SourceWithheld) => true,
            Err(_) => changes.anything || changes.replace(granted),
        })
    }

    /// Why a grant may no longer be used.
    pub fn faults_of_grant(&self, of: &IssuedGrant) -> Vec<Fault> {
        let grant = self.use_of((&of.recipient, &of.purpose, &of.interaction), of.allowed.attributes.iter());
        let (mut check, _) = self.check(&grant);
        grant.allowed.iter().filter_map(|granted| check.check_standing(granted).err()).collect()
    }

    /// Why no basis allows the use of each attribute of a grant; none where one does.
    pub fn faults_of_bases(&self, of: &IssuedGrant) -> Vec<Option<Fault>> {
        let grant = self.use_of((&of.recipient, &of.purpose, &of.interaction), of.allowed.attributes.iter());
        let (mut check, _) = self.check(&grant);
        grant.allowed.iter().map(|granted| check.fault_of_basis(granted)).collect()
    }

    fn check<'b>(&'b self, grant: &'b GrantIssued) -> (GrantCheck<'b>, WordsInForce<'b>) {
        let vocabulary = self.vocabulary.at(self.words_at_ms);
        // What the grants cite was noted when they were issued.
        let citing = Citing { position: 0, grant: NO_GRANT };
        let context = GrantContext { grant, vocabulary, citing, now_ms: self.now_ms };
        (GrantCheck::new(self.subject, context), vocabulary)
    }

    /// A grant of these attributes as they are now: an attribute with the same content may have taken the
    /// place of one of them.
    fn use_of<'b>(
        &self,
        (recipient, purpose, interaction): (&str, &str, &str),
        allowed: impl Iterator<Item = &'b GrantedAttribute>,
    ) -> GrantIssued {
        let newest = |granted: &GrantedAttribute| {
            let state = self.subject.attribute(&granted.attribute);
            let is_replaced = state.is_some_and(|state| state.ended == Some(Fault::Replaced));
            let newest = self.contents.newest_like(&granted.attribute).filter(|_| is_replaced);
            let attribute = newest.map_or_else(|| granted.attribute.clone(), |newest| newest.to_vec());
            GrantedAttribute { attribute, ..granted.clone() }
        };
        GrantIssued {
            recipient: recipient.to_owned(),
            purpose: purpose.to_owned(),
            interaction: interaction.to_owned(),
            allowed: allowed.map(newest).collect(),
            ..GrantIssued::default()
        }
    }
}
