//! Tests that the verifier finds streams that the subject map leaves out, and two streams of one person.

use super::*;

#[test]
fn a_stream_that_the_map_leaves_out_is_found() {
    let mut world = World::new();
    world.append(1);
    let omitted = world.append(2);
    let kept = world.records.remove(&subject(2)).unwrap();
    let without = {
        let mut map = SubjectMap::new();
        let stream = world.streams(world.log.size())[&subject(1)];
        map.set(record(1).label, stream.commitment(&record(1).blinding));
        map.root().to_vec()
    };
    world.records.insert(kept.handle, kept);
    world.commit_as(|committed| (committed.root, committed.subjects) = (without, 1));
    world.log.map = Some(vec![record(1)]);
    let failure = world.verify().unwrap_err();
    assert_eq!(failure.position, Some(omitted));
    assert!(failure.reason.contains("leaves out the stream"), "{failure}");
    // Listing it does not help, because the root does not have it.
    world.log.map = None;
    assert!(world.reason().contains("the committed root is not"));
}

#[test]
fn two_streams_with_one_label_are_found() {
    let mut world = World::new();
    world.append(1);
    world.append(2);
    let other = MapRecord { label: record(1).label, ..record(2) };
    world.records.insert(subject(2), other);
    for subjects in [1, 2] {
        world.commit_as(|committed| committed.subjects = subjects);
        world.log.map = None;
        let reason = world.reason();
        assert!(reason.contains("two streams have the same label"), "{reason}");
    }
}

#[test]
fn a_second_stream_about_a_person_is_found_by_whoever_knows_the_ids() {
    let mut world = World::new();
    world.append_as(1, "ada");
    world.append_as(2, "bea");
    // The log keeps more about ada in a stream under a label that belongs to no person.
    world.append(3);
    world.commit();
    let position = world.log.size() - 1;
    let proof = |id| world.proof(id, position);
    let proofs = vec![proof("ada"), proof("bea"), proof("cleo")];
    assert!(proofs[0].verify(&KeyChain::from(&world.log.verifier())).unwrap().stream.is_some());
    let given = world.verify_knowing(proofs).unwrap().given_subjects.unwrap();
    assert_eq!((given.ids, given.found, given.others), (3, 2, 1));
    assert_eq!(given.other_handles, [subject(3).to_string()]);
    assert_eq!(world.verify_knowing(vec![]).unwrap().given_subjects, None);
}

#[test]
fn a_second_stream_cannot_have_the_label_of_the_same_id() {
    let mut world = World::new();
    world.append_as(1, "ada");
    world.append_as(2, "ada");
    world.commit();
    assert!(world.reason().contains("two streams have the same label"));
}

#[test]
fn a_proof_of_absence_is_one_of_this_log_and_not_of_a_copy_without_the_person() {
    let mut copy = World::new();
    copy.append_as(2, "bea");
    copy.commit();
    let absent = copy.proof("ada", copy.log.size() - 1);
    assert!(absent.verify(&KeyChain::from(&copy.log.verifier())).unwrap().stream.is_none());
    let mut world = World::new();
    world.append_as(1, "ada");
    world.append_as(2, "bea");
    world.commit();
    let failure = world.verify_knowing(vec![absent]).unwrap_err();
    assert_eq!(failure.place, "--subject-proof");
    assert!(failure.reason.contains("does not have the commitment"), "{failure}");
}

#[test]
fn an_older_state_of_a_stream_is_found() {
    let mut world = World::new();
    world.append(1);
    let before = world.committed(world.log.size()).root;
    world.append(1);
    world.commit_as(|committed| committed.root = before);
    assert!(world.reason().contains("the committed root is not"));
}

#[test]
fn only_streams_from_before_edition_4_may_be_unlinked() {
    let unlinked = |number: u8| MapRecord {
        label: Label::unlinked(subject(number)),
        blinding: [0; 32],
        handle: subject(number),
    };
    let mut world = World::of_edition_3();
    world.records.insert(subject(1), unlinked(1));
    world.append(1);
    world.adopt(4);
    world.commit();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.unlinked, report.checked), (1, 1));
    // Somebody writes about the person under their id.
    world.records.insert(subject(1), record(1));
    world.log.map = None;
    world.commit();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.unlinked, report.checked, report.not_checked), (0, 1, 1));
    // A linked person never becomes unlinked again.
    world.commit_as(|committed| committed.unlinked = 1);
    assert!(world.reason().contains("more people without a linked id"));
    let mut world = World::of_edition_3();
    world.append(1);
    world.adopt(4);
    world.records.insert(subject(2), unlinked(2));
    world.append(2);
    world.commit();
    assert!(world.reason().contains("linked to no id"));
}

#[test]
fn a_proof_from_a_commitment_that_an_erasure_made_uncheckable_is_counted() {
    let mut world = World::new();
    world.append_as(1, "ada");
    world.append_as(2, "bob");
    world.commit();
    let first = world.log.size() - 1;
    let early = world.proof("ada", first);
    let unchecked = |world: &mut World, proof: SubjectProof| {
        let report = world.verify_knowing(vec![proof]).unwrap();
        let given = report.given_subjects.as_ref().unwrap().unchecked;
        assert_eq!(report.is_fully_checked(), given == 0);
        given
    };
    assert_eq!(unchecked(&mut world, early.clone()), 0);
    world.erase(2);
    world.log.map = None;
    world.commit();
    let newest = world.log.size() - 1;
    let late = world.proof("ada", newest);
    assert_eq!((unchecked(&mut world, early), unchecked(&mut world, late)), (1, 0));
}
