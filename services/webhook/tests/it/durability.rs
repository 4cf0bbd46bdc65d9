//! What was answered with 200 survives, and what could not be stored is asked for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use store::{Action, Backend, Item, Key, Page, Query, SqliteOptions, Store, StoreError, StoreErrorKind};
use tempfile::tempdir;
use testkit::eventually;

use crate::harness::{NOW_S, PATIENCE, Running, SECRET, Setup, pretty, signed, subscription_event};

#[test]
fn a_fact_that_was_not_yet_read_is_published_by_the_next_process() {
    let folder = tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // Nobody reads: the facts stay in the outbox.
        let service = Running::start(folder.path()).await;
        for number in 0..3 {
            service.post(pretty(&subscription_event(&format!("evt_{number}"), "active"))).await.ok();
        }
    });
    // No drain, no goodbye: every task ends where it stands.
    runtime.shutdown_timeout(PATIENCE);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let service = Running::start(folder.path()).await;
        let facts = service.reader().await;
        service.post(pretty(&subscription_event("evt_1", "active"))).await.ok();
        service.post(pretty(&subscription_event("evt_3", "active"))).await.ok();
        service.drained().await;
        let facts = facts.envelopes();
        assert_eq!(facts.iter().map(|fact| fact.sequence).collect::<Vec<_>>(), [1, 2, 3, 4], "evt_1 was known");
        assert_eq!(service.listed("received").await.len(), 4);
    });
}

const GOOD: u8 = 0;
const BROKEN: u8 = 1;
const STUCK: u8 = 2;

/// A store whose writes fail or hang on demand.
struct Moody {
    store: Store,
    mood: AtomicU8,
}

#[async_trait]
impl Backend for Moody {
    fn system(&self) -> &'static str {
        "sqlite"
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.store.get(key).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.query(query).await
    }

    async fn query_index(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.query_index(query).await
    }

    async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        match self.mood.load(Ordering::SeqCst) {
            BROKEN => Err(StoreError::new(StoreErrorKind::Full, "on purpose")),
            STUCK => std::future::pending().await,
            _ => self.store.transact(actions).await,
        }
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_asked_for_again() {
    let folder = tempdir().unwrap();
    // Its time is that of the service, or what is stored would have expired at once.
    let (clock, _hand) = clock::Clock::manual(NOW_S * 1_000);
    let table = Store::sqlite(SqliteOptions::at(folder.path().join("moody.db")), clock).unwrap();
    let moody = Arc::new(Moody { store: table, mood: AtomicU8::new(BROKEN) });
    let setup = Setup { store: Some(Arc::clone(&moody) as Arc<dyn Backend>), ..Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    let body = pretty(&subscription_event("evt_1", "active"));
    let answer = service.post(&body).await;
    answer.refused(503, "unavailable");
    assert!(answer.retry_after.is_some());

    moody.mood.store(STUCK, Ordering::SeqCst);
    let service = Arc::new(service);
    let posting = tokio::spawn({
        let (service, body) = (Arc::clone(&service), body.clone());
        let header = signed(SECRET, service.now_s(), body.as_bytes());
        async move { service.post_with(body, &[&header]).await }
    });
    eventually(PATIENCE, "the request to be given up", async || {
        service.hand.advance(Duration::from_millis(900));
        posting.is_finished().then_some(())
    })
    .await;
    posting.await.unwrap().refused(503, "unavailable");

    moody.mood.store(GOOD, Ordering::SeqCst);
    assert_eq!(service.event("evt_1").await, None);
    service.post(&body).await.ok();
    assert_eq!(service.event("evt_1").await.unwrap()["state"], "published");
}
