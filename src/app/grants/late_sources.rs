//! Adds sources to attributes that name a reply (`from_replies`) and were recorded before that reply was
//! reported. When the reply is reported, the attributes of special categories that shaped it become sources
//! of these attributes. Otherwise, a service could report late, and so keep a conclusion from special data
//! usable.

use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::append::Append;
use crate::app::log::stream::{HistoryUse, SubjectStream};
use crate::domain::attribute::LINKS_MAX;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Event, GrantIssued, GrantUsed, Role};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::domain::special_sources::{History, Sources};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The reason in the event that removes an attribute which would have too many sources.
const TOO_MANY_SOURCES: &str = "more than 64 attributes of special categories shaped the replies that it was \
                                inferred from";

impl Grants {
    /// Reads the history that [`Grants::late_sources`] is going to need, before the write lock is taken. Keep
    /// the result until the report is recorded.
    pub(super) async fn prepare_late_sources(
        &self,
        stream: &Arc<SubjectStream>,
        issued: &GrantIssued,
        reply: &str,
        shaped_by: &[EventId],
    ) -> Option<HistoryUse> {
        if !needs_history(&stream.read().state, issued, reply, shaped_by) {
            return None;
        }
        let in_use = stream.use_history();
        let _one_at_a_time = stream.history_reading.lock().await;
        // An error comes up again under the lock, and is answered then.
        self.core.read_history(stream).await.ok()?;
        Some(in_use)
    }

    /// The events that complete current attributes which name a reply, if the reply is reported now. An
    /// attribute that would have too many sources is removed, unless the data subject recorded it.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn late_sources(
        &self,
        append: &Append,
        issued: &GrantIssued,
        used: &GrantUsed,
    ) -> Result<Vec<Event>, AppError> {
        let stream = &append.stream;
        if naming(&stream.read().state, &issued.recipient, &used.reply).next().is_none() {
            return Ok(Vec::new());
        }
        let _in_use = stream.use_history();
        if needs_history(&stream.read().state, issued, &used.reply, &used.shaped_by) {
            self.core.read_history(stream).await?;
        }
        let (now, history) = (stream.read(), stream.history());
        let shaped_by = shaping(issued, &used.shaped_by);
        let special = Sources::new(&now.state, &history).special_among(&shaped_by, &append.rules.vocabulary);
        let naming = naming(&now.state, &issued.recipient, &used.reply);
        Ok(naming.filter_map(|current| completed(current, &special)).collect())
    }
}

/// The attributes that may have shaped a reply. If the report names none, every attribute that the grant
/// allows may have shaped it.
fn shaping(issued: &GrantIssued, shaped_by: &[EventId]) -> Vec<EventId> {
    match shaped_by {
        [] => issued.allowed.iter().map(|cited| cited.attribute).collect(),
        named => named.to_vec(),
    }
}

/// The current attributes that name a reply of a recipient. A service names its own replies. Other callers
/// may mean those of any recipient.
fn naming<'a>(
    state: &'a SubjectState,
    recipient: &'a str,
    reply: &'a str,
) -> impl Iterator<Item = &'a CurrentAttribute> {
    let attributes = state.attributes.values().map(AsRef::as_ref);
    attributes.filter(move |current| {
        let is_meant = current.actor.role != Role::Service || current.actor.name == recipient;
        is_meant && current.attribute.from_replies.iter().any(|named| named == reply)
    })
}

/// Whether attributes name the reply, and the current ones do not say what those that shaped it were derived
/// from.
fn needs_history(state: &SubjectState, issued: &GrantIssued, reply: &str, shaped_by: &[EventId]) -> bool {
    let none = History::default();
    naming(state, &issued.recipient, reply).next().is_some()
        && !Sources::new(state, &none).are_known(&shaping(issued, shaped_by))
}

/// The event that completes an attribute with these sources, if it lacks any.
fn completed(current: &CurrentAttribute, special: &BTreeSet<EventId>) -> Option<Event> {
    let known: BTreeSet<EventId> = current.attribute.derived_from.iter().copied().collect();
    let own = current.event_id;
    let sources: Vec<EventId> = special.difference(&known).copied().filter(|source| *source != own).collect();
    let attribute = current.event_id;
    match known.len().saturating_add(sources.len()) {
        _ if sources.is_empty() => None,
        0..=LINKS_MAX => Some(Event::AttributeSourcesAdded { attribute, sources }),
        _ if current.actor.role == Role::Subject => None,
        _ => Some(Event::AttributeRemoved { attribute, reason: TOO_MANY_SOURCES.to_owned() }),
    }
}
