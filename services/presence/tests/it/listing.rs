use std::collections::BTreeSet;

use contracts::Answer;
use contracts::events::presence::OfflineReason;
use contracts::requests::presence::{DisconnectV1, ListRefusal, ListV1, PeerFilter, PeerPage};

use crate::harness::{ACME, World, id, run};

async fn page(world: &World, tenant: &str, limit: u32, after: Option<String>) -> Result<PeerPage, String> {
    match world.ask(tenant, &ListV1 { limit, after, filter: PeerFilter::default(), address: None }).await {
        Answer::Ok(page) => Ok(page),
        Answer::Refused(ListRefusal::InvalidPage { message }) => Err(message),
        other => panic!("{other:?}"),
    }
}

async fn everybody(world: &World, tenant: &str, limit: u32) -> Vec<String> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let found = page(world, tenant, limit, after).await.unwrap();
        assert!(found.peers.len() <= limit as usize);
        seen.extend(found.peers.into_iter().map(|peer| peer.peer_id.to_string()));
        match found.next {
            Some(next) => after = Some(next),
            None => return seen,
        }
    }
}

#[tokio::test]
async fn a_list_is_paged_to_its_end_by_id() {
    run(async |world| {
        let peers: Vec<String> = (0..250).map(|number| format!("peer-{number:03}")).collect();
        futures::future::join_all(peers.iter().map(|peer| world.connect(ACME, peer, "c1"))).await;
        assert_eq!(everybody(world, ACME, 100).await, peers);
        assert_eq!(everybody(world, ACME, 7).await, peers);
        assert_eq!(world.count(ACME).await, 250);
        // Who left is not listed.
        let leave = DisconnectV1 { peer_id: id("peer-100"), generation: 1, reason: OfflineReason::Left };
        world.ask(ACME, &leave).await;
        let left: BTreeSet<String> = everybody(world, ACME, 100).await.into_iter().collect();
        assert_eq!(left.len(), 249);
        assert!(!left.contains("peer-100"));
        assert_eq!(world.count(ACME).await, 249);
    })
    .await;
}

#[tokio::test]
async fn nobody_here_is_an_empty_page() {
    run(async |world| {
        assert_eq!(page(world, ACME, 1, None).await, Ok(PeerPage { peers: Vec::new(), next: None }));
    })
    .await;
}

#[tokio::test]
async fn a_limit_outside_its_range_is_refused_by_name() {
    run(async |world| {
        for limit in [0, 101, u32::MAX] {
            assert_eq!(page(world, ACME, limit, None).await, Err(format!("limit: {limit} is outside 1 to 100")));
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_token_that_is_none_of_ours_is_refused() {
    run(async |world| {
        for token in ["", "nonsense", "W10", "ä", &"A".repeat(100_000)] {
            let refused = page(world, ACME, 10, Some(token.to_owned())).await.unwrap_err();
            assert!(refused.starts_with("after: "), "{token:.20}: {refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_token_of_another_tenant_opens_nothing() {
    run(async |world| {
        for peer in ["alice", "bob"] {
            world.connect(ACME, peer, "c1").await;
            world.connect("umbrella", peer, "c1").await;
        }
        let token = page(world, "umbrella", 1, None).await.unwrap().next.unwrap();
        let refused = page(world, ACME, 1, Some(token)).await.unwrap_err();
        assert!(refused.starts_with("after: "), "{refused}");
        assert!(!refused.contains("umbrella"), "{refused}");
    })
    .await;
}
