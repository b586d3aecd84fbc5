//! Tests that the daemon still recognizes a repeated request that an early version recorded. Early versions
//! wrote the hash of an idempotency key unencrypted.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::app::log::receipt::{RequestStamp, WriteOptions};
use crate::app::log::system_stream::SystemEvent;
use crate::app::{App, AppError, Caller, NewAttributes, NewRequest};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::daemon::app_settings::{ledger_clock, open_app};
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::event::{
    Draft, ErasureCompleted, ErasureScope, Event, Provenance, RequestKind, Role, codec,
};
use crate::domain::ids::{EventId, SubjectId};
use sayso_proof::entry::{self, Header, SchemaVersion};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

async fn open(data: &Path) -> Arc<App> {
    let config = Config { data: data.to_owned(), ..Config::default() };
    std::fs::create_dir_all(data.join("secrets")).unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let time = ledger_clock(&config, &clock).unwrap();
    open_app(&config, time).await.unwrap()
}

fn caller(role: Role) -> Caller {
    Caller { role, channel: role == Role::Service, name: "tutor".into(), subject: None }
}

fn subject(id: &str) -> SubjectId {
    SubjectId::new(id).unwrap()
}

fn options(key: &str, request: &str) -> WriteOptions {
    WriteOptions { idempotency_key: key.into(), request: request.into(), ..WriteOptions::default() }
}

fn attribute() -> Attribute {
    Attribute {
        key: "tone".into(),
        value: Secret::new("\"brief\"".into()),
        category: "work".into(),
        provenance: Provenance::Observed,
        claimed_provenance: Provenance::Unspecified,
        embedding: None,
        evidence: Vec::new(),
        derived_from: Vec::new(),
        confidence: None,
        model: String::new(),
        observed_at_ms: 1_700_000_000_000,
        expires_at_ms: None,
        from_replies: Vec::new(),
    }
}

fn new_attributes(id: &str) -> NewAttributes {
    NewAttributes { subject: subject(id), attributes: vec![(attribute(), None)], stated: BTreeSet::new() }
}

/// Writes an attribute as early versions did, with the hash in the unencrypted part of the entry.
async fn write_early(app: &App, id: &str, options: &WriteOptions) {
    let core = &app.erasure.core;
    let stream = core.existing_stream(&subject(id)).await.unwrap();
    let _write_lock = stream.write_lock().await;
    let stamp = core.request_stamp(&caller(Role::Service), options).unwrap();
    let (version, previous) = (stream.read().state.version, stream.read().newest);
    let header = Header {
        event_id: core.new_id().0,
        handle: stream.keys.handle,
        version,
        previous,
        sealed_at_ms: core.now_ms(),
        idempotency: stamp.in_clear,
        key_commitment: None,
        schema_version: SchemaVersion::One,
    };
    let event = Event::AttributeRecorded(attribute());
    let draft = Draft { about_ms: core.now_ms(), actor: caller(Role::Service).actor(), event };
    let key = stream.keys.event_key(version, &header.event_id).unwrap();
    let payload = entry::seal(&header, &codec::encode(&draft, &stamp.digest), &key).unwrap();
    core.submit_payload(payload).await.unwrap();
    core.reload_stream(&stream).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_hash_is_in_clear_is_answered_again() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path()).await;
    let service = caller(Role::Service);
    app.profile.record_attributes(&service, new_attributes("ada"), &options("new", "x")).await.unwrap();
    write_early(&app, "ada", &options("early", "x")).await;
    app.shutdown().await;
    for _ in 0..2 {
        let app = open(dir.path()).await;
        for key in ["new", "early"] {
            let again =
                app.profile.record_attributes(&service, new_attributes("ada"), &options(key, "x")).await;
            assert!(again.unwrap().receipt.replayed, "{key}");
            let reused =
                app.profile.record_attributes(&service, new_attributes("ada"), &options(key, "y")).await;
            assert!(matches!(reused, Err(AppError::KeyReused)), "{key}: {reused:?}");
        }
        app.shutdown().await;
    }
    // The index has the hashes of everybody. The same key for another person is another request.
    let app = open(dir.path()).await;
    let other = app.profile.record_attributes(&service, new_attributes("ben"), &options("early", "x")).await;
    assert!(!other.unwrap().receipt.replayed);
    app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_erasure_whose_hash_is_in_clear_is_answered_again() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path()).await;
    let (core, steward) = (&app.erasure.core, caller(Role::Steward));
    let (request, options) = (EventId([7; 16]), options("erase", "x"));
    let stamp: RequestStamp = core.request_stamp(&steward, &options).unwrap();
    let completed =
        ErasureCompleted { request: Some(request), scope: ErasureScope::All, ..ErasureCompleted::default() };
    let event = SystemEvent::new(Event::ErasureCompleted(completed));
    core.publish_as(steward.actor(), core.now_ms(), vec![event], stamp).await.unwrap();
    let new = NewRequest {
        kind: RequestKind::Erasure,
        scope: Some(crate::domain::erasure::Scope::All),
        keys: Vec::new(),
        purposes: Vec::new(),
        details: String::new(),
        jurisdiction: None,
    };
    let answered = app.rights.submit_request(&steward, &subject("ada"), new, &options).await.unwrap();
    assert_eq!(answered.request.id, request);
    app.shutdown().await;
}
