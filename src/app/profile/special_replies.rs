//! Completes new attributes that were derived from special data. Marks each as an inference. If the attribute
//! names replies (`from_replies`), adds the special attributes that shaped those replies to its sources
//! (`derived_from`).

use crate::app::error::{AppError, Cause};
use crate::app::log::append::Append;
use crate::app::log::read::for_each_event;
use crate::app::log::stream::SubjectStream;
use crate::app::profile::Profiles;
use crate::domain::attribute::{Attribute, LINKS_MAX};
use crate::domain::event::{Actor, Provenance};
use crate::domain::ids::EventId;
use crate::domain::special_sources::{History, Sources, effective_provenance};
use crate::domain::vocabulary::Vocabulary;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The categories of all direct and indirect sources of an attribute, current or not.
pub(super) type SourceCategories = BTreeSet<String>;

/// A longer history is not kept in memory for the next request.
const HISTORY_BYTES_MAX: usize = 16 << 20;

impl Profiles {
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
        let has_sources =
            |(of, _): &(Attribute, _)| !of.derived_from.is_empty() || !of.from_replies.is_empty();
        if !new.iter().any(has_sources) {
            return Ok(vec![SourceCategories::new(); new.len()]);
        }
        if needs_history(append, new) {
            self.read_history(&append.stream).await?;
        }
        let (actor, vocabulary) = (append.caller.actor(), &append.rules.vocabulary);
        let now = append.stream.read();
        let mut history = append.stream.history();
        let sources = Sources::new(&now.state, &history);
        let completed = new.iter_mut().enumerate();
        let completed = completed.map(|(number, (of, _))| complete(&sources, of, number, &actor, vocabulary));
        let completed = completed.collect();
        if history.bytes() > HISTORY_BYTES_MAX {
            *history = History::default();
        }
        completed
    }

    /// Reads those events of a subject that the history in memory does not have yet.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn read_history(self: &Arc<Self>, stream: &Arc<SubjectStream>) -> Result<(), AppError> {
        let (profiles, stream) = (Arc::clone(self), Arc::clone(stream));
        let task = tokio::task::spawn_blocking(move || {
            let mut history = stream.history();
            let next = history.next_version();
            for_each_event(&stream.keys, profiles.core.store(), next, |event, _| {
                history.note(&event);
                Ok(())
            })
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }
}

/// Whether the current attributes do not say what these attributes were derived from.
fn needs_history(append: &Append, new: &[(Attribute, Option<EventId>)]) -> bool {
    let (now, none) = (append.stream.read(), History::default());
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
