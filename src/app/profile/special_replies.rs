//! Completes new attributes that were derived from special data. Marks each as an inference. If the attribute
//! names replies (`from_replies`), adds the special attributes that shaped those replies to its sources
//! (`derived_from`).

use crate::app::error::{AppError, Cause};
use crate::app::log::append::Append;
use crate::app::log::read::for_each_event;
use crate::app::profile::Profiles;
use crate::domain::attribute::{Attribute, LINKS_MAX};
use crate::domain::event::Provenance;
use crate::domain::ids::EventId;
use crate::domain::special_sources::{ShapedReplies, effective_provenance, source_categories};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Profiles {
    /// If an inference names replies, adds the special attributes that shaped these replies to its sources.
    /// Then marks every attribute that counts as inferred. Call it after the sources were checked.
    ///
    /// # Errors
    /// An attribute would have more sources than one may have, or the store failed.
    pub(super) async fn complete_sources(
        self: &Arc<Self>,
        append: &Append,
        new: &mut [(Attribute, Option<EventId>)],
    ) -> Result<(), AppError> {
        let replies = self.shaped_replies(append, new).await?;
        let (actor, vocabulary) = (append.caller.actor(), &append.rules.vocabulary);
        for (number, (attribute, _)) in new.iter_mut().enumerate() {
            if let Some(replies) = replies.as_ref().filter(|_| !attribute.from_replies.is_empty()) {
                let special = replies.special(&attribute.from_replies, &actor, vocabulary);
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
            count_as_inferred(append, attribute);
        }
        Ok(())
    }

    /// What shaped the replies that these attributes name; `None` if they name none.
    async fn shaped_replies(
        self: &Arc<Self>,
        append: &Append,
        new: &[(Attribute, Option<EventId>)],
    ) -> Result<Option<ShapedReplies>, AppError> {
        let named: BTreeSet<String> =
            new.iter().flat_map(|(attribute, _)| attribute.from_replies.iter().cloned()).collect();
        if named.is_empty() || append.stream.read().state.version == 0 {
            return Ok(None);
        }
        let (profiles, stream) = (Arc::clone(self), Arc::clone(&append.stream));
        let task = tokio::task::spawn_blocking(move || {
            let mut replies = ShapedReplies::default();
            for_each_event(&stream.keys, profiles.core.store(), 0, |event, _| {
                replies.note(&event, &named);
                Ok(())
            })?;
            Ok(Some(replies))
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }
}

/// Marks an attribute as an inference if it was derived from special attributes, and keeps what its recorder
/// claimed.
fn count_as_inferred(append: &Append, attribute: &mut Attribute) {
    let claimed = attribute.provenance;
    let now = append.stream.read();
    let sources = source_categories(&now.state, attribute);
    let role = append.caller.actor().role;
    let effective = effective_provenance(claimed, role, sources, &append.rules.vocabulary);
    if effective != claimed {
        (attribute.provenance, attribute.claimed_provenance) = (Provenance::Inferred, claimed);
    }
}
