//! What the daemon reads from the system stream when it starts, and the events that it then records before
//! any others.

use crate::app::error::AppError;
use crate::app::log::read::for_each_system_event;
use crate::app::log::system_stream::SystemStream;
use crate::domain::event::{DecisionRulesAdopted, Event, Recorded, WitnessAdded, WitnessRemoved};
use crate::domain::vocabulary::DECISION_RULES;
use crate::store::LogStore;

pub(crate) fn restores_in(system_events: &[Recorded]) -> Vec<Recorded> {
    let is_restore = |event: &&Recorded| matches!(event.event, Event::BackupRestored(_));
    system_events.iter().filter(is_restore).cloned().collect()
}

pub(crate) fn adopted_rules() -> Event {
    Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: DECISION_RULES })
}

/// The events that a start records before any others: the adoption of newer rules of decisions, and changes
/// of witnesses.
pub(crate) fn news(system_events: &[Recorded], witnesses: &[String]) -> Vec<Event> {
    let has_adopted = |event: &Recorded| match &event.event {
        Event::DecisionRulesAdopted(adopted) => adopted.edition >= DECISION_RULES,
        _ => false,
    };
    // A new log begins with the rules.
    let is_earlier = !system_events.is_empty() && !system_events.iter().any(has_adopted);
    let rules = is_earlier.then(adopted_rules);
    rules.into_iter().chain(changed_witnesses(system_events, witnesses)).collect()
}

/// The events that change the log's witnesses to the configured witnesses.
pub(crate) fn changed_witnesses(system_events: &[Recorded], configured: &[String]) -> Vec<Event> {
    let mut current: Vec<&String> = Vec::new();
    for event in system_events {
        match &event.event {
            Event::WitnessAdded(added) => current.push(&added.vkey),
            Event::WitnessRemoved(removed) => current.retain(|vkey| **vkey != removed.vkey),
            _ => {}
        }
    }
    let removed = current.iter().filter(|vkey| !configured.contains(vkey));
    let removed = removed.map(|vkey| Event::WitnessRemoved(WitnessRemoved { vkey: (*vkey).clone() }));
    let added = configured.iter().filter(|vkey| !current.contains(vkey));
    let added = added.map(|vkey| Event::WitnessAdded(WitnessAdded { vkey: vkey.clone() }));
    removed.chain(added).collect()
}

/// Reads every system event. Also returns the end of the system stream, where the next event is appended.
pub(crate) fn read_system_stream(store: &dyn LogStore) -> Result<(Vec<Recorded>, SystemStream), AppError> {
    let (mut events, mut system_stream) = (Vec::new(), SystemStream::default());
    for_each_system_event(store, |event, leaf_hash| {
        let (version, newest) = (event.version.saturating_add(1), Some(leaf_hash));
        system_stream = SystemStream { version, newest, last_sealed_at_ms: event.sealed_at_ms };
        events.push(event);
        Ok(())
    })?;
    Ok((events, system_stream))
}
