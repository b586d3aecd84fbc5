//! Tests that random logs with correct maps verify, and measures the time that maps cost.

use super::*;
use proptest::prelude::*;

/// Measures what docs/completeness.md says of the cost.
#[test]
#[ignore = "takes a while; see docs/completeness.md"]
fn figures() {
    let handle = |number: u64| {
        let mut handle = [0; 16];
        handle[..8].copy_from_slice(&number.to_be_bytes());
        Label::unlinked(Handle(handle))
    };
    let begun = std::time::Instant::now();
    let mut map = SubjectMap::new();
    (0..1_000_000).for_each(|number| assert!(map.set(handle(number), [1; 32])));
    map.root();
    println!("a map of a million labels: {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    (0..1_000_000).step_by(100).for_each(|number| assert!(!map.set(handle(number), [2; 32])));
    map.root();
    println!("10,000 changes of it: {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    (0..1_000).for_each(|number| drop(map.prove(&handle(number))));
    println!("1,000 proofs: {:?}", begun.elapsed());
    let key = VrfKey::from_seed(&[7; 32]).unwrap();
    let begun = std::time::Instant::now();
    (0..1_000).for_each(|number: u32| drop(key.prove(&number.to_string()).unwrap()));
    println!("1,000 labels of ids: {:?}", begun.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn honest_logs_verify(steps in proptest::collection::vec((0_u8..8, 0_u8..12), 1..60)) {
        let mut world = World::new();
        for (step, number) in steps {
            match step {
                0 => world.commit(),
                // Handles are never used twice, so an erased person is not recorded again.
                1 if number < 4 && world.records.contains_key(&subject(number + 1)) => world.erase(number + 1),
                _ => {
                    if number >= 4 || !world.log.erased.iter().any(|at| {
                        parse_header(&world.log.entries[*at as usize]).unwrap().handle == subject(number + 1)
                    }) {
                        world.append(number + 1);
                    }
                }
            }
        }
        world.commit();
        let (report, subjects) = (world.verify().unwrap().unwrap(), world.streams(world.log.size()).len());
        prop_assert_eq!(report.subjects, subjects as u64);
        prop_assert!(report.checked >= 1);
    }
}
