//! Whether the conformance suite notices: between it and a good gateway stands a proxy that drops, doubles, reorders or
//! alters what the gateway says.

use std::net::SocketAddr;

use clock::Clock;
use futures::{SinkExt, StreamExt};
use synapse::conformance::{Format, Levers, Target, run};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_hdr_async, connect_async};

use crate::conformance::fleet;

/// What happens to a text message on its way to the client: the messages that go on in its place, given the one that
/// was held back.
type Fault = fn(String, &mut Option<String>) -> Vec<String>;

/// Nothing.
fn honest(text: String, _: &mut Option<String>) -> Vec<String> {
    vec![text]
}

fn is_message(text: &str) -> bool {
    text.contains(r#""type":"message""#)
}

fn drops(text: String, _: &mut Option<String>) -> Vec<String> {
    if is_message(&text) && text.contains(r#""message":"3""#) { Vec::new() } else { vec![text] }
}

fn doubles(text: String, _: &mut Option<String>) -> Vec<String> {
    if is_message(&text) { vec![text.clone(), text] } else { vec![text] }
}

fn doubles_outcomes(text: String, _: &mut Option<String>) -> Vec<String> {
    if text.contains(r#""type":"outcome""#) { vec![text.clone(), text] } else { vec![text] }
}

fn reorders(text: String, held: &mut Option<String>) -> Vec<String> {
    if !is_message(&text) {
        return vec![text];
    }
    match held.take() {
        Some(earlier) => vec![text, earlier],
        None => {
            *held = Some(text);
            Vec::new()
        }
    }
}

fn alters(text: String, _: &mut Option<String>) -> Vec<String> {
    vec![if is_message(&text) { text.replace("gr\u{fc}\u{df}e", "gruesse") } else { text }]
}

fn forgets_to_refuse(text: String, _: &mut Option<String>) -> Vec<String> {
    vec![text.replace(r#""outcome":"refused""#, r#""outcome":"accepted""#)]
}

fn swaps_codes(text: String, _: &mut Option<String>) -> Vec<String> {
    vec![text.replace("4409", "4408")]
}

/// Plain HTTP goes through as it is; WebSockets are taken apart.
async fn proxy(upstream: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pass(stream, upstream, fault));
        }
    });
    address
}

async fn pass(mut stream: TcpStream, upstream: SocketAddr, fault: Fault) {
    let mut begin = [0; 16];
    // The request line tells which of the two it is; it comes in one piece.
    let read = stream.peek(&mut begin).await.unwrap_or(0);
    if !begin[..read].starts_with(b"GET /v1/ws ") {
        if let Ok(mut other) = TcpStream::connect(upstream).await {
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut other).await;
        }
        return;
    }
    let mut offered = None;
    #[allow(clippy::result_large_err)] // the library's own type
    let accepting = accept_hdr_async(stream, |request: &Request, mut response: Response| {
        offered = request.headers().get("sec-websocket-protocol").cloned();
        response.headers_mut().insert("sec-websocket-protocol", "synapse.v1".parse().unwrap());
        Ok(response)
    });
    let Ok(client) = accepting.await else { return };
    let mut request = format!("ws://{upstream}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", offered.unwrap());
    let Ok((server, _)) = connect_async(request).await else { return };
    let ((mut to_client, mut from_client), (mut to_server, mut from_server)) = (client.split(), server.split());
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            if to_server.send(message).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut held = None;
        while let Some(Ok(message)) = from_server.next().await {
            let messages = match message {
                Message::Text(text) => fault(text.to_string(), &mut held).into_iter().map(Message::text).collect(),
                other => vec![other],
            };
            for message in messages {
                let _ = to_client.send(message).await;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_notices_what_a_faulty_gateway_does() {
    let (running, target) = fleet().await;
    let upstream: SocketAddr = running.url("").trim_start_matches("http://").parse().unwrap();
    let faults: [(&str, Fault, &str, bool); 8] = [
        ("does nothing", honest, "M-1", true),
        ("drops a message", drops, "M-5", false),
        ("doubles messages", doubles, "M-1", false),
        ("doubles outcomes", doubles_outcomes, "O-1", false),
        ("reorders messages", reorders, "M-5", false),
        ("alters a text", alters, "M-1", false),
        ("says accepted instead of refused", forgets_to_refuse, "F-4", false),
        ("closes with another code", swaps_codes, "A-11", false),
    ];
    for (name, fault, rule, good) in faults {
        let address = proxy(upstream, fault).await;
        let url = format!("ws://{address}/v1/ws");
        let target =
            Target { url, token: target.token.clone(), papers: target.papers.clone(), levers: Levers::default() };
        let report = run(target, &Clock::system(), rule).await.unwrap();
        assert_eq!(report.ok(), good, "a proxy that {name}:\n{}", report.render(Format::Text));
    }
    running.stop().await;
}
