//! What goes through, and how.

use agent::{HostHeader, Options, Origin};
use futures::StreamExt;
use serde_json::Value;

use crate::harness::{World, token, world, world_with};
use crate::origin::{fnv, pattern};

async fn echoed(world: &World, request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", world.edge);
    answer.json().await.unwrap()
}

fn header<'a>(said: &'a Value, name: &str) -> &'a str {
    said["headers"][name][0].as_str().unwrap_or("")
}

#[tokio::test]
async fn a_request_reaches_the_origin_by_path_and_by_host() {
    let world = world().await;
    let agent = world.blue().await;
    assert_eq!(world.get("/").send().await.unwrap().text().await.unwrap(), "hello");
    let said = echoed(&world, world.get("/echo/a%20b//c?x=1&y=%2F")).await;
    assert_eq!(said["uri"], "/echo/a%20b//c?x=1&y=%2F");
    assert_eq!(header(&said, "x-forwarded-prefix"), "/t/blue");
    let by_host = world.http.get(format!("http://{}/echo?q", world.edge)).header("host", "blue.tunnels.test");
    let said = echoed(&world, by_host).await;
    assert_eq!((said["uri"].as_str().unwrap(), header(&said, "host")), ("/echo?q", "blue.tunnels.test"));
    assert_eq!(header(&said, "x-forwarded-prefix"), "");
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn every_method_and_status_goes_through_with_its_body() {
    let world = world().await;
    let agent = world.blue().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let request = world.http.request(method.parse().unwrap(), world.url("/echo")).body(format!("body of {method}"));
        let said = echoed(&world, request).await;
        assert_eq!(said["method"], method);
        assert_eq!(said["body"], format!("body of {method}"));
    }
    for status in [201, 204, 301, 304, 400, 404, 418, 500, 503] {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answer = client.get(world.url(&format!("/status/{status}"))).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
    let head = world.http.head(world.url("/bytes/1000")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn headers_of_one_connection_end_here_and_the_rest_goes_through() {
    let world = world().await;
    let agent = world.blue().await;
    let request = world
        .get("/echo")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("proxy-authorization", "secret")
        .header("te", "trailers")
        .header("x-kept", "yes")
        .header("x-forwarded-for", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("synapse-upgrade-method", "DELETE");
    let answer = request.send().await.unwrap();
    assert!(answer.headers().get("x-private").is_none(), "the origin named it a matter of its connection");
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let said: Value = answer.json().await.unwrap();
    assert_eq!(header(&said, "x-kept"), "yes");
    assert_eq!(header(&said, "te"), "trailers");
    assert_eq!(header(&said, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(header(&said, "x-forwarded-proto"), "http");
    assert!(header(&said, "forwarded").starts_with("for=127.0.0.1;host="), "{said}");
    assert!(!header(&said, "x-request-id").is_empty());
    for gone in ["x-hop", "proxy-authorization", "synapse-upgrade-method"] {
        assert_eq!(header(&said, gone), "", "{gone}");
    }
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn the_origin_sees_the_host_that_the_agent_wants_it_to_see() {
    let world = world().await;
    let origin = world.origin.to_string();
    for (agent_id, host, seen) in [
        ("one", HostHeader::Public, format!("{}", world.edge)),
        ("two", HostHeader::Origin, origin.clone()),
        ("three", HostHeader::Fixed("app.local".parse().unwrap()), "app.local".to_owned()),
    ] {
        let origin = Origin { host, ..Origin::try_new(&origin).unwrap() };
        let options = Options { origin, name: Some("blue".into()), ..world.options(agent_id) };
        let agent = agent::start(options).await.unwrap();
        let said = echoed(&world, world.get("/echo")).await;
        assert_eq!(header(&said, "host"), seen);
        agent.stop().await;
        world.answers("/echo", 502).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn megabytes_stream_both_ways_without_a_limit() {
    let world = world().await;
    let agent = world.blue().await;
    let length = 12 << 20;
    let want = pattern(length);
    let got = world.get(&format!("/bytes/{length}")).send().await.unwrap().bytes().await.unwrap();
    assert!(got == want, "{} bytes came back otherwise", got.len());
    let hash = fnv(0xcbf2_9ce4_8422_2325, &want);
    let chunks: Vec<_> = want.chunks(100_000).map(<[u8]>::to_vec).map(Ok::<_, std::io::Error>).collect();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let said = world.http.post(world.url("/hash")).body(body).send().await.unwrap().text().await.unwrap();
    assert_eq!(said, format!("{length} {hash:x}"));
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn events_come_as_they_are_sent() {
    let world = world().await;
    let agent = world.blue().await;
    let answer = world.get("/sse/1000").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.bytes_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.len() < 1_000, "the first event waited for {} bytes of others", first.len());
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn trailers_go_through_both_ways() {
    let world = world().await;
    let agent = world.blue().await;
    let chunked = "POST /t/blue/trailers HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
                   Trailer: x-sum\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 294\r\n\r\n";
    let answer = crate::switching::raw(world.edge, chunked).await;
    assert!(answer.contains("abc") && answer.contains("grpc-status: 0"), "{answer}");
    assert!(answer.contains("x-seen: 294"), "{answer}");
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn several_agents_of_one_name_take_turns() {
    let world = world().await;
    let one = world.blue().await;
    let two = agent::start(Options { name: Some("blue".into()), ..world.options("second") }).await.unwrap();
    let mut heard = [one.events(), two.events()];
    for _ in 0..10 {
        assert_eq!(world.get("/").send().await.unwrap().status(), 200);
    }
    for events in &mut heard {
        assert!(events.try_recv().is_ok(), "one of the two got nothing");
    }
    one.stop().await;
    two.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn who_has_no_room_is_told_when_to_come_back() {
    let world = world_with(&[("max_requests_per_agent", "2")]).await;
    let agent = world.blue().await;
    let mut events = agent.events();
    let slow: Vec<_> = (0..2).map(|_| tokio::spawn(world.get("/slow").send())).collect();
    for _ in 0..2 {
        events.recv().await.unwrap();
    }
    let answer = world.get("/").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    world.answers("/", 200).await;
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn nobody_opens_a_tunnel_without_a_token() {
    let world = world().await;
    let mut options = world.options("laptop");
    options.token = "nonsense".into();
    let error = agent::start(options).await.err().unwrap().to_string();
    assert!(error.contains("token"), "{error}");
    let mut options = world.options("laptop");
    options.token = token("ada");
    agent::start(options).await.unwrap().stop().await;
    world.stop().await;
}
