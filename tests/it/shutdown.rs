//! The real daemon asked to end while everybody writes: what was acknowledged is there, whoever was under way
//! has an answer, and it does end, also where somebody watches.

use crate::crash::{Served, assert_held, record_until_the_end, token, wait_for};
use sayso::proto;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn signal(served: &Served, name: &str) {
    let pid = served.child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// Waits for its end; so long that only a daemon that does not end at all fails, on however slow a machine.
async fn ended(mut served: Served) -> ExitStatus {
    for _ in 0..1_200 {
        if let Some(status) = served.child.try_wait().unwrap() {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    served.kill();
    panic!("it does not end");
}

/// A watch that nobody reads from and nobody ends.
async fn watch(served: &Served) -> tonic::Streaming<proto::WatchRevocationsResponse> {
    let channel =
        tonic::transport::Channel::from_shared(served.grpc.clone()).unwrap().connect().await.unwrap();
    let bearer: tonic::metadata::MetadataValue<_> =
        format!("Bearer {}", token(&served.data, "service")).parse().unwrap();
    let mut client = proto::grant_service_client::GrantServiceClient::new(channel);
    let mut request = tonic::Request::new(proto::WatchRevocationsRequest::default());
    request.metadata_mut().insert("authorization", bearer);
    client.watch_revocations(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_under_load_it_answers_what_it_took_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut total = 0;
    for name in ["-TERM", "-INT"] {
        let served = Served::start(&data);
        assert_held(&served, total);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&acknowledged);
        let load = tokio::spawn(record_until_the_end(served.grpc.clone(), token(&data, "service"), counter));
        let mut watched = watch(&served).await;
        wait_for(&acknowledged, 30).await;
        signal(&served, name);
        assert!(ended(served).await.success(), "{name}: an orderly end");
        load.await.unwrap();
        total = total.max(acknowledged.load(Ordering::SeqCst));
        // The watch was told, not cut.
        let standing = watched.message().await.unwrap().unwrap();
        let told = watched.message().await.unwrap_err();
        assert_eq!(told.code(), tonic::Code::Unavailable, "{standing:?}: {told}");
    }
    let served = Served::start(&data);
    assert_held(&served, total);
    served.verify(dir.path());
    served.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let served = Served::start(&data);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&acknowledged);
    let load = tokio::spawn(record_until_the_end(served.grpc.clone(), token(&data, "service"), counter));
    wait_for(&acknowledged, 20).await;
    // Somebody who opens a stream of requests and never ends it keeps an orderly end waiting to its bound.
    let channel =
        tonic::transport::Channel::from_shared(served.grpc.clone()).unwrap().connect().await.unwrap();
    let bearer: tonic::metadata::MetadataValue<_> =
        format!("Bearer {}", token(&data, "service")).parse().unwrap();
    let (_endless, requests) = tokio::sync::mpsc::channel::<proto::RecordStreamRequest>(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut request = tonic::Request::new(requests);
    request.metadata_mut().insert("authorization", bearer);
    let mut client = proto::profile_service_client::ProfileServiceClient::new(channel);
    let _open = client.record_stream(request).await.unwrap();
    signal(&served, "-TERM");
    // Turned away, so the first one has been heard.
    load.await.unwrap();
    signal(&served, "-TERM");
    assert_eq!(ended(served).await.code(), Some(1), "at once, and not as an orderly end");
    let served = Served::start(&data);
    assert_held(&served, acknowledged.load(Ordering::SeqCst));
    served.kill();
}
