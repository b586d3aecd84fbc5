//! Revocations that take long to record: recipients hear of them all the same.

use super::act::{Act, CATEGORIES};
use super::history::{Done, History, perform};
use super::machine::Stores;
use sayso::domain::event::Reason;
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
async fn a_watch_is_told_of_revocations_that_are_not_recorded_yet_and_again_when_they_are() {
    let mut world = History::begin(11, Stores::memory).await.world;
    let fact = |at: usize| (format!("key-{at}"), CATEGORIES[0], format!("\"{at}\""));
    let mut granted = BTreeSet::new();
    let acts = [Act::Record(0, vec![fact(0)]), Act::Consent(0, CATEGORIES[0], true)];
    for (number, act) in acts.into_iter().chain([Act::Grant(0), Act::Grant(0), Act::Grant(0)]).enumerate() {
        if let Done::Granted(grant) = world.drive(perform(world.app(), act, number)).await.unwrap() {
            granted.insert(grant.id.to_string());
        }
    }
    assert_eq!(granted.len(), 3);
    let mut watch = world.app().grants.watch_revocations(&super::service(), None);
    let withdrawal = tokio::spawn(perform(world.app(), Act::Consent(0, CATEGORIES[0], false), 9));
    while world.sequencing.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    // The decision and what fits beside it; the rest has to wait.
    world.sequencing.take(&[0]);
    let Done::Changed(changed) = withdrawal.await.unwrap().unwrap() else { unreachable!("a decision") };
    assert_eq!(changed.revoked_grants.len(), 3);
    let (mut recorded, mut early) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..3 {
        let told =
            tokio::time::timeout(Duration::from_secs(5), watch.next()).await.expect("it is told").unwrap();
        assert_eq!((told.reason, told.cursor), (Reason::ConsentWithdrawn, watch.cursor()));
        let list = if told.recorded_at_ms > 0 { &mut recorded } else { &mut early };
        list.extend(told.grant_ids);
    }
    assert_eq!((recorded.len(), early.len()), (1, 2));
    assert_eq!(recorded.union(&early).cloned().collect::<BTreeSet<_>>(), granted);
    // When they are recorded they come again, each with a cursor of its own.
    let before = watch.cursor();
    let again = world.drive(async move {
        let mut again = BTreeSet::new();
        while again.len() < 2 {
            let told = watch.next().await.unwrap();
            assert!(told.recorded_at_ms > 0 && told.cursor > before);
            again.extend(told.grant_ids);
        }
        again
    });
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), again).await.expect("they are recorded"), early);
    world.stop().await;
}
