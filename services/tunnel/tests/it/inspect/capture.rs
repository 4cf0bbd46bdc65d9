//! What is seen of what passes, and for how long it is kept.

use agent::{InspectOptions, Inspector};
use futures::{SinkExt, StreamExt};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::{inspected, inspected_with, shown};
use crate::origin::pattern;

#[tokio::test]
async fn bodies_are_kept_byte_for_byte() {
    let page = inspected().await;
    // The echo writes up to six letters for a byte.
    let sent = pattern(150_000);
    let request = page.world.http.post(page.world.url("/echo/upload?x=1")).header("content-type", "application/x-test");
    let answer = request.body(sent.clone()).send().await.unwrap();
    let received = answer.bytes().await.unwrap();
    let exchange = page.ended().await;
    assert_eq!((exchange["method"].as_str(), exchange["path"].as_str()), (Some("POST"), Some("/echo/upload?x=1")));
    assert_eq!((exchange["status"].as_u64(), exchange["kind"].as_str()), (Some(200), Some("http")));
    assert_eq!(shown(&exchange, "request", "content-type"), ["application/x-test"]);
    assert!(page.body(&exchange, "request").await == sent, "the request's body differs");
    assert!(page.body(&exchange, "response").await == received, "the answer's body differs");
    for (side, length) in [("request", sent.len()), ("response", received.len())] {
        let body = &exchange[side]["body"];
        assert_eq!((body["bytes"].as_u64(), body["is_whole"].as_bool()), (Some(length as u64), Some(true)), "{side}");
    }
    let times = [&exchange["first_byte_ms"], &exchange["took_ms"]].map(|time| time.as_f64().unwrap());
    assert!(times[0] > 0.0 && times[1] >= times[0], "{times:?}");
    page.stop().await;
}

#[tokio::test]
async fn a_body_over_the_bound_goes_through_whole_and_is_said_to_be_cut() {
    let page = inspected_with(InspectOptions { max_body_bytes: 100_000, ..InspectOptions::default() }).await;
    let got = page.world.get("/bytes/5000000").send().await.unwrap().bytes().await.unwrap();
    assert!(got == pattern(5_000_000), "what goes through is untouched");
    let exchange = page.ended().await;
    let body = &exchange["response"]["body"];
    assert_eq!((body["bytes"].as_u64(), body["kept_bytes"].as_u64()), (Some(5_000_000), Some(100_000)));
    assert_eq!((body["is_cut"].as_bool(), body["is_whole"].as_bool()), (Some(true), Some(false)));
    assert!(page.body(&exchange, "response").await == got[..100_000]);
    page.stop().await;
}

#[tokio::test]
async fn events_of_a_stream_are_shown_while_it_streams() {
    let page = inspected().await;
    let mut stream = page.world.get("/sse/300").send().await.unwrap().bytes_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.len() < 1_000, "the first event waited for {} bytes of others", first.len());
    page.newest(|exchange| exchange["messages"].as_u64() > Some(0)).await;
    while stream.next().await.is_some() {}
    let exchange = page.ended().await;
    assert_eq!((exchange["kind"].as_str(), exchange["messages"].as_u64()), (Some("sse"), Some(300)));
    let last = &exchange["message_list"][299];
    assert_eq!((last["kind"].as_str(), last["payload"]["text"].as_str()), (Some("event"), Some("299")));
    assert_eq!(last["from_public"], false);
    page.stop().await;
}

#[tokio::test]
async fn messages_of_a_websocket_are_shown_both_ways() {
    let page = inspected().await;
    let (mut socket, _) = connect_async(format!("ws://{}/t/blue/ws", page.world.edge)).await.unwrap();
    let long = pattern(300_000);
    for message in [Message::text("hello"), Message::binary(long.clone())] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message, "what goes through is untouched");
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    let exchange = page.ended().await;
    assert_eq!((exchange["kind"].as_str(), exchange["status"].as_u64()), (Some("websocket"), Some(101)));
    let list = exchange["message_list"].as_array().unwrap();
    let seen: Vec<_> =
        list.iter().map(|message| (message["kind"].as_str().unwrap(), message["bytes"].as_u64())).collect();
    assert!(seen.iter().filter(|seen| **seen == ("text", Some(5))).count() == 2, "{seen:?}");
    assert!(seen.iter().filter(|seen| **seen == ("binary", Some(300_000))).count() == 2, "{seen:?}");
    assert!(seen.iter().any(|(kind, _)| *kind == "close"), "{seen:?}");
    let ways = [true, false]
        .map(|way| list.iter().any(|message| message["from_public"] == way && message["payload"]["text"] == "hello"));
    assert_eq!(ways, [true, true]);
    page.stop().await;
}

#[tokio::test]
async fn an_origin_that_can_t_be_asked_is_shown_with_the_reason() {
    let page = inspected().await;
    let answer = page.world.get("/status/404").send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(page.ended().await["status"], 404);
    let gone = agent::Origin::try_new("127.0.0.1:1").unwrap();
    let inspector = Inspector::start(InspectOptions { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() });
    let inspector = inspector.await.unwrap();
    let base = format!("http://{}", inspector.address());
    let options = agent::Options {
        origin: gone,
        name: Some("red".into()),
        inspector: Some(inspector),
        ..page.world.options("other")
    };
    let red = agent::start(options).await.unwrap();
    let url = format!("http://{}/t/red/", page.world.edge);
    assert_eq!(page.world.http.get(url).send().await.unwrap().status(), 502);
    let list = page.world.http.get(format!("{base}/api/exchanges")).send().await.unwrap();
    let list: serde_json::Value = list.json().await.unwrap();
    let notes = list["exchanges"][0]["notes"].to_string();
    assert!(notes.contains("refused"), "{notes}");
    red.stop().await;
    page.stop().await;
}

#[tokio::test]
async fn the_list_is_filtered_by_method_status_and_path() {
    let page = inspected().await;
    for (method, path) in
        [("GET", "/status/200"), ("POST", "/status/404"), ("GET", "/status/503"), ("GET", "/echo?a=b")]
    {
        page.world
            .http
            .request(method.parse().unwrap(), page.world.url(path))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
    }
    page.ended().await;
    for (query, paths) in [
        ("", &["/echo?a=b", "/status/503", "/status/404", "/status/200"][..]),
        ("method=POST", &["/status/404"]),
        ("status=5xx", &["/status/503"]),
        ("status=404", &["/status/404"]),
        ("path=status&method=get", &["/status/503", "/status/200"]),
        ("path=a%3Db", &["/echo?a=b"]),
        ("status=3xx", &[]),
    ] {
        let list = page.list(query).await;
        let listed: Vec<&str> = list.iter().map(|exchange| exchange["path"].as_str().unwrap()).collect();
        assert_eq!(listed, paths, "{query}");
    }
    page.stop().await;
}

#[tokio::test]
async fn the_oldest_go_when_there_is_no_more_room() {
    let options =
        InspectOptions { max_exchanges: 5, max_bytes: 400_000, max_body_bytes: 100_000, ..Default::default() };
    let page = inspected_with(options).await;
    for number in 0..8 {
        page.world.get(&format!("/echo?n={number}")).send().await.unwrap().bytes().await.unwrap();
    }
    page.ended().await;
    let list = page.list("").await;
    let listed: Vec<&str> = list.iter().map(|exchange| exchange["path"].as_str().unwrap()).collect();
    assert_eq!(listed, ["/echo?n=7", "/echo?n=6", "/echo?n=5", "/echo?n=4", "/echo?n=3"]);
    assert_eq!(page.ask("/api/exchanges/1").send().await.unwrap().status(), 404, "the first is gone");
    for _ in 0..6 {
        page.world.get("/bytes/100000").send().await.unwrap().bytes().await.unwrap();
        page.ended().await;
        let kept = page.json("/api/state").await["kept_bytes"].as_u64().unwrap();
        assert!(kept <= 400_000, "{kept} bytes are kept");
    }
    let count = page.list("").await.len();
    assert!((1..5).contains(&count), "{count} exchanges of 100,000 bytes in 400,000");
    page.stop().await;
}

#[tokio::test]
async fn changes_are_told_as_they_happen() {
    let page = inspected().await;
    let mut live = page.ask("/api/live").send().await.unwrap().bytes_stream();
    let mut heard = String::new();
    while !heard.contains("event: reset") {
        heard += std::str::from_utf8(&live.next().await.unwrap().unwrap()).unwrap();
    }
    page.world.get("/echo/told").send().await.unwrap().bytes().await.unwrap();
    while !heard.contains("/echo/told") {
        heard += std::str::from_utf8(&live.next().await.unwrap().unwrap()).unwrap();
    }
    assert!(heard.contains("event: exchanges"), "{heard}");
    drop(live);
    page.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_passed_over_and_others_than_loopback_are_refused() {
    let (one, two) = loop {
        let one = Inspector::start(InspectOptions { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() })
            .await
            .unwrap();
        let listen = one.address();
        if let Ok(two) = Inspector::start(InspectOptions { listen, ..Default::default() }).await {
            break (one, two);
        }
    };
    assert!(two.address().port() > one.address().port());
    let open = InspectOptions { listen: ([0, 0, 0, 0], 0).into(), ..Default::default() };
    assert!(Inspector::start(open).await.unwrap_err().to_string().contains("loopback"));
    let small = InspectOptions { max_bytes: 1 << 20, ..Default::default() };
    assert!(Inspector::start(small).await.unwrap_err().to_string().contains("four times"));
}
