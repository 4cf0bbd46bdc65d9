use contracts::{PeerId, TenantId};
use outbox::Unit;
use store::{Condition, Item, Key, Query, StoreError, limits};

use super::{Sessions, parse, until};
use crate::mailbox::{Full, Head, Mail, Rules};

const DUE: &str = "mailbox";
/// What keys and numbers of an item take besides its body, bytes; far more than they do.
const ITEM_OVERHEAD: usize = 4_096;

/// A mailbox and the version of its item; 0 where there is none.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) head: Head,
    version: u64,
}

/// A piece of mail and where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) mail: Mail,
    key: Key,
    bytes: usize,
}

impl Sessions {
    /// What is known of a peer's mailbox; an empty one where there is none.
    pub(crate) async fn mailbox(&self, tenant: &TenantId, peer: &PeerId) -> Result<Mailbox, StoreError> {
        let Some(item) = self.outbox.store().get(&head_key(tenant, peer)).await? else {
            return Ok(Mailbox { head: Head::default(), version: 0 });
        };
        Ok(Mailbox { head: parse(&item)?, version: item.version })
    }

    /// What is kept for a peer, oldest first, as many as a page holds and at most `limit`.
    pub(crate) async fn mail(&self, tenant: &TenantId, peer: &PeerId, limit: u32) -> Result<Vec<Kept>, StoreError> {
        let page = self.outbox.store().query(&Query::all(mail_partition(tenant, peer), limit)).await?;
        let kept = |item: Item| Ok(Kept { mail: parse(&item)?, bytes: item.body.len(), key: item.key });
        page.items.into_iter().map(kept).collect()
    }

    /// Mailboxes that are due at `now_ms`. The index lags: read each again before deciding.
    pub(crate) async fn due_mailboxes(&self, now_ms: u64, limit: u32) -> Result<Vec<(TenantId, PeerId)>, StoreError> {
        let page = self.outbox.store().query_index(&until(DUE, now_ms, limit)).await?;
        let owner = |key: &Key| Some((key.partition.strip_prefix("mailbox#")?.parse().ok()?, key.sort.parse().ok()?));
        Ok(page.items.iter().filter_map(|item| owner(&item.key)).collect())
    }
}

impl Sessions {
    /// Whether a piece still lies there.
    pub(crate) async fn is_kept(&self, kept: &Kept) -> Result<bool, StoreError> {
        Ok(self.outbox.store().get(&kept.key).await?.is_some())
    }

    /// Removes a mailbox in which nothing lies, unless it was changed since it was read.
    pub(crate) async fn forget_mailbox(
        &self,
        (tenant, peer): (&TenantId, &PeerId),
        mailbox: Mailbox,
    ) -> Result<(), StoreError> {
        let mut unit = Unit::new();
        unit.delete(head_key(tenant, peer), Condition::Version(mailbox.version));
        self.commit(unit).await.map(drop)
    }
}

impl Mailbox {
    /// Whether nobody wrote it in between.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.version == other.version
    }

    /// Adds a piece of mail to `unit`, behind what lies there.
    pub(crate) fn append(
        mut self,
        unit: &mut Unit,
        (tenant, peer): (&TenantId, &PeerId),
        mail: &Mail,
        rules: &Rules,
        now_ms: u64,
    ) -> Result<(), Full> {
        let body = serde_json::to_string(mail).expect("mail is plain data");
        if body.len() > limits::ITEM_BYTES_MAX - ITEM_OVERHEAD {
            return Err(Full);
        }
        let number = self.head.push(body.len(), rules, now_ms)?;
        let key = Key::new(mail_partition(tenant, peer), format!("{number:020}#{}", mail.id));
        unit.put(Item::new(key, 1, body), Condition::Absent);
        self.write(unit, (tenant, peer), now_ms);
        Ok(())
    }

    /// Adds the removal of a piece to `unit`. It names the piece, so that whoever comes late removes nothing else.
    pub(crate) fn take_out(mut self, unit: &mut Unit, (tenant, peer): (&TenantId, &PeerId), kept: &Kept, now_ms: u64) {
        self.head.pop(kept.bytes);
        self.head.attempts = 0;
        unit.delete(kept.key.clone(), Condition::Exists);
        self.write(unit, (tenant, peer), now_ms);
    }

    /// Adds the mailbox as it is now to `unit`; an empty one goes.
    pub(crate) fn write(&self, unit: &mut Unit, (tenant, peer): (&TenantId, &PeerId), now_ms: u64) {
        let key = head_key(tenant, peer);
        let condition = if self.version == 0 { Condition::Absent } else { Condition::Version(self.version) };
        if self.head.count == 0 {
            unit.delete(key, condition);
            return;
        }
        let body = serde_json::to_string(&self.head).expect("a mailbox is plain data");
        // A mailbox that went and came anew must not be taken for the one before: its versions begin with the time.
        let version = if self.version == 0 { now_ms } else { self.version + 1 };
        let mut item = Item::new(key, version, body);
        item.index = Some(Key::new(DUE, format!("{:020}#{tenant}#{peer}", self.head.due_ms)));
        unit.put(item, condition);
    }
}

fn head_key(tenant: &TenantId, peer: &PeerId) -> Key {
    Key::new(format!("mailbox#{tenant}"), peer.as_str())
}

fn mail_partition(tenant: &TenantId, peer: &PeerId) -> String {
    format!("mail#{tenant}#{peer}")
}
