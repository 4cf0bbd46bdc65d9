use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveStatus,
};
use clock::Clock;
use store::{Condition, DynamoOptions, Item, Key, Store, StoreError, StoreErrorKind};
use testkit::servers::Dynoxide;

async fn open(options: DynamoOptions) -> Result<Store, StoreError> {
    Store::dynamo(options, Clock::system()).await
}

fn client(server: &Dynoxide) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(server.url())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("emulator", "emulator", None, None, "fixed"))
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn a_missing_table_is_refused_unless_it_may_be_made() {
    let server = Dynoxide::start();
    let options = DynamoOptions { create_table: false, ..DynamoOptions::emulator(server.url(), "things") };
    let error = open(options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("things") && error.to_string().contains("create_table"), "{error}");
    open(DynamoOptions { create_table: true, ..options.clone() }).await.unwrap();
    let store = open(options).await.unwrap();
    assert_eq!((store.backend_name(), store.name()), ("aws.dynamodb", "dynamodb things"));
}

#[tokio::test]
async fn a_made_table_removes_expired_items_by_itself() {
    let server = Dynoxide::start();
    open(DynamoOptions::emulator(server.url(), "things")).await.unwrap();
    let found = client(&server).describe_time_to_live().table_name("things").send().await.unwrap();
    let found = found.time_to_live_description.unwrap();
    assert_eq!(found.attribute_name(), Some("ttl_s"));
    assert_eq!(found.time_to_live_status(), Some(&TimeToLiveStatus::Enabled));
}

#[tokio::test]
async fn two_that_make_the_table_at_once_both_get_it() {
    let server = Dynoxide::start();
    let opening = (0..8).map(|_| open(DynamoOptions::emulator(server.url(), "things")));
    for store in futures::future::join_all(opening).await {
        store.unwrap();
    }
}

#[tokio::test]
async fn a_table_of_another_shape_is_refused() {
    let server = Dynoxide::start();
    let element = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let request = client(&server).create_table().table_name("things").billing_mode(BillingMode::PayPerRequest);
    let request = request.key_schema(element).attribute_definitions(attribute.build().unwrap());
    request.send().await.unwrap();
    let error = open(DynamoOptions::emulator(server.url(), "things")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().contains("pk (hash), sk (range)"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_until_it_is_back() {
    let mut server = Dynoxide::start();
    let options = DynamoOptions { attempts_max: 2, ..DynamoOptions::emulator(server.url(), "things") };
    let store = open(options.clone()).await.unwrap();
    let item = Item::new(Key::new("p", "s"), 1, "{}");
    store.put(item.clone(), Condition::Absent).await.unwrap();
    server.kill9();
    let read = store.get(&item.key).await.unwrap_err();
    let write = store.put(item.clone(), Condition::Any).await.unwrap_err();
    let opened = open(options).await.unwrap_err();
    for error in [read, write, opened] {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable());
    }
    server.restart();
    testkit::eventually(Duration::from_secs(20), "the table", async || store.get(&item.key).await).await;
    assert_eq!(store.get(&item.key).await.unwrap(), Some(item), "what was acknowledged before the kill");
}

#[tokio::test]
async fn options_out_of_range_are_refused_by_name() {
    let at = || DynamoOptions::emulator("http://127.0.0.1:1", "things");
    let cases = [
        ("table", DynamoOptions { table: "a/b".to_owned(), ..at() }),
        ("endpoint", DynamoOptions { endpoint: Some("localhost:8000".to_owned()), ..at() }),
        ("attempts_max", DynamoOptions { attempts_max: 0, ..at() }),
        ("timeout_ms", DynamoOptions { timeout_ms: 1, ..at() }),
        ("contended_attempts_max", DynamoOptions { contended_attempts_max: 0, ..at() }),
        ("query_rounds_max", DynamoOptions { query_rounds_max: 0, ..at() }),
        ("in_flight_max", DynamoOptions { in_flight_max: 0, ..at() }),
    ];
    for (field, options) in cases {
        let error = open(options).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        assert!(error.to_string().contains(&format!("{field}: ")), "{error}");
    }
}
