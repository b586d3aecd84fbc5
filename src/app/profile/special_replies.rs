//! Completes new attributes that were derived from others. If a new attribute names replies (`from_replies`),
//! the attributes of special categories that shaped those replies are added to its sources (`derived_from`).
//! If a new attribute then has a source of a special category, it is marked as inferred, even if the caller
//! states another provenance. Only what data subjects record with their own credential keeps its provenance.

use crate::app::error::AppError;
use crate::app::log::append::Append;
use crate::app::log::stream::{HistoryUse, SubjectStream};
use crate::app::profile::Profiles;
use crate::domain::attribute::{Attribute, LINKS_MAX};
use crate::domain::event::{Actor, Provenance};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::domain::special_sources::{History, Sources, effective_provenance};
use crate::domain::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most current attributes of a data subject that may name the same reply. If the reply is reported later
/// than they are recorded, the report completes all of them in one frame.
const NAMING_MAX: usize = 256;

/// The categories of all direct and indirect sources of an attribute, current or not.
pub(super) type SourceCategories = BTreeSet<String>;

impl Profiles {
    /// Reads the history that [`Profiles::complete_sources`] is going to need, before the write lock is
    /// taken. The history can be long, and other writes about the data subject must not wait for it. Only
    /// what is recorded meanwhile is read under the lock. Keep the result until the sources are complete.
    pub(super) async fn prepare_sources(
        self: &Arc<Self>,
        subject: &SubjectId,
        new: &[(Attribute, Option<EventId>)],
    ) -> Option<HistoryUse> {
        if !new.iter().any(|(attribute, _)| has_sources(attribute)) {
            return None;
        }
        // An error comes up again under the lock, and is answered then.
        let stream = self.core.stream(subject).await.ok()??;
        let in_use = stream.use_history();
        if needs_history(&stream, new) {
            let _one_at_a_time = stream.history_reading.lock().await;
            self.core.read_history(&stream).await.ok()?;
        }
        Some(in_use)
    }

    /// If an inference names replies, adds the special attributes that shaped these replies to its sources.
    /// Then marks every attribute that counts as inferred. Call it after the sources were checked. Returns
    /// the categories of each attribute's sources.
    ///
    /// # Errors
    /// An attribute would have more sources than it may have, or the store failed.
    pub(super) async fn complete_sources(
        self: &Arc<Self>,
        append: &Append,
        new: &mut [(Attribute, Option<EventId>)],
    ) -> Result<Vec<SourceCategories>, AppError> {
        if !new.iter().any(|(attribute, _)| has_sources(attribute)) {
            return Ok(vec![SourceCategories::new(); new.len()]);
        }
        check_replies(&append.stream.read().state, new)?;
        let _in_use = append.stream.use_history();
        if needs_history(&append.stream, new) {
            self.core.read_history(&append.stream).await?;
        }
        let (actor, vocabulary) = (append.caller.actor(), &append.rules.vocabulary);
        let now = append.stream.read();
        let history = append.stream.history();
        let sources = Sources::new(&now.state, &history);
        let completed = new.iter_mut().enumerate();
        let completed = completed.map(|(number, (of, _))| complete(&sources, of, number, &actor, vocabulary));
        completed.collect()
    }
}

fn has_sources(attribute: &Attribute) -> bool {
    !attribute.derived_from.is_empty() || !attribute.from_replies.is_empty()
}

/// Checks that not too many attributes would name the same reply.
fn check_replies(state: &SubjectState, new: &[(Attribute, Option<EventId>)]) -> Result<(), AppError> {
    let replies = new.iter().flat_map(|(attribute, _)| &attribute.from_replies);
    let mut counts: BTreeMap<&str, usize> = replies.map(|reply| (reply.as_str(), 0)).collect();
    let replaced: BTreeSet<&str> = new.iter().map(|(attribute, _)| attribute.key.as_str()).collect();
    let current = state.attributes.values().map(|current| &current.attribute);
    let kept = current.filter(|attribute| !replaced.contains(attribute.key.as_str()));
    for reply in kept.chain(new.iter().map(|(attribute, _)| attribute)).flat_map(|of| &of.from_replies) {
        if let Some(count) = counts.get_mut(reply.as_str()) {
            *count = count.saturating_add(1);
        }
    }
    match counts.values().any(|count| *count > NAMING_MAX) {
        true => Err(AppError::invalid("from_replies", "must not name a reply that 256 attributes name")),
        false => Ok(()),
    }
}

/// Whether the current attributes do not say what these attributes were derived from.
fn needs_history(stream: &SubjectStream, new: &[(Attribute, Option<EventId>)]) -> bool {
    let (now, none) = (stream.read(), History::default());
    let mut attributes = new.iter().map(|(attribute, _)| attribute);
    if now.state.version == 0 || attributes.clone().any(|of| !of.from_replies.is_empty()) {
        return now.state.version > 0;
    }
    let sources = Sources::new(&now.state, &none);
    !attributes.all(|of| sources.are_known(&of.derived_from))
}

/// Completes one attribute. Returns the categories of its sources.
fn complete(
    sources: &Sources<'_>,
    attribute: &mut Attribute,
    number: usize,
    actor: &Actor,
    vocabulary: &Vocabulary,
) -> Result<SourceCategories, AppError> {
    if !attribute.from_replies.is_empty() {
        let special = sources.special(&attribute.from_replies, actor, vocabulary);
        let known: BTreeSet<_> = attribute.derived_from.iter().copied().collect();
        attribute.derived_from.extend(special.difference(&known));
        if attribute.derived_from.len() > LINKS_MAX {
            return Err(AppError::invalid(
                &format!("attributes[{number}].from_replies"),
                "must name replies that at most 64 special attributes shaped, the sources in \
                 `derived_from` included",
            ));
        }
    }
    let categories = sources.categories(&attribute.derived_from);
    let claimed = attribute.provenance;
    let effective = effective_provenance(claimed, actor.role, categories.iter().copied(), vocabulary);
    if effective != claimed {
        (attribute.provenance, attribute.claimed_provenance) = (Provenance::Inferred, claimed);
    }
    Ok(categories.into_iter().map(str::to_owned).collect())
}
