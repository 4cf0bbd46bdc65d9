use std::fmt;

/// Where an item lives: a partition and a place in that partition's order. DynamoDB's partition and sort key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Items of one partition are stored together and queried in sort order.
    pub partition: String,
    /// Orders the items of a partition by its UTF-8 bytes.
    pub sort: String,
}

impl Key {
    /// A key of those two parts. Limits (2,048 and 1,024 bytes, neither empty) are checked when it is used.
    pub fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { partition: partition.into(), sort: sort.into() }
    }
}

impl Item {
    /// Whether its time is over at `now_ms`, so that it counts as absent.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now_ms)
    }
}

impl Condition {
    /// Whether it holds where an item of this version and counter stands (`None`: none stands, or its time is over).
    pub(crate) fn holds(self, stands: Option<(u64, i64)>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => stands.is_none(),
            Self::Exists => stands.is_some(),
            Self::Version(wanted) => stands.is_some_and(|(version, _)| version == wanted),
            Self::Counter(wanted) => stands.is_some_and(|(_, counter)| counter == wanted),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.sort)
    }
}

/// One stored item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its primary key.
    pub key: Key,
    /// Its place in the table's one secondary index, if it has one. Index reads are eventually consistent.
    pub index: Option<Key>,
    /// The aggregate's version, set by whoever writes; conditions compare it.
    pub version: u64,
    /// Unix milliseconds from which on the item counts as absent (checked on read and in conditions; removed later).
    pub expires_at_ms: Option<u64>,
    /// A number that [`Action::Add`] changes without reading the item first.
    pub counter: i64,
    /// The item's content, JSON text.
    pub body: String,
}

impl Item {
    /// An item at `key` with `version` and `body`, without index, expiry or counter.
    pub fn new(key: Key, version: u64, body: impl Into<String>) -> Self {
        Self { key, index: None, version, expires_at_ms: None, counter: 0, body: body.into() }
    }
}

/// What must hold for an action to happen. An item whose time is over counts as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// No item stands at the key.
    Absent,
    /// Some item stands at the key.
    Exists,
    /// An item of exactly this version stands at the key.
    Version(u64),
    /// An item with exactly this counter stands at the key: a count that has come down to nothing can be removed without
    /// losing what is added meanwhile.
    Counter(i64),
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes the whole item, replacing what stood there.
    Put {
        /// What to write.
        item: Item,
        /// What must hold first.
        condition: Condition,
    },
    /// Adds to the item's counter; creates the item (version 0, body `{}`) where none stands and the condition allows it.
    Add {
        /// Which item.
        key: Key,
        /// Added to the counter; may be negative.
        delta: i64,
        /// What must hold first.
        condition: Condition,
    },
    /// Removes the item. Removing what is not there is no error unless the condition says so.
    Delete {
        /// Which item.
        key: Key,
        /// What must hold first.
        condition: Condition,
    },
    /// Changes nothing; the transaction fails unless the condition holds.
    Check {
        /// Which item.
        key: Key,
        /// What must hold.
        condition: Condition,
    },
}

impl Action {
    /// The key this action is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { item, .. } => &item.key,
            Self::Add { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }
}

/// A range of one partition, in sort order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which partition.
    pub partition: String,
    /// Which sort keys.
    pub range: Range,
    /// Largest first.
    pub descending: bool,
    /// Items per page, 1 to 1,000.
    pub limit: u32,
    /// Where the last page ended ([`Page::next`]).
    pub after: Option<Cursor>,
}

impl Query {
    /// All of `partition`, smallest first, `limit` items a page.
    pub fn all(partition: impl Into<String>, limit: u32) -> Self {
        Self { partition: partition.into(), range: Range::All, descending: false, limit, after: None }
    }

    /// The items of `partition` whose sort key begins with `prefix`.
    pub fn prefix(partition: impl Into<String>, prefix: impl Into<String>, limit: u32) -> Self {
        Self { range: Range::Prefix(prefix.into()), ..Self::all(partition, limit) }
    }
}

/// Sort keys of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// Every one.
    All,
    /// Those that begin with this.
    Prefix(String),
    /// From the first to the second, both included.
    Between(String, String),
}

impl Range {
    pub(crate) fn holds(&self, sort: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => sort.starts_with(prefix),
            Self::Between(first, last) => (first.as_str()..=last.as_str()).contains(&sort),
        }
    }
}

/// An opaque place in a listing; hand it back in [`Query::after`]. Safe to show to callers as a page token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) String);

/// One page of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The items, in the order asked for.
    pub items: Vec<Item>,
    /// Set while more may follow.
    pub next: Option<Cursor>,
}
