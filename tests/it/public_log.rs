//! The public log over HTTP: the root that is computed from its tiles must be the root of the signed
//! checkpoint.

use crate::harness::{Harness, fact};
use sayso::proto::Role;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::merkle::{Frontier, Hash};
use std::io::{Read, Write};
use std::net::TcpStream;

fn get(harness: &Harness, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(harness.daemon.http).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&response[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, response[end + 4..].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_tiles_recompute_to_the_checkpoint_root() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    for number in 0..300 {
        let request = fact("ada", &format!("key-{number}"), "work", "x");
        service.profile.record_attributes(request).await.unwrap();
    }
    let key: VerifierKey = harness.daemon.vkey.parse().unwrap();
    let (status, note) = get(&harness, "/checkpoint");
    assert_eq!(status, 200);
    let checkpoint = Checkpoint::open(std::str::from_utf8(&note).unwrap(), &key).unwrap();
    assert!(checkpoint.size > 300);
    let mut frontier = Frontier::new();
    let partial = checkpoint.size % 256;
    let paths = ["/tile/0/000".to_owned(), format!("/tile/0/001.p/{partial}")];
    for path in paths {
        let (status, tile) = get(&harness, &path);
        assert_eq!(status, 200, "{path}");
        tile.chunks(32).for_each(|hash| frontier.push(Hash::try_from(hash).unwrap()));
    }
    assert_eq!((frontier.size(), frontier.root()), (checkpoint.size, checkpoint.root));
    let (status, top) = get(&harness, "/tile/1/000.p/1");
    assert_eq!((status, top.len()), (200, 32));
    for missing in ["/tile/0/002", "/tile/0/1", "/tile/entries/000", "/tile/9/000", "/tile/0/../000"] {
        assert_eq!(get(&harness, missing).0, 404, "{missing}");
    }
    assert_eq!(get(&harness, "/readyz").0, 200);
}
