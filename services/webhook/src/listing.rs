//! Which events came: by type, customer, subscription, state and time, over the store's index and never by scanning it
//! whole.

use serde::{Deserialize, Serialize};
use store::{Cursor, Item, Query, Range, StoreError};

use crate::judge::State;
use crate::record::Record;
use crate::store::{Events, Stored, stored};

/// Most index rows that one call looks at; it then says where to go on.
const ROWS_MAX: usize = 2_000;
/// Rows read at once.
const PAGE_ROWS: usize = 200;
/// Sorts after every id.
const LAST: &str = "\u{10ffff}";

/// Which events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// Stripe's type, whole: `invoice.paid`.
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    /// Stripe's customer (`cus_…`).
    #[serde(default)]
    pub(crate) customer: Option<String>,
    /// Stripe's subscription (`sub_…`).
    #[serde(default)]
    pub(crate) subscription: Option<String>,
    #[serde(default)]
    pub(crate) state: Option<Wanted>,
    /// Received at or after, Unix milliseconds.
    #[serde(default)]
    pub(crate) since_ms: Option<u64>,
    /// Received before, Unix milliseconds.
    #[serde(default)]
    pub(crate) until_ms: Option<u64>,
}

/// The states that may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// Every event.
    Received,
    Published,
    /// Those that came more than once.
    Duplicate,
    Quarantined,
    Conflict,
    Unassigned,
    Unmapped,
}

/// A page of events.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) events: Vec<Stored>,
    /// Set while more may follow.
    pub(crate) next: Option<Cursor>,
}

impl Wanted {
    fn holds(self, event: &Stored) -> bool {
        match self {
            Self::Received => true,
            Self::Duplicate => event.repeats > 0,
            Self::Published => event.record.state == State::Published,
            Self::Quarantined => event.record.state == State::Quarantined,
            Self::Conflict => event.record.state == State::Conflict,
            Self::Unassigned => event.record.state == State::Unassigned,
            Self::Unmapped => event.record.state == State::Unmapped,
        }
    }
}

impl Filter {
    /// The list that holds all of them and the fewest others.
    fn list(&self) -> String {
        let of = |list: &str, name: &Option<String>| name.as_ref().map(|name| format!("{list}#{name}"));
        let aside = match self.state {
            Some(Wanted::Quarantined) => Some("state#quarantined"),
            Some(Wanted::Conflict) => Some("state#conflict"),
            Some(Wanted::Duplicate) => Some("state#duplicate"),
            _ => None,
        };
        of("subscription", &self.subscription)
            .or_else(|| of("customer", &self.customer))
            .or_else(|| aside.map(str::to_owned))
            .or_else(|| of("type", &self.kind))
            .unwrap_or_else(|| "received".to_owned())
    }

    fn holds(&self, event: &Stored) -> bool {
        let record: &Record = &event.record;
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let since = self.since_ms.unwrap_or(0);
        is(&self.kind, &record.kind)
            && is(&self.customer, &record.customer)
            && is(&self.subscription, &record.stripe_subscription_id)
            && self.state.is_none_or(|wanted| wanted.holds(event))
            && record.received_ms >= since
            && self.until_ms.is_none_or(|until| record.received_ms < until)
    }

    fn range(&self) -> Range {
        let first = format!("{:020}", self.since_ms.unwrap_or(0));
        // An end before the start lists nothing, and is no range for the store.
        let until = self.until_ms.unwrap_or(u64::MAX).max(self.since_ms.unwrap_or(0).saturating_add(1));
        Range::Between(first, format!("{:020}#{LAST}", until - 1))
    }
}

impl Events {
    /// A page of at most `limit` events, newest first or oldest first.
    ///
    /// It may hold fewer while [`Listing::next`] says that more may follow: one call looks at 2,000 rows at most.
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        newest_first: bool,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Listing, StoreError> {
        let mut query =
            Query { partition: filter.list(), range: filter.range(), descending: newest_first, limit: 1, after };
        let (mut events, mut rows) = (Vec::new(), 0);
        loop {
            // Never more than are still wanted: the next page begins where this one ended.
            let wanted = (limit - events.len()).clamp(1, PAGE_ROWS);
            query.limit = u32::try_from(wanted).unwrap_or(1);
            let page = self.outbox.store().query_index(&query).await?;
            rows += page.items.len();
            for item in &page.items {
                events.extend(self.of_row(item).await?.filter(|event| filter.holds(event)));
            }
            query.after = page.next;
            if query.after.is_none() || events.len() >= limit || rows >= ROWS_MAX {
                return Ok(Listing { events, next: query.after });
            }
        }
    }

    /// The event that an index row stands for: the row itself where it is a head.
    async fn of_row(&self, item: &Item) -> Result<Option<Stored>, StoreError> {
        if item.key.sort == "head" {
            return stored(item).map(Some);
        }
        self.head(item.key.partition.clone()).await
    }
}
