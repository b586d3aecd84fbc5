//! Tests of the replay of grants, which checks from the person's earlier events whether each grant could
//! be issued. For each rule that a grant must follow, a test makes a log that breaks the rule, and checks
//! that the replay reports this.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod attributes;
mod bounds;
mod citations;
mod consents;
#[path = "../log/mod.rs"]
mod log;
mod signals;

use log::*;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::Fault;

type Id = [u8; 16];

/// The faults of a log's grants, found by verifying a whole bundle.
fn faults(log: &Log) -> Vec<Fault> {
    findings(log).into_iter().map(|(_, fault)| fault).collect()
}

fn ada() -> sayso_proof::entry::Handle {
    subject(1)
}

fn explicit(categories: &[&str]) -> ConsentTerms {
    ConsentTerms { explicit: true, ..terms(&["personalization"], categories, &[]) }
}

fn wide() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

/// The faults of a log with one attribute and one consent, then the changes of `between`, then a grant.
fn faults_after(category: &str, consent: ConsentTerms, between: impl FnOnce(&mut Log, Id, Id)) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", category)));
    let consent_id = log.append(ada(), given(consent));
    between(&mut log, attribute_id, consent_id);
    log.append(ada(), grant(attribute_id, consent_id, "key", category));
    faults(&log)
}

/// Appends one event of the data subject.
fn event(event: Event) -> impl FnOnce(&mut Log, Id, Id) {
    move |log, _, _| {
        log.append(ada(), event);
    }
}

fn nothing(_: &mut Log, _: Id, _: Id) {}
