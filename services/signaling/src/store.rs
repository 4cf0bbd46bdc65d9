//! Signaling's items.
//!
//! | partition | sort | index | what |
//! |---|---|---|---|
//! | `session#<tenant>` | session | `idle` / deadline | a live session; the index finds those with something to decide |
//! | `member#<tenant>` | `<peer>#<session>` | | finds a peer's sessions when it comes or goes |
//! | `mailbox#<tenant>` | peer | `mailbox` / when due | how much is kept for a peer; the index finds those to try again |
//! | `mail#<tenant>#<peer>` | `<number>#<signal>` | | what is kept, in order |
//!
//! Besides, the proof book's `proof-keys` and `proof-revoked`, and expired signals among the dead letters. Ended sessions
//! are removed in the transaction that publishes their end.

mod mail;

pub(crate) use mail::{Kept, Mailbox};

use contracts::{PeerId, SessionId, TenantId};
use outbox::{Outbox, Unit};
use store::{Condition, Cursor, Item, Key, Query, Range, StoreError, StoreErrorKind};

use crate::session::Session;

const IDLE: &str = "idle";

/// A session and the version of its item.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) session: Session,
    version: u64,
}

/// Signaling's table.
#[derive(Clone)]
pub(crate) struct Sessions {
    outbox: Outbox,
}

impl Sessions {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    pub(crate) async fn find(&self, tenant: &TenantId, id: &SessionId) -> Result<Option<Stored>, StoreError> {
        self.outbox.store().get(&key(tenant, id)).await?.map(|item| read(&item)).transpose()
    }

    /// The live sessions of a peer, at most `limit` a page.
    pub(crate) async fn of_peer(
        &self,
        tenant: &TenantId,
        peer: &PeerId,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<SessionId>, Option<Cursor>), StoreError> {
        let query = Query { after, ..Query::prefix(format!("member#{tenant}"), format!("{peer}#"), limit) };
        let page = self.outbox.store().query(&query).await?;
        Ok((page.items.iter().filter_map(|item| item.key.sort.split_once('#')?.1.parse().ok()).collect(), page.next))
    }

    /// Sessions whose deadline has passed at `now_ms`. The index lags: read each again before deciding.
    pub(crate) async fn due(&self, now_ms: u64, limit: u32) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
        let page = self.outbox.store().query_index(&until(IDLE, now_ms, limit)).await?;
        let owner = |key: &Key| Some((key.partition.strip_prefix("session#")?.parse().ok()?, key.sort.parse().ok()?));
        Ok(page.items.iter().filter_map(|item| owner(&item.key)).collect())
    }

    /// Adds a new session and its members to `unit`.
    pub(crate) fn create(unit: &mut Unit, tenant: &TenantId, session: &Session) {
        unit.put(item(tenant, session, 1), Condition::Absent);
        for peer in &session.peers {
            unit.put(Item::new(member(tenant, peer, &session.session_id), 1, "{}"), Condition::Any);
        }
    }

    /// Adds a session's new state to `unit`; who is no longer a member loses its place.
    pub(crate) fn update(unit: &mut Unit, tenant: &TenantId, before: &Stored, now: &Session) {
        unit.put(item(tenant, now, before.version + 1), Condition::Version(before.version));
        for gone in before.session.peers.iter().filter(|peer| !now.peers.contains(peer)) {
            unit.delete(member(tenant, gone, &now.session_id), Condition::Any);
        }
    }

    /// Adds a session's removal to `unit`.
    pub(crate) fn remove(unit: &mut Unit, tenant: &TenantId, before: &Stored) {
        let session = &before.session;
        unit.delete(key(tenant, &session.session_id), Condition::Version(before.version));
        for peer in &session.peers {
            unit.delete(member(tenant, peer, &session.session_id), Condition::Any);
        }
    }

    /// Commits; `Ok(false)` when something was changed meanwhile and the command has to decide anew.
    pub(crate) async fn commit(&self, unit: Unit) -> Result<bool, StoreError> {
        match self.outbox.commit(unit).await {
            Ok(()) => Ok(true),
            Err(error) if error.conflict().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What an index ordered by time holds until `now_ms`.
fn until(index: &str, now_ms: u64, limit: u32) -> Query {
    let range = Range::Between(format!("{:020}", 0), format!("{now_ms:020}~"));
    Query { range, ..Query::all(index, limit) }
}

fn key(tenant: &TenantId, id: &SessionId) -> Key {
    Key::new(format!("session#{tenant}"), id.as_str())
}

fn member(tenant: &TenantId, peer: &PeerId, id: &SessionId) -> Key {
    Key::new(format!("member#{tenant}"), format!("{peer}#{id}"))
}

fn item(tenant: &TenantId, session: &Session, version: u64) -> Item {
    let body = serde_json::to_string(session).expect("a session is plain data");
    let mut item = Item::new(key(tenant, &session.session_id), version, body);
    item.index = Some(Key::new(IDLE, format!("{:020}#{tenant}#{}", session.deadline_ms(), session.session_id)));
    item
}

fn read(item: &Item) -> Result<Stored, StoreError> {
    Ok(Stored { session: parse(item)?, version: item.version })
}

fn parse<T: serde::de::DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("the item at {} can't be read", item.key)).with_source(error)
    })
}
