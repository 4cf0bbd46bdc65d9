//! The Rust SDK against the whole fleet: messages with receipts, and coming back.

use contracts::frames::{Note, Outcome, Resumed};
use peer::gateway::{ConnectOptions, Event, Gateway};
use tokio::sync::mpsc::Receiver;

use crate::child::PATIENCE;
use crate::running::Running;

fn note(text: &str) -> Note {
    Note { action: "chat".into(), message: text.into(), session_id: None }
}

/// The text of the next message.
async fn message(events: &mut Receiver<Event>) -> String {
    let reading = async {
        loop {
            match events.recv().await {
                Some(Event::Message { note, .. }) => return note.message,
                Some(Event::Presence(_)) => {}
                other => panic!("a message was expected: {other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a message comes")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_write_to_each_other_and_one_comes_back() {
    let running = Running::start(|_, _| ()).await;
    running.point_webhooks().await;
    let url = running.url("/v1/ws").replacen("http", "ws", 1);
    let options = async |name: &str| {
        let proof = running.proof("sdk", name).await;
        ConnectOptions { acks: true, ..ConnectOptions::new(&url, running.token(), name.parse().unwrap(), Some(proof)) }
    };
    let (alice, _events) = Gateway::connect(options("alice").await).await.unwrap();
    let bobs = options("bob").await;
    let (bob, mut heard) = Gateway::connect(bobs.clone()).await.unwrap();
    assert_eq!(bob.resumed(), None);
    // Acknowledged by the SDK as soon as it is in the stream of events.
    assert_eq!(alice.message("bob".parse().unwrap(), note("one")).await.unwrap(), Outcome::Delivered);
    assert_eq!(message(&mut heard).await, "one");
    bob.refresh(Some(running.token()), bobs.proof.clone()).await.unwrap();
    let position = bob.position();
    assert_eq!(alice.message("bob".parse().unwrap(), note("two")).await.unwrap(), Outcome::Delivered);
    // The second one was never taken out: whoever stores positions stores the one before it.
    let again = ConnectOptions { resume: Some(position), ..bobs };
    let (bob, mut heard) = Gateway::connect(again).await.unwrap();
    assert_eq!(bob.resumed(), Some(Resumed::Recovered));
    assert_eq!(message(&mut heard).await, "two");
    bob.ping().await.unwrap();
    drop((alice, bob));
    running.stop().await;
}
