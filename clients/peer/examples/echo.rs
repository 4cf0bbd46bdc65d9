//! A peer that sends everything back: it answers every session, native or browser, and echoes what comes over the data
//! channel. With a second peer's name it dials that one first, sends it a greeting, and echoes from there on.
//!
//! `cargo run -p peer --example echo -- ws://127.0.0.1:8080/v1/ws <token> <proof> <peer> [<dial this peer>]`
//!
//! It runs until the gateway closes the connection.

use std::error::Error;

use peer::gateway::{ConnectOptions, Event, Gateway};
use peer::webrtc::{Connection, Options};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing: <gateway> <token> <proof> <peer>"));
    let (url, token, proof, peer) = (next("gateway")?, next("token")?, next("proof")?, next("peer")?);
    let (gateway, mut events) = Gateway::connect(ConnectOptions::new(url, token, peer.parse()?, Some(proof))).await?;
    println!("{peer} is here");
    if let Ok(other) = next("peer to dial") {
        let connection = gateway.open_session(other.parse()?).await?.dial(Options::default()).await?;
        connection.send("hello".into()).await?;
        tokio::spawn(echo(connection));
    }
    while let Some(event) = events.recv().await {
        match event {
            Event::Incoming(session) => {
                tokio::spawn(async move {
                    let from = session.from().clone();
                    match session.accept(Options::default()).await {
                        Ok(connection) => echo(connection).await,
                        Err(error) => eprintln!("no channel to {from}: {error}"),
                    }
                });
            }
            Event::Closed { code, reason, .. } => {
                println!("the gateway closed the connection: {reason} ({code})");
                break;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sends back what comes until the channel ends. What can't be sent yet makes the other side wait.
async fn echo(connection: Connection) {
    while let Ok(message) = connection.recv().await {
        if let Err(error) = connection.send(message).await {
            eprintln!("the channel ended: {error}");
            return;
        }
    }
    println!("a channel was closed");
}
