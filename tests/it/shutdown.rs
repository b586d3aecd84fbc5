//! Shutdown of the real daemon under load: acknowledged writes are kept, calls in progress get an answer, and
//! the daemon ends even if a client watches revocations.

use crate::crash::{Served, assert_recorded, record_until_failure, token, wait_for};
use sayso::proto;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn signal(served: &Served, name: &str) {
    let pid = served.child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// Waits for the daemon to end. The limit of 60 s is so long that only a daemon that hangs fails the test.
async fn wait_for_exit(mut served: Served) -> ExitStatus {
    for _ in 0..1_200 {
        if let Some(status) = served.child.try_wait().unwrap() {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    served.kill();
    panic!("the daemon does not end");
}

/// Opens a watch of revocations that is neither read nor closed.
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
async fn a_signal_under_load_ends_the_daemon_after_it_answers_accepted_calls() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut total = 0;
    for name in ["-TERM", "-INT"] {
        let served = Served::start(&data);
        assert_recorded(&served, total);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&acknowledged);
        let load = tokio::spawn(record_until_failure(served.grpc.clone(), token(&data, "service"), counter));
        let mut watched = watch(&served).await;
        wait_for(&acknowledged, 30).await;
        signal(&served, name);
        assert!(wait_for_exit(served).await.success(), "{name}: an orderly shutdown");
        load.await.unwrap();
        total = total.max(acknowledged.load(Ordering::SeqCst));
        // The watch ended with an error, not with a broken connection.
        let first = watched.message().await.unwrap().unwrap();
        let error = watched.message().await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::Unavailable, "{first:?}: {error}");
    }
    let served = Served::start(&data);
    assert_recorded(&served, total);
    served.verify(dir.path());
    served.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_daemon_at_once_and_loses_no_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let served = Served::start(&data);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&acknowledged);
    let load = tokio::spawn(record_until_failure(served.grpc.clone(), token(&data, "service"), counter));
    wait_for(&acknowledged, 20).await;
    // A client that never closes its stream of requests delays an orderly shutdown until its time limit.
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
    // The load ends when its calls are refused, so the daemon has received the first signal.
    load.await.unwrap();
    signal(&served, "-TERM");
    assert_eq!(wait_for_exit(served).await.code(), Some(1), "at once, not an orderly shutdown");
    let served = Served::start(&data);
    assert_recorded(&served, acknowledged.load(Ordering::SeqCst));
    served.kill();
}
