//! Tests revocations that the log records only later, because recording many of them takes long. Watchers
//! receive each of these revocations twice: at once, and again when it is recorded.

use super::action::{Action, CATEGORIES};
use super::history::{History, Reply, perform};
use super::machine::Stores;
use sayso::domain::event::Reason;
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
async fn a_watch_reports_revocations_before_they_are_recorded_and_again_afterwards() {
    let mut world = History::begin(11, Stores::memory).await.world;
    let attribute = |at: usize| (format!("key-{at}"), CATEGORIES[0], format!("\"{at}\""));
    let mut granted = BTreeSet::new();
    let actions = [Action::Record(0, vec![attribute(0)]), Action::Consent(0, CATEGORIES[0], true)];
    for (number, action) in
        actions.into_iter().chain([Action::Grant(0), Action::Grant(0), Action::Grant(0)]).enumerate()
    {
        if let Reply::Granted(grant) = world.drive(perform(world.app(), action, number)).await.unwrap() {
            granted.insert(grant.id.to_string());
        }
    }
    assert_eq!(granted.len(), 3);
    let mut watch = world.app().grants.watch_revocations(&super::service(), None).unwrap();
    let withdrawal = tokio::spawn(perform(world.app(), Action::Consent(0, CATEGORIES[0], false), 9));
    while world.sequencing.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    // Write the decision and the one revocation that fits in the same write. The other two have to wait.
    world.sequencing.take(&[0]);
    let Reply::Changed(changed) = withdrawal.await.unwrap().unwrap() else { unreachable!("a decision") };
    assert_eq!(changed.revoked_grants.len(), 3);
    let (mut recorded, mut early) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..3 {
        let revocation = tokio::time::timeout(Duration::from_secs(5), watch.next());
        let revocation = revocation.await.expect("the watch reports a revocation").unwrap();
        assert_eq!((revocation.reason, revocation.cursor), (Reason::ConsentWithdrawn, watch.cursor()));
        let list = if revocation.recorded_at_ms > 0 { &mut recorded } else { &mut early };
        list.extend(revocation.grant_ids);
    }
    assert_eq!((recorded.len(), early.len()), (1, 2));
    assert_eq!(recorded.union(&early).cloned().collect::<BTreeSet<_>>(), granted);
    // The watch reports each revocation again with a new cursor, once it is recorded.
    let before = watch.cursor();
    let again = world.drive(async move {
        let mut again = BTreeSet::new();
        while again.len() < 2 {
            let revocation = watch.next().await.unwrap();
            assert!(revocation.recorded_at_ms > 0 && revocation.cursor > before);
            again.extend(revocation.grant_ids);
        }
        again
    });
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), again).await.expect("both are recorded"), early);
    world.stop().await;
}
