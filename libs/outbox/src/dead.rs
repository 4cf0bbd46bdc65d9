use std::sync::Arc;

use store::{Action, Condition, Cursor, Item, Query, Range, StoreError, StoreErrorKind, limits};

use crate::inbox::{Entry, State};
use crate::lease::millis;
use crate::letter::{DeadLetter, Marker, Standing};
use crate::outbox::Core;
use crate::{ConsumeOptions, keys};

/// Letters of one key that a plan shows.
const SHOWN_MAX: u32 = 1_000;
/// Keys that one call marks.
const KEYS_MAX: usize = 1_000;
/// How often a change is tried anew because letters came or went meanwhile.
const RETRIES: u32 = 20;

/// The events a service could not handle, in its own store. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    core: Arc<Core>,
}

/// A page of dead letters, oldest first.
#[derive(Clone, Debug)]
pub struct Letters {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Set while more may follow.
    pub next: Option<Cursor>,
}

/// Which dead letters to redrive. Always whole keys from their first letter on, because order holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every key.
    All,
    /// The key that this letter belongs to.
    Letter(String),
    /// This key.
    Key {
        /// Whose events: `/synapse/presence`.
        source: String,
        /// The ordering key: `acme/peer/alice`.
        key: String,
    },
}

/// What a redrive does (or would do): each key's letters are handled again in this order by the running consumer. A
/// letter that fails again stops its key there.
#[derive(Clone, Debug)]
pub struct Redrive {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The keys and their letters.
    pub keys: Vec<RedriveKey>,
    /// What was asked for and can't be redriven: letter id and why.
    pub refused: Vec<(String, String)>,
    /// More than 1,000 keys wait: call again.
    pub more: bool,
}

/// One key of a redrive.
#[derive(Clone, Debug)]
pub struct RedriveKey {
    /// Whose events.
    pub source: String,
    /// The ordering key.
    pub key: String,
    /// Its letters in the order they will be handled, the first 1,000.
    pub letters: Vec<DeadLetter>,
    /// How many there are.
    pub total: u64,
}

impl DeadLetters {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Up to `limit` (1 to 1,000) letters, oldest first, from `after` on. The list is eventually consistent.
    ///
    /// # Errors
    /// The store's; `Invalid` for a limit or cursor that is none.
    pub async fn list(&self, after: Option<Cursor>, limit: u32) -> Result<Letters, StoreError> {
        let query = Query { after, ..Query::all(keys::DEAD, limit) };
        let page = self.core.store.query_index(&query).await?;
        let letters = page.items.iter().map(DeadLetter::read).collect::<Result<_, _>>()?;
        Ok(Letters { letters, next: page.next })
    }

    /// The letter of this id; `None` where there is none (any more).
    ///
    /// # Errors
    /// The store's.
    pub async fn show(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        self.find(id).await?.map(|item| DeadLetter::read(&item)).transpose()
    }

    /// Has the letters of the selected keys handled again, in order, by the running consumer (of any process of the
    /// service; at once by one in this process). With `dry_run` it only says which.
    ///
    /// # Errors
    /// The store's. What was marked before the error stays marked.
    pub async fn redrive(&self, selection: Selection, dry_run: bool) -> Result<Redrive, StoreError> {
        let mut redrive = Redrive { dry_run, keys: Vec::new(), refused: Vec::new(), more: false };
        for lane in self.select(selection, &mut redrive).await? {
            let standing = if dry_run { self.standing(&lane).await? } else { self.mark(&lane).await? };
            let Some(Standing { marker, .. }) = standing else { continue };
            let page = self.core.store.query(&Query::prefix(keys::parked(&lane), "letter#", SHOWN_MAX)).await?;
            let letters = page.items.iter().map(DeadLetter::read).collect::<Result<_, _>>()?;
            redrive.keys.push(RedriveKey { source: marker.source, key: marker.key, letters, total: marker.letters });
        }
        if !dry_run {
            self.core.redrive.notify_one();
        }
        Ok(redrive)
    }

    /// Gives a letter up: it is never handled. If others waited behind it, they are handled now. Says whether there was
    /// such a letter. `reason` is logged and kept in the event's record.
    ///
    /// # Errors
    /// The store's; `Contended` while letters of its key keep coming.
    pub async fn drop(&self, id: &str, reason: &str) -> Result<bool, StoreError> {
        for _ in 0..RETRIES {
            let Some(item) = self.find(id).await? else { return Ok(false) };
            let letter = DeadLetter::read(&item)?;
            let gone = Action::Delete { key: item.key.clone(), condition: Condition::Version(item.version) };
            let mut actions = vec![gone];
            if let (true, Some(envelope)) = (letter.reason.is_in_order(), &letter.envelope) {
                let lane = keys::lane(&envelope.source, &envelope.key);
                let Some(standing) = self.standing(&lane).await? else { continue };
                let left = standing.marker.letters.saturating_sub(1);
                let redriving = standing.marker.redriving || standing.marker.blocking == letter.id;
                actions.push(standing.replace(Marker { letters: left, redriving, ..standing.marker.clone() }));
                let mut entry = Entry::new(&self.core.service, envelope);
                entry.load(&self.core.store).await?;
                let record = entry.record(State::Dropped, letter.attempts, reason.to_owned());
                let retention = ConsumeOptions::default().inbox_retention;
                actions.push(entry.put(&record, self.core.clock.now_ms().saturating_add(millis(retention))));
            }
            match self.core.store.transact(actions).await {
                Ok(()) => {
                    tracing::warn!(letter = id, reason, "a dead letter was dropped");
                    self.core.redrive.notify_one();
                    return Ok(true);
                }
                // It is being redriven, or others came behind it.
                Err(error) if error.conflict().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Err(contended(id))
    }

    async fn find(&self, id: &str) -> Result<Option<Item>, StoreError> {
        if id.is_empty() || id.len() > limits::SORT_BYTES_MAX {
            return Ok(None);
        }
        let range = Range::Between(id.to_owned(), id.to_owned());
        let query = Query { range, ..Query::all(keys::DEAD, 1) };
        match self.core.store.query_index(&query).await?.items.pop() {
            // The index may lag behind.
            Some(item) => self.core.store.get(&item.key).await,
            None => Ok(None),
        }
    }

    async fn select(&self, selection: Selection, redrive: &mut Redrive) -> Result<Vec<String>, StoreError> {
        match selection {
            Selection::Key { source, key } => Ok(vec![keys::lane(&source, &key)]),
            Selection::Letter(id) => {
                let why = match self.show(&id).await? {
                    None => "there is no such letter".to_owned(),
                    Some(DeadLetter { envelope: Some(envelope), reason, .. }) if reason.is_in_order() => {
                        return Ok(vec![keys::lane(&envelope.source, &envelope.key)]);
                    }
                    Some(letter) => format!("{} letters can only be dropped", letter.reason.name()),
                };
                redrive.refused.push((id, why));
                Ok(Vec::new())
            }
            Selection::All => {
                let standing = standing_lanes(&self.core).await?;
                redrive.more = standing.len() > KEYS_MAX;
                Ok(standing.into_iter().take(KEYS_MAX).map(|standing| standing.lane).collect())
            }
        }
    }

    async fn standing(&self, lane: &str) -> Result<Option<Standing>, StoreError> {
        let item = self.core.store.get(&keys::marker(lane)).await?;
        item.map(|item| Standing::read(lane, &item)).transpose()
    }

    async fn mark(&self, lane: &str) -> Result<Option<Standing>, StoreError> {
        for _ in 0..RETRIES {
            let Some(standing) = self.standing(lane).await? else { return Ok(None) };
            if standing.marker.redriving {
                return Ok(Some(standing));
            }
            let marker = Marker { redriving: true, ..standing.marker.clone() };
            match self.core.store.transact(vec![standing.replace(marker)]).await {
                Ok(()) => return Ok(Some(standing)),
                Err(error) if error.conflict().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Err(contended(lane))
    }
}

fn contended(what: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Contended, format!("{what}: letters of its key keep changing; try again"))
}

async fn standing_lanes(core: &Core) -> Result<Vec<Standing>, StoreError> {
    let mut query = Query::all(keys::PARKED, limits::PAGE_ITEMS_MAX);
    let mut found = Vec::new();
    loop {
        let page = core.store.query_index(&query).await?;
        for item in &page.items {
            let lane = item.key.partition.strip_prefix("parked#").unwrap_or(&item.key.partition);
            found.push(Standing::read(lane, item)?);
        }
        query.after = page.next;
        if query.after.is_none() || found.len() > KEYS_MAX {
            return Ok(found);
        }
    }
}

/// The lanes that somebody marked for redriving.
pub(crate) async fn redriving_lanes(core: &Core) -> Vec<String> {
    match standing_lanes(core).await {
        Ok(standing) => standing.into_iter().filter(|s| s.marker.redriving).map(|s| s.lane).collect(),
        Err(error) => {
            tracing::warn!(%error, "parked keys can't be listed; tried again");
            Vec::new()
        }
    }
}
