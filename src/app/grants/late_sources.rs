//! Adds sources to attributes that name a reply (`from_replies`) and were recorded before that reply was
//! reported. The added sources are the attributes of special categories that shaped the reply. They are
//! added when the reply is reported. Otherwise, a service could report late, and so keep a conclusion from
//! special data usable.

use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::append::Append;
use crate::app::log::stream::{HistoryUse, SubjectStream};
use crate::domain::attribute::LINKS_MAX;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Event, GrantIssued, GrantUsed, Role};
use crate::domain::ids::EventId;
use crate::domain::late_sources::Report;
use crate::domain::profile::SubjectState;
use crate::domain::special_sources::{History, Sources};
use crate::domain::vocabulary::Vocabulary;
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
        let shaped_by = shaping(issued, shaped_by);
        let report = Report { recipient: &issued.recipient, reply, shaped_by: &shaped_by };
        if !needs_history(&stream.read().state, &report, &self.core.rules().vocabulary) {
            return None;
        }
        let in_use = stream.use_history();
        let _one_at_a_time = stream.history_reading.lock().await;
        // An error comes up again under the lock, and is answered then.
        self.core.read_history(stream).await.ok()?;
        Some(in_use)
    }

    /// The events that complete current attributes which name a reply, and those that were inferred from
    /// them, if the reply is reported now. An attribute that would have too many sources is removed, unless
    /// the data subject recorded it.
    ///
    /// # Errors
    /// The report would complete too many attributes, or the store failed.
    pub(super) async fn late_sources(
        &self,
        append: &Append,
        issued: &GrantIssued,
        used: &GrantUsed,
    ) -> Result<Vec<Event>, AppError> {
        let stream = &append.stream;
        let shaped_by = shaping(issued, &used.shaped_by);
        let report = Report { recipient: &issued.recipient, reply: &used.reply, shaped_by: &shaped_by };
        if report.naming(&stream.read().state).next().is_none() {
            return Ok(Vec::new());
        }
        let _in_use = stream.use_history();
        if needs_history(&stream.read().state, &report, &append.rules.vocabulary) {
            self.core.read_history(stream).await?;
        }
        let (now, history) = (stream.read(), stream.history());
        let special = Sources::new(&now.state, &history).special_among(&shaped_by, &append.rules.vocabulary);
        if special.is_empty() {
            return Ok(Vec::new());
        }
        let missing = report.missing_sources(&now.state, &history, &special).map_err(|_| {
            AppError::invalid("reply", "must not be one from which more than 700 attributes were inferred, also through other replies")
        })?;
        let current = now.state.attributes.values();
        Ok(current.filter_map(|of| completed(of, missing.get(&of.event_id)?)).collect())
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

/// Whether attributes name the reply, and the current ones do not say that nothing special shaped it.
fn needs_history(state: &SubjectState, report: &Report<'_>, vocabulary: &Vocabulary) -> bool {
    let none = History::default();
    let sources = Sources::new(state, &none);
    report.naming(state).next().is_some()
        && (!sources.are_known(report.shaped_by)
            || !sources.special_among(report.shaped_by, vocabulary).is_empty())
}

/// The event that adds sources which an attribute lacks.
fn completed(current: &CurrentAttribute, missing: &BTreeSet<EventId>) -> Option<Event> {
    let attribute = current.event_id;
    match current.attribute.derived_from.len().saturating_add(missing.len()) {
        0..=LINKS_MAX => {
            Some(Event::AttributeSourcesAdded { attribute, sources: missing.iter().copied().collect() })
        }
        _ if current.actor.role == Role::Subject => None,
        _ => Some(Event::AttributeRemoved { attribute, reason: TOO_MANY_SOURCES.to_owned() }),
    }
}
