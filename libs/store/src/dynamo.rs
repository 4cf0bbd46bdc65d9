//! The cloud backend: one DynamoDB table. `dynamo/row.rs` has the attributes.

mod connect;
mod failure;
mod row;
mod table;
mod transact;
mod undone;

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use clock::{Clock, Entropy};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::cursor::Place;
use crate::limits::{self, PAGE_BYTES_MAX};
use crate::{Action, Backend, Cursor, Item, Key, Page, Query, Range, StoreError};
pub use connect::{DynamoCredentials, DynamoOptions};
use failure::failed;
use row::{ALIVE, INDEX, INDEX_PARTITION, INDEX_SORT, PARTITION, SORT};

pub(crate) struct Dynamo {
    client: Client,
    options: DynamoOptions,
    clock: Clock,
    entropy: Entropy,
    turns: Arc<Semaphore>,
}

impl Dynamo {
    pub(crate) async fn connect(options: DynamoOptions, clock: Clock) -> Result<Self, StoreError> {
        options.check()?;
        let client = connect::client(&options).await;
        table::prepare(&client, &options).await?;
        let turns = Arc::new(Semaphore::new(options.in_flight_max));
        Ok(Self { client, options, clock, entropy: Entropy::system(), turns })
    }

    async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("the semaphore is never closed")
    }

    /// Reads on until the page is full: DynamoDB counts items whose time is over towards a page's limit.
    async fn list(&self, query: &Query, place: Option<Place>, in_index: bool) -> Result<Page, StoreError> {
        let now_ms = self.clock.now_ms();
        let mut start = place.map(|place| start_key(&query.partition, place));
        let mut items: Vec<Item> = Vec::new();
        let mut bytes = 0;
        for _ in 0..self.options.query_rounds_max {
            let _turn = self.turn().await;
            let wanted = i32::try_from(query.limit as usize - items.len()).unwrap_or(i32::MAX);
            let request = self
                .client
                .query()
                .table_name(&self.options.table)
                .set_index_name(in_index.then(|| INDEX.to_owned()))
                .consistent_read(!in_index)
                .scan_index_forward(!query.descending)
                .limit(wanted)
                .key_condition_expression(key_condition(query, in_index))
                .filter_expression(ALIVE)
                .set_expression_attribute_values(Some(key_values(query, now_ms)))
                .set_exclusive_start_key(start.take());
            let answer =
                request.send().await.map_err(|error| failed(&format!("listing {}", query.partition), error))?;
            for row in answer.items() {
                let item = row::decode(row)?;
                bytes += limits::item_bytes(&item);
                items.push(item);
            }
            start = answer.last_evaluated_key;
            // Fewer looked at than asked for: the round ended at DynamoDB's own 1 MB.
            let cut = answer.scanned_count < wanted || bytes >= PAGE_BYTES_MAX;
            if start.is_none() || cut || items.len() >= query.limit as usize {
                break;
            }
        }
        let next = start.map(|last| cursor(&last, in_index)).transpose()?;
        Ok(Page { items, next })
    }
}

#[async_trait::async_trait]
impl Backend for Dynamo {
    fn system(&self) -> &'static str {
        "aws.dynamodb"
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let _turn = self.turn().await;
        let answer = self
            .client
            .get_item()
            .table_name(&self.options.table)
            .set_key(Some(row::key(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed(&format!("reading {key}"), error))?;
        let item = answer.item.as_ref().map(row::decode).transpose()?;
        Ok(item.filter(|item| !item.is_expired(self.clock.now_ms())))
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.list(query, query.place(false)?, false).await
    }

    async fn query_index(&self, query: &Query) -> Result<Page, StoreError> {
        self.list(query, query.place(true)?, true).await
    }

    async fn transact(&self, actions: Vec<Action>) -> Result<(), StoreError> {
        transact::transact(self, &actions).await
    }
}

fn key_condition(query: &Query, in_index: bool) -> String {
    let (partition, sort) = if in_index { (INDEX_PARTITION, INDEX_SORT) } else { (PARTITION, SORT) };
    match &query.range {
        Range::Prefix(prefix) if !prefix.is_empty() => {
            format!("{partition} = :partition AND begins_with({sort}, :first)")
        }
        Range::Between(..) => format!("{partition} = :partition AND {sort} BETWEEN :first AND :last"),
        Range::All | Range::Prefix(_) => format!("{partition} = :partition"),
    }
}

fn key_values(query: &Query, now_ms: u64) -> HashMap<String, AttributeValue> {
    let mut values = HashMap::from([
        (":partition".to_owned(), AttributeValue::S(query.partition.clone())),
        (":now".to_owned(), AttributeValue::N(now_ms.to_string())),
    ]);
    match &query.range {
        Range::Prefix(prefix) if !prefix.is_empty() => {
            values.insert(":first".to_owned(), AttributeValue::S(prefix.clone()));
        }
        Range::Between(first, last) => {
            values.insert(":first".to_owned(), AttributeValue::S(first.clone()));
            values.insert(":last".to_owned(), AttributeValue::S(last.clone()));
        }
        Range::All | Range::Prefix(_) => {}
    }
    values
}

fn start_key(partition: &str, place: Place) -> HashMap<String, AttributeValue> {
    let Place { sort, item } = place;
    match item {
        None => row::key(&Key::new(partition, sort)),
        Some(key) => {
            let mut start = row::key(&key);
            start.extend(row::index_key(&Key::new(partition, sort)));
            start
        }
    }
}

fn cursor(last: &HashMap<String, AttributeValue>, in_index: bool) -> Result<Cursor, StoreError> {
    let key = row::key_in(last, PARTITION, SORT)?;
    if in_index {
        Ok(Cursor::after_index_key(&row::key_in(last, INDEX_PARTITION, INDEX_SORT)?, &key))
    } else {
        Ok(Cursor::after_key(&key))
    }
}
