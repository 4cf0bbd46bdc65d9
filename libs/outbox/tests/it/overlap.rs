//! What the relay does while a read is under way: the page it brings may be older than what happened since.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use outbox::Options;
use store::{Action, Backend, Item, Key, Page, Query, Store, StoreError};
use testkit::eventually;
use tokio::sync::watch;

use crate::fixture::*;
use crate::wire::Wire;

/// A store that holds back, once read, pages with a certain row until told.
struct Held {
    store: Store,
    /// The row's sort key ends with its sequence and kind.
    held: watch::Sender<Option<String>>,
    /// Pages that are or were held back.
    stopped: AtomicUsize,
    /// Rows whose deletion the relay was told of.
    deleted: AtomicUsize,
}

impl Held {
    fn new(store: &Store) -> Arc<Self> {
        let (held, _) = watch::channel(None);
        Arc::new(Self { store: store.clone(), held, stopped: AtomicUsize::new(0), deleted: AtomicUsize::new(0) })
    }

    fn hold(&self, about: &str, sequence: u64) {
        self.held.send_replace(Some(format!("{}#{sequence:020}#{NOTED}", key(about))));
    }

    async fn stopped(&self) {
        eventually(SOON, "the read", async || (self.stopped.load(Ordering::SeqCst) == 1).then_some(())).await;
    }

    fn let_go(&self) {
        self.held.send_replace(None);
    }
}

#[async_trait]
impl Backend for Held {
    fn system(&self) -> &'static str {
        self.store.backend_name()
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.store.get(key).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        let page = self.store.query(query).await?;
        let has =
            |held: &Option<String>| held.as_ref().is_some_and(|row| page.items.iter().any(|i| i.key.sort == *row));
        let mut held = self.held.subscribe();
        if has(&held.borrow()) {
            self.stopped.fetch_add(1, Ordering::SeqCst);
        }
        held.wait_for(|held| !has(held)).await.unwrap();
        Ok(page)
    }

    async fn query_index(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.query_index(query).await
    }

    async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        self.store.transact(actions).await
    }

    async fn transact_unsynced(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        let deletes = actions.iter().filter(|action| matches!(action, Action::Delete { .. })).count();
        self.store.transact_unsynced(actions).await?;
        // Whoever waits for this is told in the very same step, before anything else reaches it.
        self.deleted.fetch_add(deletes, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn a_page_read_before_a_key_landed_publishes_none_of_its_rows_again() {
    let clock = clock::Clock::system();
    let wire = Wire::new(bus(&clock));
    let world = World::on(clock, wire.bus());
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let store = Held::new(world.publisher.store());
    let watched = Store::on(Arc::clone(&store) as Arc<dyn Backend>, "held", world.clock.clone());
    // No sweep of its own: each read below is one that the test asked for.
    let options = Options { shards: Some(1), sweep_interval: SOON * 10, ..Options::default() };
    let publisher = outbox("presence", &watched, &world.bus, &world.clock, options);

    // The key is in the air: published, its confirmation held back.
    wire.hold(true);
    notes(&publisher, "peer/alice", 1..=3).await;
    let relay = Running::relay(&publisher);
    eventually(SOON, "the publish", async || (wire.published().len() == 3).then_some(())).await;

    // A page with the key's rows is read, and does not arrive.
    store.hold("peer/bob", 1);
    notes(&publisher, "peer/bob", 1..=1).await;
    store.stopped().await;

    // Meanwhile the key lands: its rows are confirmed and deleted.
    wire.hold(false);
    eventually(SOON, "the delete", async || (store.deleted.load(Ordering::SeqCst) == 3).then_some(())).await;

    // Now the old page arrives, and after it whatever the relay reads next.
    store.let_go();
    world.trace().until("peer/bob", &[1]).await;
    notes(&publisher, "peer/alice", 4..=4).await;
    world.trace().until("peer/alice", &[1, 2, 3, 4]).await;
    until_empty(&publisher).await;
    let mut published: Vec<_> = wire.published().into_iter().map(|event| (event.key, event.sequence)).collect();
    published.sort();
    let once = [("peer/alice", 1), ("peer/alice", 2), ("peer/alice", 3), ("peer/alice", 4), ("peer/bob", 1)];
    assert_eq!(published, once.map(|(about, sequence)| (key(about), sequence)), "each row was published once");
    eventually(SOON, "every delete", async || (store.deleted.load(Ordering::SeqCst) >= 5).then_some(())).await;
    relay.stop().await;
    assert_eq!(store.deleted.load(Ordering::SeqCst), 5, "and deleted once");
    consumer.stop().await;
}

#[tokio::test]
async fn rows_committed_behind_an_old_page_are_not_forgotten() {
    let clock = clock::Clock::system();
    let wire = Wire::new(bus(&clock));
    let world = World::on(clock, wire.bus());
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let store = Held::new(world.publisher.store());
    let watched = Store::on(Arc::clone(&store) as Arc<dyn Backend>, "held", world.clock.clone());
    let options = Options { shards: Some(1), sweep_interval: SOON * 10, ..Options::default() };
    let publisher = outbox("presence", &watched, &world.bus, &world.clock, options.clone());

    wire.hold(true);
    // Through another outbox, so that no wake waits for the relay: it reads once.
    notes(&outbox("presence", &watched, &world.bus, &world.clock, options.clone()), "peer/alice", 1..=3).await;
    let relay = Running::relay(&publisher);
    eventually(SOON, "the publish", async || (wire.published().len() == 3).then_some(())).await;
    // The page with the fourth row is held back until the first three are gone.
    store.hold("peer/alice", 4);
    notes(&publisher, "peer/alice", 4..=4).await;
    store.stopped().await;
    wire.hold(false);
    eventually(SOON, "the delete", async || (store.deleted.load(Ordering::SeqCst) == 3).then_some(())).await;
    // Nobody commits any more and no sweep comes: the relay itself must know that a row waits.
    store.let_go();
    world.trace().until("peer/alice", &[1, 2, 3, 4]).await;
    until_empty(&publisher).await;
    assert_eq!(wire.published().len(), 4, "each row was published once");
    relay.stop().await;
    consumer.stop().await;
}
