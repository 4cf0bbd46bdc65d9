use clock::Clock;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Action, Condition, Item, Key, Store, StoreError};

use crate::stored::read;

/// The right to relay a shard. Its fencing token is the item's version: it grows with each taker, and whoever deletes
/// rows checks it, so that one who lost the lease without noticing can't.
pub(crate) struct Lease {
    store: Store,
    clock: Clock,
    key: Key,
    owner: String,
    duration: Duration,
    held: Option<Held>,
}

struct Held {
    token: u64,
    until_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Body {
    owner: String,
    until_ms: u64,
}

/// What asking for a lease came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Held, with this fencing token.
    Mine(u64),
    /// Another process holds it for about so long.
    Foreign(Duration),
}

impl Lease {
    pub(crate) fn new(store: Store, clock: Clock, key: Key, owner: String, duration: Duration) -> Self {
        Self { store, clock, key, owner, duration, held: None }
    }

    /// Takes the lease, or renews it once a third of it has passed. `lost`: what was held turned out to be gone.
    pub(crate) async fn hold(&mut self, lost: bool) -> Result<Hold, StoreError> {
        if lost {
            self.held = None;
        }
        let now_ms = self.clock.now_ms();
        if let Some(held) = &self.held {
            let token = held.token;
            if held.until_ms > now_ms.saturating_add(millis(self.duration) / 3 * 2) {
                return Ok(Hold::Mine(token));
            }
            match self.write(token, Condition::Version(token), now_ms).await {
                Err(error) if error.conflict().is_some() => self.held = None,
                renewed => return renewed.map(|()| Hold::Mine(token)),
            }
        }
        self.take(now_ms).await
    }

    async fn take(&mut self, now_ms: u64) -> Result<Hold, StoreError> {
        let (token, condition) = match self.store.get(&self.key).await? {
            None => (1, Condition::Absent),
            Some(item) => {
                let body: Body = read(&item.body)?;
                let left_ms = body.until_ms.saturating_sub(now_ms);
                // A lease of this very name is what an earlier life of this process left.
                if left_ms > 0 && body.owner != self.owner {
                    // A clock that jumped must not keep a shard locked for longer than a lease.
                    return Ok(Hold::Foreign(Duration::from_millis(left_ms).min(self.duration)));
                }
                (item.version + 1, Condition::Version(item.version))
            }
        };
        match self.write(token, condition, now_ms).await {
            Ok(()) => Ok(Hold::Mine(token)),
            Err(error) if error.conflict().is_some() => Ok(Hold::Foreign(self.duration / 3)),
            Err(error) => Err(error),
        }
    }

    /// Lets others have it at once. Best effort: it ends by itself.
    pub(crate) async fn release(&mut self) {
        if let Some(Held { token, .. }) = self.held.take() {
            let released = self.store.put(self.item(token, 0), Condition::Version(token)).await;
            if let Err(error) = released {
                tracing::debug!(%error, "a relay lease was not released; it ends by itself");
            }
        }
    }

    /// What a transaction checks to be done only by the holder of `token`.
    pub(crate) fn check(key: &Key, token: u64) -> Action {
        Action::Check { key: key.clone(), condition: Condition::Version(token) }
    }

    async fn write(&mut self, token: u64, condition: Condition, now_ms: u64) -> Result<(), StoreError> {
        let until_ms = now_ms.saturating_add(millis(self.duration));
        self.store.put(self.item(token, until_ms), condition).await?;
        self.held = Some(Held { token, until_ms });
        Ok(())
    }

    fn item(&self, token: u64, until_ms: u64) -> Item {
        let body = Body { owner: self.owner.clone(), until_ms };
        Item::new(self.key.clone(), token, serde_json::to_string(&body).expect("a lease is plain data"))
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
