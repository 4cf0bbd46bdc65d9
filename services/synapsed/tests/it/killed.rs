//! Two replicas of everything on NATS and DynamoDB, and one of them is killed.

use std::collections::BTreeMap;

use clock::Clock;
use contracts::events::presence::PeerStatus;
use contracts::requests::presence::PeerCounts;
use peer::gateway::{ConnectOptions, Event, Gateway};
use synapsed::fleet::Overrides;
use testkit::eventually;
use testkit::servers::{Dynoxide, Nats, NatsVersion};
use tokio::sync::mpsc::Receiver;

use crate::child::{Child, PATIENCE, folder};
use crate::running::{Running, set};

const LEASE_MS: u64 = 3_000;

/// What others have heard of a peer, in order.
type Heard = BTreeMap<String, Vec<PeerStatus>>;

/// Takes in what has come until now.
fn take_in(events: &mut Receiver<Event>, heard: &mut Heard) {
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Presence(peer) => heard.entry(peer.peer_id.to_string()).or_default().push(peer.status),
            Event::Closed { code, reason, .. } => panic!("the watcher was closed: {code} {reason}"),
            _ => {}
        }
    }
}

async fn connect(url: &str, running: &Running, name: &str) -> (Gateway, Receiver<Event>) {
    let proof = running.proof("killed", name).await;
    let options = ConnectOptions::new(url, running.token(), name.parse().unwrap(), Some(proof));
    Gateway::connect(options).await.unwrap()
}

async fn counts(running: &Running) -> PeerCounts {
    let asked = running.http.get(running.url("/v1/presence")).bearer_auth(running.token()).send();
    asked.await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_a_killed_replica_go_offline_and_others_hear_of_each_once() {
    let servers = tokio::task::spawn_blocking(|| (Nats::start(NatsVersion::V2_15_1), Dynoxide::start()));
    let (nats, dynoxide) = servers.await.unwrap();
    let mut settings = Overrides::new();
    let running = Running::start(|overrides, _| {
        set(overrides, "PLATFORM__BUS", &nats.url());
        set(overrides, "PLATFORM__STORE", &dynoxide.url().replacen("http://", "dynamodb://", 1));
        set(overrides, "PLATFORM__CREATE_RESOURCES", "true");
        set(overrides, "PRESENCE__LEASE_MS", &LEASE_MS.to_string());
        set(overrides, "GATEWAY__PRESENCE_BEAT_MS", "500");
        settings.clone_from(overrides);
    })
    .await;
    running.point_webhooks().await;
    let variables: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.trim_start_matches("SYNAPSE_"), value.as_str())).collect();
    let folder = folder();
    let mut child = Child::start(folder.path(), &["serve"], &variables);
    child.until_printed("synapsed serves at http://");
    let address = child.told("synapsed serves at http://");
    let there = format!("ws://{}/v1/ws", address.trim_end_matches(','));
    let here = running.url("/v1/ws").replacen("http", "ws", 1);

    let (_watcher, mut events) = connect(&here, &running, "watcher").await;
    let names = ["ann", "ben", "cat", "dan", "eve"];
    let mut held = Vec::new();
    for name in names {
        held.push(connect(&there, &running, name).await);
    }
    // One that is here stays, whatever happens there.
    let _stays = connect(&here, &running, "stays").await;
    let mut heard = Heard::new();
    eventually(PATIENCE, "everybody to be here", async || {
        take_in(&mut events, &mut heard);
        let counts = counts(&running).await;
        if heard.len() == names.len() + 1 && counts.here == 7 { Ok(()) } else { Err(format!("{counts:?} {heard:?}")) }
    })
    .await;

    let clock = Clock::system();
    child.kill();
    let killed = clock.monotonic();
    eventually(PATIENCE, "the peers of the killed replica to be gone", async || {
        take_in(&mut events, &mut heard);
        let gone = names.iter().all(|name| heard[*name].contains(&PeerStatus::Offline));
        if gone { Ok(()) } else { Err(format!("{heard:?}")) }
    })
    .await;
    println!("gone {:?} after the kill; a lease is {LEASE_MS} ms", clock.monotonic().saturating_sub(killed));
    eventually(PATIENCE, "the counts to follow", async || {
        let counts = counts(&running).await;
        if counts.here == 2 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    // Two more leases: what would come twice or come back would have come.
    let until = clock.monotonic() + std::time::Duration::from_millis(2 * LEASE_MS);
    eventually(PATIENCE, "two leases to pass", async || (clock.monotonic() >= until).then_some(())).await;
    take_in(&mut events, &mut heard);
    for name in names {
        assert_eq!(heard[name], [PeerStatus::Online, PeerStatus::Offline], "{name}");
    }
    assert_eq!(heard["stays"], [PeerStatus::Online]);
    drop(held);
    running.stop().await;
}
