//! Tests that the verifier finds commitments to the subject map that contradict the log or each other.

use super::*;

#[test]
fn a_right_map_verifies_as_of_each_commitment() {
    let mut world = world();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.subjects, report.checked, report.not_checked, report.unlinked), (4, 2, 0, 0));
    assert_eq!(report.position + 2, world.log.size());
}

#[test]
fn entries_that_no_commitment_describes_are_counted() {
    let mut world = world();
    assert_eq!(world.verify().unwrap().unwrap().later_entries, 1);
    world.append(2);
    assert_eq!(world.verify().unwrap().unwrap().later_entries, 2);
    world.commit();
    assert_eq!(world.verify().unwrap().unwrap().later_entries, 0);
}

#[test]
fn a_commitment_before_edition_4_is_found() {
    let mut world = World::of_edition_3();
    world.append(1);
    world.commit();
    assert!(world.reason().contains("precedes edition 4"));
    world.adopt(4);
    assert!(world.reason().contains("precedes edition 4"));
}

#[test]
fn a_false_commitment_is_found_however_many_follow() {
    let mut world = World::new();
    world.append(1);
    let position = world.log.size();
    world.commit_as(|committed| committed.root[0] ^= 1);
    for _ in 0..400 {
        world.append(1);
        world.commit();
    }
    let failure = world.verify().unwrap_err();
    assert_eq!(
        (failure.position, failure.reason.contains("the committed root is not")),
        (Some(position), true)
    );
}

#[test]
fn unlinked_people_that_cannot_be_there_do_not_keep_a_false_commitment_from_being_checked() {
    let mut world = World::new();
    world.append(1);
    world.commit_as(|committed| (committed.root[0], committed.unlinked) = (1, 1));
    world.commit();
    assert!(world.reason().contains("than there can be"));
}

#[test]
fn a_log_without_a_commitment_verifies_and_shows_nothing_about_completeness() {
    let mut world = World::new();
    world.append(1);
    world.log.map = None;
    let source = Source::Archive(Box::new(std::io::Cursor::new(world.log.bundle())));
    let verified = verify(source, &world.log.verifier(), &Options::default(), &mut |_| ());
    assert_eq!(verified.unwrap().subject_map, None);
    assert!(world.reason().contains("no commitment"), "a file without a commitment");
}

#[test]
fn after_an_erasure_later_commitments_are_checked_and_earlier_ones_are_counted() {
    let mut world = world();
    world.erase(2);
    assert!(world.reason().contains("erased after the newest commitment"));
    world.log.map = None;
    world.commit();
    world.append(3);
    world.commit();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.subjects, report.checked, report.not_checked), (3, 2, 2));
}

#[test]
fn a_false_commitment_is_found_even_if_later_ones_are_right() {
    let changes: [fn(&mut SubjectMapCommitted); 1] = [|committed| committed.root[7] ^= 1];
    for change in changes {
        for false_one in [0, 1] {
            let mut world = World::new();
            world.append(1);
            world.commit_as(|committed| {
                if false_one == 0 {
                    change(committed)
                }
            });
            let position = world.append(2);
            world.commit_as(|committed| {
                if false_one == 1 {
                    change(committed)
                }
            });
            let failure = world.verify().unwrap_err();
            assert!(failure.reason.contains("the committed root is not"), "{failure}");
            assert_eq!(failure.position, Some(if false_one == 0 { position - 1 } else { position + 1 }));
        }
    }
}

#[test]
fn a_commitment_that_counts_an_event_as_erased_is_found() {
    let mut world = World::new();
    world.append(1);
    world.append(1);
    let mut map = SubjectMap::new();
    let stream = world.streams(world.log.size())[&subject(1)];
    let fewer = Stream { present: stream.present - 1, ..stream };
    map.set(record(1).label, fewer.commitment(&record(1).blinding));
    world.commit_as(|committed| committed.root = map.root().to_vec());
    assert!(world.reason().contains("the committed root is not"));
}

#[test]
fn a_commitment_counts_the_events_that_a_partial_erasure_left() {
    let mut world = World::new();
    let first = world.append(1);
    world.append(1);
    world.commit();
    world.log.erase(&[first], true);
    world.commit();
    let report = world.verify().unwrap().unwrap();
    assert_eq!((report.checked, report.not_checked), (1, 1));
}

#[test]
fn commitments_that_contradict_each_other_are_found() {
    type Change = fn(&mut SubjectMapCommitted);
    let cases: [(Change, &str); 7] = [
        (|committed| committed.vrf_public_key = vec![6; 32], "another VRF key"),
        (|committed| committed.vrf_public_key.clear(), "no VRF key"),
        (|committed| committed.root.clear(), "no root"),
        (|committed| committed.tree_size = 1, "describes less"),
        (|committed| committed.tree_size += 1, "entries that follow"),
        (|committed| committed.unlinked = 1, "than there can be"),
        (|committed| committed.subjects += 1, "other numbers of people"),
    ];
    for (change, expected) in cases {
        let mut world = world();
        world.commit_as(change);
        let reason = world.reason();
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

#[test]
fn a_missing_or_malformed_file_is_found() {
    let mut world = world();
    world.verify().unwrap();
    let records = world.log.map.take().unwrap();
    let source = Source::Archive(Box::new(std::io::Cursor::new(world.log.bundle())));
    let failure = verify(source, &world.log.verifier(), &Options::default(), &mut |_| ()).unwrap_err();
    assert!(failure.place.contains("subject-map.bin") && failure.reason.contains("missing"), "{failure}");
    let mut twice = records.clone();
    twice.insert(1, records[0]);
    let reversed = records.iter().rev().copied().collect();
    for wrong in [twice, reversed] {
        world.log.map = Some(wrong);
        assert!(world.reason().contains("ascending order"));
    }
    world.log.map = Some([records, vec![record(9)]].concat());
    assert!(world.reason().contains("a stream without entries"));
}

#[test]
fn people_that_no_commitment_describes_for_long_are_noticed() {
    let mut world = world();
    world.commit();
    assert!(world.verify_knowing(vec![]).unwrap().is_map_recent());
    world.append(2);
    let first_ms = world.log.now;
    world.log.now += 599_000;
    world.append(3);
    let report = world.verify_knowing(vec![]).unwrap();
    assert_eq!(report.subject_map.unwrap().later_from_ms, Some(first_ms));
    assert!(report.is_map_recent());
    world.append(3);
    assert!(!world.verify_knowing(vec![]).unwrap().is_map_recent());
    world.commit();
    assert!(world.verify_knowing(vec![]).unwrap().is_map_recent());
    // A log that could commit and never does.
    let without_map = |mut world: World| {
        world.append(1);
        world.log.now += 700_000;
        world.append(1);
        log::report(&world.log).is_map_recent()
    };
    assert!(!without_map(World::new()));
    assert!(without_map(World::of_edition_3()));
}
