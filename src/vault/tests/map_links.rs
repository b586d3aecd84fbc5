//! Tests that the link between a data subject and the subject map (the log's commitment to each person's
//! entries) is stored, kept through every change of the keys, and destroyed with the keys.

use super::{Bench, subject};
use crate::domain::ids::SubjectId;
use crate::vault::Vault;
use crate::vault::batch::Batch;
use crate::vault::pages::{self, SubjectSecrets};
use crate::vault::puncturable::Node;
use crate::vault::tree_pages::{Record, Trie};
use sayso_proof::entry::Handle;
use sayso_proof::subject_map::verify_label;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Stores a subject as an earlier version of the ledger did.
fn store_without_link(vault: &Vault, id: &SubjectId) -> Handle {
    let (handle, hash) = (Handle([3; 16]), vault.keyed_hash("subject", &[id.as_str().as_bytes()]));
    let secrets = SubjectSecrets { cover: vec![Node::root(&[8; 32])], link: None };
    let mut batch = Batch::new(&vault.key_tree);
    let value = pages::encode_subject(handle, &secrets);
    batch.copy.insert(Trie::Subjects, Record { key: hash, value }).unwrap();
    let value = Zeroizing::new(hash.to_vec());
    batch.copy.insert(Trie::Handles, Record { key: pages::handle_key(handle), value }).unwrap();
    batch.commit().unwrap();
    handle
}

#[tokio::test]
async fn a_new_subject_is_linked_by_the_label_of_their_id() {
    let bench = Bench::new();
    let vault = bench.open();
    let pending = vault.prepare(&subject("ada"));
    assert!(!pending.keys.is_linked(), "nothing is computed before the first event");
    vault.create(&pending).await.unwrap();
    let link = pending.keys.link().unwrap();
    let (label, proof) = vault.prove_label(&subject("ada")).unwrap();
    assert_eq!((link.label(), verify_label(&vault.vrf_public_key(), "ada", &proof)), (label, Ok(label)));
    let other = vault.subject_or_create(&subject("bea")).await.unwrap().link().unwrap();
    assert!(other.label() != label && other.blinding() != link.blinding());
    let key = vault.vrf_public_key();
    drop(vault);
    let vault = bench.open();
    assert_eq!(vault.vrf_public_key(), key);
    assert_eq!(vault.subject(&subject("ada")).unwrap().unwrap().link(), Some(link));
}

#[tokio::test]
async fn a_subject_of_an_earlier_version_is_linked_once_and_keeps_the_link_until_erased() {
    let bench = Bench::new();
    let (vault, ada) = (bench.open(), subject("ada"));
    let handle = store_without_link(&vault, &ada);
    let keys = vault.subject(&ada).unwrap().unwrap();
    assert!(!keys.is_linked() && keys.event_key(0, &[9; 16]).is_ok());
    vault.link(&ada, &keys).await.unwrap();
    let link = keys.link().unwrap();
    assert_eq!(link.label(), vault.prove_label(&ada).unwrap().0);
    vault.link(&ada, &keys).await.unwrap();
    assert_eq!(keys.link().as_ref(), Some(&link), "linking again changes nothing");
    vault.puncture(handle, &[0], None).await.unwrap();
    assert_eq!(keys.link().as_ref(), Some(&link));
    vault.renew(&BTreeSet::new(), 1, |_| Ok::<_, crate::vault::VaultError>(5)).await.unwrap();
    assert_eq!(keys.link().as_ref(), Some(&link));
    drop((vault, keys));
    let vault = bench.open();
    let keys = vault.by_handle(handle).unwrap().unwrap();
    assert_eq!(keys.link(), Some(link));
    vault.erase(&keys, 7, [1; 16], &[], b"").await.unwrap();
    assert!(!keys.is_linked() && vault.subject(&ada).unwrap().is_none());
}
