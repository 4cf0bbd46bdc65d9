//! Time to open and throughput of a data channel on loopback: `cargo run --release -p peer --example throughput
//! [MiB] [send buffer in KiB]`.

use peer::webrtc::{Connection, Error, Event, Options};
use tokio::time::Instant;

const MIB: usize = 1024 * 1024;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let argument = |index| std::env::args().nth(index).and_then(|text| text.parse::<usize>().ok());
    let mebibytes = argument(1).unwrap_or(64);
    let send_buffer_bytes = argument(2).unwrap_or(1024) * 1024;
    let data = vec![7; mebibytes * MIB];
    for round in 1..=ROUNDS {
        let bind = vec![std::net::Ipv4Addr::LOCALHOST.into()];
        let options = Options { bind, send_buffer_bytes, ..Options::default() };
        let began = Instant::now();
        let (left, offer) = Connection::offer(options.clone()).await?;
        let (right, answer) = Connection::answer(options, &offer).await?;
        left.accept_answer(&answer).await?;
        let (one, other) = tokio::join!(opened(&left, &right), opened(&right, &left));
        one.and(other)?;
        let open = began.elapsed();

        let began = Instant::now();
        let (sent, received) = tokio::join!(left.send_all(&data), received(&right, data.len()));
        sent.and(received)?;
        let rate = data.len() as f64 / MIB as f64 / began.elapsed().as_secs_f64();
        println!("round {round}: open in {:.1} ms, {mebibytes} MiB at {rate:.1} MiB/s", open.as_secs_f64() * 1e3);
        left.close().await?;
    }
    Ok(())
}

async fn opened(from: &Connection, to: &Connection) -> Result<(), Error> {
    loop {
        match from.next_event().await {
            Some(Event::LocalCandidate(candidate)) => to.add_remote_candidate(&candidate).await?,
            Some(Event::ChannelOpen) => return Ok(()),
            Some(Event::Closed(reason)) => return Err(Error::Closed(reason)),
            _ => {}
        }
    }
}

async fn received(connection: &Connection, bytes: usize) -> Result<(), Error> {
    let mut left = bytes;
    while left > 0 {
        left = left.saturating_sub(connection.recv().await?.len());
    }
    Ok(())
}
