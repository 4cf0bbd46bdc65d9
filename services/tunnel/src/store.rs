//! The tunnel service's items.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `agent#<tenant>` | agent | which tunnel the agent has, for good |
//! | `tunnel` | tunnel id | whose tunnel it is |
//! | `name` | vanity name | which tunnel holds it, and until when |
//!
//! Besides, the proof book's `proof-keys` and `proof-revoked`, and the quotas of `quotas.rs`. A name belongs to whoever's conditional write came first;
//! its holder renews it while the agent is connected, and after that it stays for the grace.

use contracts::{PeerId, TenantId, TunnelId, UserId};
use outbox::{Outbox, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{Condition, Item, Key, StoreError, StoreErrorKind};

/// Whose tunnel it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tunnel {
    pub(crate) tunnel_id: TunnelId,
    pub(crate) tenant: TenantId,
    pub(crate) owner: UserId,
    pub(crate) agent_id: PeerId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Name {
    tunnel_id: TunnelId,
    tenant: TenantId,
    owner: UserId,
    held_until_ms: u64,
}

/// What became of the wish for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Held,
    Taken,
}

/// The service's table.
#[derive(Clone)]
pub(crate) struct Tunnels {
    outbox: Outbox,
}

impl Tunnels {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    /// The agent's tunnel: the one it had before, else `fresh`. An agent keeps the owner it was first seen with.
    pub(crate) async fn of_agent(&self, fresh: Tunnel) -> Result<Tunnel, StoreError> {
        let key = Key::new(format!("agent#{}", fresh.tenant), fresh.agent_id.as_str());
        loop {
            if let Some(item) = self.outbox.store().get(&key).await? {
                return read(&item);
            }
            let mut unit = Unit::new();
            unit.put(Item::new(key.clone(), 1, text(&fresh)), Condition::Absent);
            unit.put(Item::new(by_id(fresh.tunnel_id.as_str()), 1, text(&fresh)), Condition::Absent);
            match self.outbox.commit(unit).await {
                Ok(()) => return Ok(fresh),
                // Somebody was faster, so the next read finds it.
                Err(error) if error.conflict().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether somebody has this id or name, connected or not.
    pub(crate) async fn is_known(&self, label: &str, now_ms: u64) -> Result<bool, StoreError> {
        if self.outbox.store().get(&by_id(label)).await?.is_some() {
            return Ok(true);
        }
        let Some(item) = self.outbox.store().get(&by_name(label)).await? else { return Ok(false) };
        Ok(read::<Name>(&item)?.held_until_ms > now_ms)
    }

    /// Takes or renews a name until `held_until_ms`. It is free when nobody has it, its time is over, or the same user
    /// has it already: another agent of theirs may join under the name or take it over.
    pub(crate) async fn claim(
        &self,
        name: &str,
        tunnel: &Tunnel,
        now_ms: u64,
        held_until_ms: u64,
    ) -> Result<Claim, StoreError> {
        let key = by_name(name);
        loop {
            let found = self.outbox.store().get(&key).await?;
            let (version, condition) = match &found {
                None => (1, Condition::Absent),
                Some(item) => {
                    let held = read::<Name>(item)?;
                    let theirs = (held.tenant, held.owner) == (tunnel.tenant.clone(), tunnel.owner.clone());
                    if !theirs && held.held_until_ms > now_ms {
                        return Ok(Claim::Taken);
                    }
                    (item.version + 1, Condition::Version(item.version))
                }
            };
            let name = Name {
                tunnel_id: tunnel.tunnel_id.clone(),
                tenant: tunnel.tenant.clone(),
                owner: tunnel.owner.clone(),
                held_until_ms,
            };
            let mut unit = Unit::new();
            unit.put(Item::new(key.clone(), version, text(&name)), condition);
            match self.outbox.commit(unit).await {
                Ok(()) => return Ok(Claim::Held),
                Err(error) if error.conflict().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn by_id(id: &str) -> Key {
    Key::new("tunnel", id)
}

fn by_name(name: &str) -> Key {
    Key::new("name", name)
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("ids and numbers are plain data")
}

fn read<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    serde_json::from_str(&item.body).map_err(|error| {
        StoreError::new(StoreErrorKind::Corrupt, format!("{} can't be read", item.key)).with_source(error)
    })
}
