use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};
use clock::Clock;

use super::DynamoOptions;
use super::failure::failed;
use super::row::{INDEX, INDEX_PARTITION, INDEX_SORT, PARTITION, SORT, TTL};
use crate::{StoreError, StoreErrorKind};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Makes the table where the options say so, and refuses one of another shape.
pub(super) async fn prepare(client: &Client, options: &DynamoOptions) -> Result<(), StoreError> {
    let table = match describe(client, options).await? {
        Some(table) => table,
        None if options.create_table => {
            create(client, options).await?;
            wait(client, options).await?
        }
        None => {
            let detail = format!("table {}: it is missing; create it, or set create_table", options.table);
            return Err(StoreError::new(StoreErrorKind::Unavailable, detail));
        }
    };
    let table = if is_ready(&table) { table } else { wait(client, options).await? };
    check(&table, options)?;
    time_to_live(client, options).await
}

async fn describe(client: &Client, options: &DynamoOptions) -> Result<Option<TableDescription>, StoreError> {
    match client.describe_table().table_name(&options.table).send().await {
        Ok(answer) => Ok(answer.table),
        Err(SdkError::ServiceError(error))
            if matches!(error.err(), DescribeTableError::ResourceNotFoundException(_)) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(&format!("looking up table {}", options.table), error)),
    }
}

async fn create(client: &Client, options: &DynamoOptions) -> Result<(), StoreError> {
    let doing = format!("creating table {}", options.table);
    let built = |error: BuildError| StoreError::new(StoreErrorKind::Invalid, doing.clone()).with_source(error);
    let projection = Projection::builder().projection_type(ProjectionType::All).build();
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .set_key_schema(Some(key_schema(INDEX_PARTITION, INDEX_SORT).map_err(built)?))
        .projection(projection)
        .build()
        .map_err(built)?;
    let mut request = client
        .create_table()
        .table_name(&options.table)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema(PARTITION, SORT).map_err(built)?))
        .global_secondary_indexes(index);
    for name in [PARTITION, SORT, INDEX_PARTITION, INDEX_SORT] {
        let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        request = request.attribute_definitions(attribute.build().map_err(built)?);
    }
    match request.send().await {
        Ok(_) => Ok(()),
        // Another process was faster.
        Err(SdkError::ServiceError(error)) if matches!(error.err(), CreateTableError::ResourceInUseException(_)) => {
            Ok(())
        }
        Err(error) => Err(failed(&doing, error)),
    }
}

fn key_schema(partition: &str, sort: &str) -> Result<Vec<KeySchemaElement>, BuildError> {
    [(partition, KeyType::Hash), (sort, KeyType::Range)]
        .into_iter()
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build())
        .collect()
}

async fn wait(client: &Client, options: &DynamoOptions) -> Result<TableDescription, StoreError> {
    let ready = async {
        loop {
            if let Some(table) = describe(client, options).await?.filter(is_ready) {
                return Ok(table);
            }
            // Real time whatever the store's clock says: a real server is being waited for.
            Clock::system().sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(options.create_timeout_ms), ready).await.unwrap_or_else(|_| {
        let detail = format!("table {}: not usable within {} ms; look at it", options.table, options.create_timeout_ms);
        Err(StoreError::new(StoreErrorKind::Unavailable, detail))
    })
}

fn is_ready(table: &TableDescription) -> bool {
    let usable = |status: Option<&TableStatus>| matches!(status, Some(TableStatus::Active | TableStatus::Updating));
    usable(table.table_status())
        && table
            .global_secondary_indexes()
            .iter()
            .all(|index| matches!(index.index_status(), None | Some(IndexStatus::Active | IndexStatus::Updating)))
}

fn check(table: &TableDescription, options: &DynamoOptions) -> Result<(), StoreError> {
    let refused = |rule: String| {
        let detail = format!("table {}: {rule}; see the README of libs/store", options.table);
        Err(StoreError::new(StoreErrorKind::Invalid, detail))
    };
    let is = |schema: &[KeySchemaElement], partition: &str, sort: &str| {
        let has = |name: &str, kind: KeyType| {
            schema.iter().any(|element| element.attribute_name() == name && *element.key_type() == kind)
        };
        schema.len() == 2 && has(partition, KeyType::Hash) && has(sort, KeyType::Range)
    };
    if !is(table.key_schema(), PARTITION, SORT) {
        return refused(format!("its key is not {PARTITION} (hash), {SORT} (range)"));
    }
    let index = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(INDEX));
    let Some(index) = index else { return refused(format!("it has no index {INDEX}")) };
    if !is(index.key_schema(), INDEX_PARTITION, INDEX_SORT) {
        return refused(format!("the key of {INDEX} is not {INDEX_PARTITION} (hash), {INDEX_SORT} (range)"));
    }
    let projection = index.projection().and_then(Projection::projection_type);
    if projection.is_some_and(|projection| *projection != ProjectionType::All) {
        return refused(format!("{INDEX} does not project all attributes"));
    }
    Ok(())
}

/// Expiry is checked on every read, so without this nothing goes wrong but the table grows.
async fn time_to_live(client: &Client, options: &DynamoOptions) -> Result<(), StoreError> {
    let doing = format!("looking up the time to live of table {}", options.table);
    let answer = client.describe_time_to_live().table_name(&options.table).send().await;
    let answer = answer.map_err(|error| failed(&doing, error))?;
    let found = answer.time_to_live_description;
    let status = found.as_ref().and_then(|found| found.time_to_live_status());
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        let attribute = found.as_ref().and_then(|found| found.attribute_name());
        if attribute.is_some_and(|attribute| attribute != TTL) {
            tracing::warn!(table = options.table, ?attribute, "time to live is set on another attribute than {TTL}");
        }
        return Ok(());
    }
    if !options.create_table {
        tracing::warn!(table = options.table, "time to live is not set on {TTL}; expired items are never removed");
        return Ok(());
    }
    let doing = format!("setting the time to live of table {}", options.table);
    let wanted = TimeToLiveSpecification::builder().attribute_name(TTL).enabled(true).build();
    let wanted = wanted.map_err(|error| StoreError::new(StoreErrorKind::Invalid, doing.clone()).with_source(error))?;
    let set = client.update_time_to_live().table_name(&options.table).time_to_live_specification(wanted);
    set.send().await.map(|_| ()).map_err(|error| failed(&doing, error))
}
