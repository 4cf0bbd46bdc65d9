//! What is exported keeps to HAR 1.2: <http://www.softwareishard.com/blog/har-12-spec/>.

use serde_json::Value;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use futures::{SinkExt, StreamExt};

use super::inspected;
use crate::origin::pattern;

/// A required field, and whether a value is of its kind.
type Field = (&'static str, fn(&Value) -> bool);

fn check(value: &Value, at: &str, fields: &[Field]) {
    for (field, is_right) in fields {
        let found = value.get(field).unwrap_or_else(|| panic!("{at}.{field} is required: {value}"));
        assert!(is_right(found), "{at}.{field} is {found}");
    }
}

fn check_pairs(list: &Value, at: &str) {
    for pair in list.as_array().unwrap() {
        check(pair, at, &[("name", Value::is_string), ("value", Value::is_string)]);
    }
}

fn check_entry(entry: &Value) {
    check(
        entry,
        "entry",
        &[
            ("startedDateTime", |time| time.as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z'))),
            ("time", Value::is_number),
            ("request", Value::is_object),
            ("response", Value::is_object),
            ("cache", Value::is_object),
            ("timings", Value::is_object),
        ],
    );
    let (request, response) = (&entry["request"], &entry["response"]);
    let both: [Field; 5] = [
        ("httpVersion", Value::is_string),
        ("cookies", Value::is_array),
        ("headers", Value::is_array),
        ("headersSize", Value::is_i64),
        ("bodySize", Value::is_i64),
    ];
    check(request, "request", &both);
    check(
        request,
        "request",
        &[
            ("method", Value::is_string),
            ("url", |url| url.as_str().is_some_and(|url| url.starts_with("http://"))),
            ("queryString", Value::is_array),
        ],
    );
    check(response, "response", &both);
    check(
        response,
        "response",
        &[("status", Value::is_u64), ("statusText", Value::is_string), ("redirectURL", Value::is_string)],
    );
    check(&response["content"], "content", &[("size", Value::is_u64), ("mimeType", Value::is_string)]);
    check(
        &entry["timings"],
        "timings",
        &[("send", Value::is_number), ("wait", Value::is_number), ("receive", Value::is_number)],
    );
    let parts: f64 = ["send", "wait", "receive"].iter().map(|part| entry["timings"][part].as_f64().unwrap()).sum();
    assert!((entry["time"].as_f64().unwrap() - parts).abs() < 0.01, "the timings' sum is the time");
    for list in
        [&request["headers"], &response["headers"], &request["queryString"], &request["cookies"], &response["cookies"]]
    {
        check_pairs(list, "pair");
    }
    if let Some(data) = request.get("postData") {
        check(data, "postData", &[("mimeType", Value::is_string), ("text", Value::is_string)]);
    }
}

#[tokio::test]
async fn all_that_is_listed_and_each_one_are_exported() {
    let page = inspected().await;
    let post = page.world.http.post(page.world.url("/echo?a=1&b")).header("cookie", "id=s3cret; b=2");
    post.header("content-type", "application/json").body("{\"n\":1}").send().await.unwrap().bytes().await.unwrap();
    page.world.get("/bytes/1000").send().await.unwrap().bytes().await.unwrap();
    let (mut socket, _) = connect_async(format!("ws://{}/t/blue/ws", page.world.edge)).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    socket.next().await.unwrap().unwrap();
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    page.ended().await;
    let har = page.json("/api/exchanges.har").await;
    check(
        &har["log"],
        "log",
        &[("version", |version| version == "1.2"), ("creator", Value::is_object), ("entries", Value::is_array)],
    );
    check(&har["log"]["creator"], "creator", &[("name", Value::is_string), ("version", Value::is_string)]);
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    entries.iter().for_each(check_entry);
    let post = &entries[0]["request"];
    assert_eq!((post["postData"]["text"].as_str(), post["bodySize"].as_u64()), (Some("{\"n\":1}"), Some(7)));
    assert_eq!(post["queryString"], serde_json::json!([{"name": "a", "value": "1"}, {"name": "b", "value": ""}]));
    assert_eq!(post["cookies"][0], serde_json::json!({"name": "id", "value": "[redacted]"}));
    let binary = &entries[1]["response"]["content"];
    assert_eq!((binary["encoding"].as_str(), binary["size"].as_u64()), (Some("base64"), Some(1_000)));
    use base64::Engine;
    let decoded = base64::engine::general_purpose::STANDARD.decode(binary["text"].as_str().unwrap()).unwrap();
    assert!(decoded == pattern(1_000));
    let messages = entries[2]["_webSocketMessages"].as_array().unwrap();
    let said: Vec<_> = messages.iter().map(|message| (message["type"].as_str(), message["data"].as_str())).collect();
    assert_eq!(said, [(Some("send"), Some("hello")), (Some("receive"), Some("hello"))]);
    let one = page.json(&format!("/api/exchanges/{}/har", entries[1]["_id"])).await;
    assert_eq!(one["log"]["entries"].as_array().unwrap(), &entries[1..2]);
    let filtered = page.json("/api/exchanges.har?method=POST").await;
    assert_eq!(filtered["log"]["entries"].as_array().unwrap().len(), 1);
    page.stop().await;
}
