//! How many peers may be here under one subscription.

use bus::Trail;
use contracts::events::presence::OfflineReason;
use contracts::requests::presence::{ConnectRefusal, ConnectV1, DisconnectV1};
use contracts::{Answer, Failure};
use tokio::task::JoinSet;

use crate::harness::{ACME, SOON, World, connect, id, run};

fn under(subscription: &str, peer: &str, limit: u64) -> ConnectV1 {
    let connection = format!("c-{peer}-{subscription}");
    ConnectV1 { subscription_id: id(subscription), max_peers: Some(limit), ..connect(peer, &connection) }
}

async fn enters(world: &World, ask: &ConnectV1) -> Result<u64, ConnectRefusal> {
    match world.ask(ACME, ask).await {
        Answer::Ok(connected) => Ok(connected.generation),
        Answer::Refused(refusal) => Err(refusal),
        Answer::Failed(failure) => panic!("{failure:?}"),
    }
}

async fn leaves(world: &World, peer: &str, generation: u64) {
    let ask = DisconnectV1 { peer_id: id(peer), generation, reason: OfflineReason::Left };
    assert!(matches!(world.ask(ACME, &ask).await, Answer::Ok(_)));
}

const FULL: Result<u64, ConnectRefusal> = Err(ConnectRefusal::TooManyPeers { limit: 2 });

#[tokio::test]
async fn one_too_many_is_refused_until_one_leaves() {
    run(async |world| {
        assert_eq!(enters(world, &under("sub-1", "a", 2)).await, Ok(1));
        assert_eq!(enters(world, &under("sub-1", "b", 2)).await, Ok(1));
        assert_eq!(enters(world, &under("sub-1", "c", 2)).await, FULL);
        assert_eq!(enters(world, &under("sub-2", "c", 2)).await, Ok(1), "another subscription has its own places");
        assert_eq!(enters(world, &ConnectV1 { connection_id: id("again"), ..under("sub-1", "a", 2) }).await, Ok(2));
        leaves(world, "a", 1).await;
        assert_eq!(enters(world, &under("sub-1", "d", 2)).await, FULL, "an older connection's leave frees nothing");
        leaves(world, "a", 2).await;
        assert_eq!(enters(world, &under("sub-1", "d", 2)).await, Ok(1));
        assert_eq!(enters(world, &under("sub-1", "e", 3)).await, Ok(1), "the plan grew");
        assert_eq!(enters(world, &under("sub-1", "f", 2)).await, FULL, "and shrank: who is here stays");
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_changes_its_subscription_takes_its_place_along() {
    run(async |world| {
        assert_eq!(enters(world, &under("sub-1", "a", 2)).await, Ok(1));
        assert_eq!(enters(world, &under("sub-1", "b", 2)).await, Ok(1));
        assert_eq!(enters(world, &under("sub-2", "a", 2)).await, Ok(2));
        assert_eq!(enters(world, &under("sub-1", "c", 2)).await, Ok(1));
        assert_eq!(enters(world, &under("sub-1", "a", 2)).await, FULL, "and can't come back to a full one");
        assert_eq!(enters(world, &under("sub-2", "d", 2)).await, Ok(1));
        assert_eq!(enters(world, &under("sub-2", "e", 2)).await, FULL);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_fill_the_places_exactly() {
    run(async |world| {
        for limit in [1, 7, 30] {
            let subscription = format!("sub-of-{limit}");
            let mut asking = JoinSet::new();
            for n in 0..100 {
                let ask = under(&subscription, &format!("p-{limit}-{n}"), limit);
                let (bus, sender) = (world.bus.clone(), world.sender.clone());
                asking.spawn(async move {
                    let (tenant, trail) = (id(ACME), Trail::new("race"));
                    loop {
                        match bus.ask(&sender, &tenant, &trail, &ask, SOON).await.unwrap() {
                            // Too many at once: the asker tries again, as the failure says.
                            Answer::Failed(Failure { retryable: true, .. }) => {}
                            answer => return answer,
                        }
                    }
                });
            }
            let answers = asking.join_all().await;
            let entered = answers.iter().filter(|answer| matches!(answer, Answer::Ok(_))).count();
            let refused = ConnectRefusal::TooManyPeers { limit };
            let full = answers.iter().filter(|answer| **answer == Answer::Refused(refused.clone())).count();
            assert_eq!((entered, full), (usize::try_from(limit).unwrap(), 100 - usize::try_from(limit).unwrap()));
        }
    })
    .await;
}
