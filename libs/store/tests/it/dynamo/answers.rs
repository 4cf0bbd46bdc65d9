//! Answers that the emulator never gives: lost ones, conflicts between transactions, throttling. A small proxy in
//! front of the real server makes them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clock::Clock;
use store::{Action, Condition, DynamoOptions, Item, Key, Store, StoreErrorKind};
use testkit::servers::Dynoxide;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a write.
#[derive(Clone, Copy)]
enum Fate {
    Served,
    /// The server does it and the answer never comes.
    AnswerLost,
    /// The server never sees it; the answer is a cancellation for these reasons.
    Cancelled(&'static str),
    /// The same with an error of its own.
    Refused(&'static str),
}

struct Front {
    store: Store,
    writes: Arc<AtomicUsize>,
    _server: Dynoxide,
}

impl Front {
    /// A table behind a proxy; `fate` decides about the write of each number, from 0.
    async fn start(fate: impl Fn(usize) -> Fate + Send + Sync + 'static) -> Self {
        let server = Dynoxide::start();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let target: SocketAddr = server.url().trim_start_matches("http://").parse().unwrap();
        let (fate, writes) = (Arc::new(fate), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&writes);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (fate, counted) = (Arc::clone(&fate), Arc::clone(&counted));
                // Ends with an error when either side closes, which is all there is to do then.
                tokio::spawn(async move { serve(client, target, &*fate, &counted).await });
            }
        });
        let options = DynamoOptions {
            contended_attempts_max: 4,
            pause_first_ms: 1,
            pause_max_ms: 2,
            ..DynamoOptions::emulator(endpoint, "things")
        };
        let store = Store::dynamo(options, Clock::system()).await.unwrap();
        Self { store, writes, _server: server }
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut client: TcpStream,
    target: SocketAddr,
    fate: &(impl Fn(usize) -> Fate + Sync),
    writes: &AtomicUsize,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    loop {
        let request = message(&mut client).await?;
        let is_write = String::from_utf8_lossy(&request).contains("TransactWriteItems");
        let fate = if is_write { fate(writes.fetch_add(1, Ordering::SeqCst)) } else { Fate::Served };
        let body = match fate {
            Fate::Served | Fate::AnswerLost => {
                server.write_all(&request).await?;
                let answer = message(&mut server).await?;
                if matches!(fate, Fate::AnswerLost) {
                    return Ok(());
                }
                client.write_all(&answer).await?;
                continue;
            }
            Fate::Cancelled(reasons) => format!(
                r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"cancelled","CancellationReasons":{reasons}}}"#
            ),
            Fate::Refused(code) => {
                format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"refused"}}"#)
            }
        };
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(format!("{head}{body}").as_bytes()).await?;
    }
}

/// One whole HTTP/1.1 message that says its length.
async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= head + 4 + length {
                return Ok(bytes);
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn key() -> Key {
    Key::new("p", "s")
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_happens_once() {
    let front = Front::start(|number| if number < 2 { Fate::AnswerLost } else { Fate::Served }).await;
    front.store.add(key(), 1, Condition::Any).await.unwrap();
    assert_eq!(front.writes(), 3, "asked again until it was answered");
    assert_eq!(front.store.get(&key()).await.unwrap().unwrap().counter, 1);
}

#[tokio::test]
async fn a_conditional_write_whose_answer_is_lost_is_no_conflict_with_itself() {
    let front = Front::start(|number| if number == 0 { Fate::AnswerLost } else { Fate::Served }).await;
    front.store.put(Item::new(key(), 1, "{}"), Condition::Absent).await.unwrap();
    assert_eq!(front.writes(), 2);
    let again = front.store.put(Item::new(key(), 1, "{}"), Condition::Absent).await;
    assert_eq!(again.unwrap_err().conflict(), Some(0), "another call is another transaction");
}

#[tokio::test]
async fn a_write_whose_answers_are_all_lost_is_unavailable() {
    let front = Front::start(|_| Fate::AnswerLost).await;
    let error = front.store.add(key(), 1, Condition::Any).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert_eq!(front.store.get(&key()).await.unwrap().unwrap().counter, 1);
}

const CONFLICT: &str = r#"[{"Code":"TransactionConflict","Message":"busy"}]"#;

#[tokio::test]
async fn a_conflict_of_transactions_is_tried_again() {
    let front = Front::start(|number| if number < 3 { Fate::Cancelled(CONFLICT) } else { Fate::Served }).await;
    front.store.add(key(), 1, Condition::Any).await.unwrap();
    assert_eq!(front.writes(), 4);
    assert_eq!(front.store.get(&key()).await.unwrap().unwrap().counter, 1);
}

#[tokio::test]
async fn a_conflict_of_transactions_that_lasts_is_contended() {
    let front = Front::start(|_| Fate::Cancelled(CONFLICT)).await;
    let error = front.store.add(key(), 1, Condition::Any).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Contended, "{error}");
    assert!(error.is_retryable() && error.to_string().contains("4 tries"), "{error}");
    assert_eq!(front.writes(), 4);
}

#[tokio::test]
async fn throttling_that_lasts_is_throttled() {
    let front = Front::start(|_| Fate::Cancelled(r#"[{"Code":"ThrottlingError","Message":"slow"}]"#)).await;
    let error = front.store.add(key(), 1, Condition::Any).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Throttled, "{error}");
    let front = Front::start(|_| Fate::Refused("ProvisionedThroughputExceededException")).await;
    let error = front.store.add(key(), 1, Condition::Any).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Throttled, "{error}");
}

#[tokio::test]
async fn a_transaction_still_under_way_is_asked_for_again() {
    let in_progress = Fate::Refused("TransactionInProgressException");
    let front = Front::start(move |number| if number < 2 { in_progress } else { Fate::Served }).await;
    front.store.add(key(), 1, Condition::Any).await.unwrap();
    assert_eq!(front.store.get(&key()).await.unwrap().unwrap().counter, 1);
}

#[tokio::test]
async fn the_first_failed_condition_counts_beside_other_reasons() {
    let reasons = r#"[{"Code":"None"},{"Code":"TransactionConflict"},{"Code":"ConditionalCheckFailed"},
                      {"Code":"ConditionalCheckFailed"}]"#;
    let front = Front::start(move |_| Fate::Cancelled(reasons)).await;
    let put = |sort: &str| Action::Put { item: Item::new(Key::new("p", sort), 1, "{}"), condition: Condition::Absent };
    let error = front.store.transact(["a", "b", "c", "d"].map(put).to_vec()).await.unwrap_err();
    assert_eq!(error.conflict(), Some(2), "{error}");
    assert_eq!(front.writes(), 1);
}

#[tokio::test]
async fn what_dynamodb_refuses_is_invalid() {
    let reasons = r#"[{"Code":"ValidationError","Message":"too deep"}]"#;
    let front = Front::start(move |_| Fate::Cancelled(reasons)).await;
    let error = front.store.add(key(), 1, Condition::Any).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().contains("too deep"), "{error}");
    let front = Front::start(|_| Fate::Refused("ValidationException")).await;
    let error = front.store.add(key(), 1, Condition::Any).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error}");
}
