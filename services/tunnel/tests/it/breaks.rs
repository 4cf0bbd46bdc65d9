//! What happens to requests when the connection between agent and edge breaks.

use std::time::Duration;

use agent::Status;
use futures::StreamExt;
use futures::future::join_all;

use crate::harness::{SOON, world, world_with};
use crate::origin::{fnv, pattern};

#[tokio::test]
async fn a_thousand_requests_survive_a_reset_each_exactly_once() {
    let world = world().await;
    let agent = world.blue().await;
    let mut events = agent.events();
    let length = 20_000;
    let want = pattern(length);
    let hash = fnv(0xcbf2_9ce4_8422_2325, &want);
    let requests = (0..1_000).map(|number| {
        let (down, up) = (world.get(&format!("/bytes/{length}")), world.http.post(world.url("/hash")));
        let want = want.clone();
        async move {
            if number % 2 == 0 {
                let got = down.send().await.unwrap().bytes().await.unwrap();
                assert!(got == want, "a download differs");
            } else {
                let said = up.body(want).send().await.unwrap().text().await.unwrap();
                assert_eq!(said, format!("{length} {hash:x}"));
            }
        }
    });
    let cutting = async {
        // In the middle of them, again and again.
        for begun in [50, 300, 600, 900] {
            let mut seen = 0;
            while seen < 100 && agent.events().is_empty() && begun > 0 {
                if events.recv().await.is_ok() {
                    seen += 1;
                }
            }
            world.proxy.sever();
        }
    };
    let ((), done) = tokio::join!(cutting, tokio::time::timeout(SOON * 2, join_all(requests)));
    done.expect("requests hang");
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_download_and_a_stream_of_events_go_on_where_they_stopped() {
    let world = world().await;
    let agent = world.blue().await;
    let length = 8 << 20;
    let want = pattern(length);
    let mut download = world.get(&format!("/bytes/{length}")).send().await.unwrap().bytes_stream();
    let mut events = world.get("/sse/200").send().await.unwrap().bytes_stream();
    let (mut got, mut heard, mut cuts) = (Vec::new(), String::new(), 0);
    while let Some(chunk) = download.next().await {
        got.extend_from_slice(&chunk.unwrap());
        if got.len() > (cuts + 1) * (1 << 20) {
            cuts += 1;
            world.proxy.sever();
        }
    }
    assert!(got == want && cuts >= 7, "{} bytes after {cuts} cuts", got.len());
    while let Some(chunk) = events.next().await {
        heard += std::str::from_utf8(&chunk.unwrap()).unwrap();
    }
    let numbers: Vec<u32> = heard.lines().filter_map(|line| line.strip_prefix("data: ")?.parse().ok()).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_upload_is_taken_once_even_if_its_connection_breaks() {
    let world = world().await;
    let agent = world.blue().await;
    let want = pattern(6 << 20);
    let hash = fnv(0xcbf2_9ce4_8422_2325, &want);
    let proxy = &world.proxy;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body =
        futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let answer = tokio::spawn(world.http.post(world.url("/hash")).body(reqwest::Body::wrap_stream(body)).send());
    for (number, chunk) in want.chunks(256 << 10).enumerate() {
        sender.send(Ok(chunk.to_vec())).await.unwrap();
        if number % 5 == 4 {
            proxy.sever();
        }
    }
    drop(sender);
    let said = answer.await.unwrap().unwrap().text().await.unwrap();
    assert_eq!(said, format!("{} {hash:x}", want.len()));
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_half_open_connection_is_found_and_replaced() {
    let world = world_with(&[("ping_every_ms", "100"), ("dead_after_ms", "300")]).await;
    let agent = world.blue().await;
    assert_eq!(world.get("/").send().await.unwrap().status(), 200);
    // Nothing gets through any more, and nobody is told.
    world.proxy.pause();
    let waiting = tokio::spawn(world.get("/echo").send());
    let mut status = agent.status();
    tokio::time::timeout(SOON, status.wait_for(|status| matches!(status, Status::Reconnecting { .. })))
        .await
        .expect("the silence was not noticed")
        .unwrap();
    world.proxy.cut();
    world.proxy.resume();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn who_does_not_come_back_in_time_loses_its_requests_with_a_clear_answer() {
    let world = world_with(&[("resume_within_ms", "1000")]).await;
    let agent = world.blue().await;
    let mut events = agent.events();
    let waiting = tokio::spawn(world.get("/slow").send());
    events.recv().await.unwrap();
    world.proxy.cut();
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.headers()["x-error-code"], "agent_lost");
    world.proxy.resume();
    world.answers("/", 200).await;
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_stopping_edge_finishes_what_it_has_and_sends_agents_elsewhere() {
    let world = world().await;
    let agent = world.blue().await;
    let mut stream = world.get("/sse/100").send().await.unwrap().bytes_stream();
    let first = stream.next().await.unwrap().unwrap();
    let mut status = agent.status();
    let (host, stopping) = (world.host.clone(), tokio::time::timeout(SOON, world.host.drain()));
    let reading = async {
        let mut heard = String::from_utf8(first.to_vec()).unwrap();
        while let Some(chunk) = stream.next().await {
            heard += std::str::from_utf8(&chunk.unwrap()).unwrap();
        }
        heard
    };
    let (heard, stopped) = tokio::join!(reading, stopping);
    stopped.expect("draining ends");
    assert!(heard.contains("data: 99\n"), "the stream was cut: {heard}");
    tokio::time::timeout(SOON, status.wait_for(|status| matches!(status, Status::Reconnecting { .. })))
        .await
        .expect("the agent was not told")
        .unwrap();
    tokio::time::timeout(Duration::from_secs(10), agent.stop()).await.expect("the agent stops without an edge");
    drop(host);
}
