//! Where peers are is kept between signals, corrected by presence's news, and trusted no longer than their leases.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::Trail;
use contracts::events::presence::PeerStatus;
use contracts::requests::presence::PeerView;
use contracts::requests::signaling::Whereabouts;
use contracts::signals::presence::ChangedV1;

use crate::gateways::{is_quiet, next};
use crate::harness::{ACME, SOON, Setting, World, candidate, id, offer, run_with};

async fn run(test: impl AsyncFnOnce(&World)) {
    run_with(&Setting { caches: true, ..Setting::default() }, test).await;
}

impl World {
    /// What presence says of bob from now on, whoever asks.
    fn change_bob(&self, change: impl FnOnce(&mut PeerView)) -> PeerView {
        let mut peers = self.peers.lock().unwrap();
        let bob = peers.get_mut("bob").unwrap();
        change(bob);
        bob.clone()
    }

    /// Presence tells everybody.
    async fn tell(&self, peer: PeerView) {
        let sender = bus::Sender::new("presence", self.clock.clone(), clock::Entropy::system());
        let signal = ChangedV1 { peer, marks: None, before: None };
        self.bus.tell(&sender, ACME, &id(ACME), &Trail::new("test"), &signal).await.unwrap();
    }

    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn an_active_session_asks_presence_for_fewer_than_one_signal_in_five() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.send(&session, "alice", offer(1)).await.unwrap();
        // A signal each second for a minute and a half; each half minute presence renews the lease.
        for second in 0..90 {
            if second % 30 == 0 {
                let until_ms = world.clock.now_ms() + 30_000;
                world.change_bob(|bob| bob.lease_until_ms = until_ms);
            }
            world.send(&session, "alice", candidate(1)).await.unwrap();
            world.hand.advance(Duration::from_secs(1));
        }
        let (asked, sent) = (world.lookups(), 92);
        assert!(asked * 5 < sent, "{asked} of {sent} asked presence: hits must be over 80 %");
    })
    .await;
}

#[tokio::test]
async fn news_move_a_peer_at_once_and_old_news_do_not() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        let (mut old, mut new) = (world.node_of("bob").await, world.node_of("elsewhere").await);
        world.send(&session, "alice", offer(1)).await.unwrap();
        next(&mut old).await;
        let moved = world.change_bob(|bob| (bob.generation, bob.node_id) = (2, id("node-elsewhere")));
        world.tell(moved.clone()).await;
        testkit::eventually(SOON, "a signal at the new node", async || {
            world.send(&session, "alice", candidate(1)).await.unwrap();
            (!is_quiet(&mut new)).then_some(())
        })
        .await;
        // News of the connection before, late.
        let late = PeerView { generation: 1, status: PeerStatus::Offline, node_id: id("node-bob"), ..moved };
        world.tell(late).await;
        let asked = world.lookups();
        for _ in 0..20 {
            world.send(&session, "alice", candidate(1)).await.unwrap();
        }
        assert_eq!(world.lookups(), asked, "it is still kept");
    })
    .await;
}

#[tokio::test]
async fn who_goes_is_offline_at_once_and_reachable_when_it_is_back() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.send(&session, "alice", offer(1)).await.unwrap();
        let gone = world.change_bob(|bob| bob.status = PeerStatus::Offline);
        world.tell(gone).await;
        testkit::eventually(SOON, "bob to be gone", async || {
            let sent = world.send(&session, "alice", candidate(1)).await.unwrap();
            (sent.whereabouts() == Whereabouts::Queued).then_some(())
        })
        .await;
        // Nobody tells that it is back: who is gone is never kept.
        world.change_bob(|bob| (bob.status, bob.generation) = (PeerStatus::Online, 2));
        assert!(world.send(&session, "alice", candidate(1)).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn news_that_were_missed_mislead_no_longer_than_the_lease() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        let (mut old, mut new) = (world.node_of("bob").await, world.node_of("elsewhere").await);
        world.send(&session, "alice", offer(1)).await.unwrap();
        next(&mut old).await;
        world.change_bob(|bob| {
            (bob.generation, bob.node_id) = (2, id("node-elsewhere"));
            bob.lease_until_ms += 60_000;
        });
        world.hand.advance(Duration::from_secs(29));
        world.send(&session, "alice", candidate(1)).await.unwrap();
        next(&mut old).await;
        world.hand.advance(Duration::from_secs(1));
        world.send(&session, "alice", candidate(1)).await.unwrap();
        assert_eq!(next(&mut new).await.to, id("bob"));
        assert!(is_quiet(&mut old));
    })
    .await;
}

#[tokio::test]
async fn nothing_is_kept_beyond_the_longest_time() {
    run_with(&Setting { caches: true, ..Setting::of(&[("PEER_CACHE_TTL_MS", "5000")]) }, async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.send(&session, "alice", offer(1)).await.unwrap();
        let asked = world.lookups();
        world.hand.advance(Duration::from_millis(4_999));
        world.send(&session, "alice", candidate(1)).await.unwrap();
        assert_eq!(world.lookups(), asked);
        world.hand.advance(Duration::from_millis(1));
        world.send(&session, "alice", candidate(1)).await.unwrap();
        assert_eq!(world.lookups(), asked + 1);
    })
    .await;
}
