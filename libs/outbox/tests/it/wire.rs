//! A bus between the outbox and the embedded one, on which a test loses the connection, holds back what the broker
//! says, or hands deliveries in itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{
    Backend, Bus, BusError, BusErrorKind, Capabilities, Deliveries, Delivery, Envelope, Incoming, Requests, Settle,
    Signals, Subscribe,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

#[derive(Clone)]
pub(crate) struct Wire {
    inner: Bus,
    state: Arc<State>,
}

struct State {
    away: AtomicBool,
    keeps: AtomicBool,
    held: watch::Sender<bool>,
    published: Mutex<Vec<Envelope>>,
    by_hand: Mutex<Option<mpsc::Receiver<Delivery>>>,
}

impl Wire {
    pub(crate) fn new(inner: Bus) -> Self {
        let (held, _) = watch::channel(false);
        let (away, keeps) = (AtomicBool::new(false), AtomicBool::new(false));
        let state = State { away, keeps, held, published: Mutex::default(), by_hand: Mutex::default() };
        Self { inner, state: Arc::new(state) }
    }

    pub(crate) fn bus(&self) -> Bus {
        Bus::new(self.clone())
    }

    /// From now on (or no longer) nothing reaches the broker.
    pub(crate) fn away(&self, away: bool) {
        self.state.away.store(away, Ordering::SeqCst);
    }

    /// From now on the broker keeps what it is given, itself, whether somebody reads it or not.
    pub(crate) fn keep(&self) {
        self.state.keeps.store(true, Ordering::SeqCst);
    }

    /// From now on (or no longer) the broker takes everything in but its answers do not arrive.
    pub(crate) fn hold(&self, held: bool) {
        self.state.held.send_replace(held);
    }

    pub(crate) fn published(&self) -> Vec<Envelope> {
        self.state.published.lock().unwrap().clone()
    }

    /// The next subscriber gets what is handed in here.
    pub(crate) fn by_hand(&self) -> Hand {
        let (sender, receiver) = mpsc::channel(64);
        *self.state.by_hand.lock().unwrap() = Some(receiver);
        Hand { sender }
    }
}

#[async_trait]
impl Backend for Wire {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: self.state.keeps.load(Ordering::SeqCst), ..self.inner.capabilities() }
    }

    fn publish(&self, batch: Vec<Envelope>) -> Vec<BoxFuture<'static, Result<(), BusError>>> {
        if self.state.away.load(Ordering::SeqCst) {
            let lost = || BusError::new(BusErrorKind::Unavailable, "the broker is away");
            return batch.iter().map(|_| futures::future::ready(Err(lost())).boxed()).collect();
        }
        self.state.published.lock().unwrap().extend(batch.iter().cloned());
        if self.state.keeps.load(Ordering::SeqCst) {
            return batch.iter().map(|_| futures::future::ready(Ok(())).boxed()).collect();
        }
        let answers = self.inner.publisher().publish(batch);
        let answers = answers.into_iter().map(|answer| {
            let mut held = self.state.held.subscribe();
            async move {
                let answer = answer.await;
                held.wait_for(|held| !held).await.unwrap();
                answer
            }
            .boxed()
        });
        answers.collect()
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Deliveries, BusError> {
        if let Some(receiver) = self.state.by_hand.lock().unwrap().take() {
            return Ok(Deliveries::new(receiver));
        }
        self.inner.subscribe(subscribe).await
    }

    async fn request(&self, envelope: Envelope, timeout: Duration) -> Result<Bytes, BusError> {
        self.inner.request(envelope, timeout).await
    }

    async fn serve(&self, service: &str, kinds: &[&str], max_in_flight: usize) -> Result<Requests, BusError> {
        self.inner.requests(service, kinds, max_in_flight).await
    }

    async fn signal(&self, address: &str, envelope: Envelope) -> Result<(), BusError> {
        self.inner.signal(address, envelope).await
    }

    async fn listen(
        &self,
        kind: &str,
        address: Option<&str>,
        group: Option<&str>,
        buffer: usize,
    ) -> Result<Signals, BusError> {
        self.inner.listen(kind, address, group, buffer).await
    }

    fn is_connected(&self) -> bool {
        !self.state.away.load(Ordering::SeqCst)
    }

    async fn drain(&self, deadline: Duration) {
        self.inner.drain(deadline).await;
    }
}

/// Hands deliveries to a consumer.
pub(crate) struct Hand {
    sender: mpsc::Sender<Delivery>,
}

impl Hand {
    /// Hands in a delivery; what the consumer says of it comes out of the returned end.
    pub(crate) async fn give(&self, incoming: Incoming, attempt: u32) -> Fate {
        let (said, fate) = mpsc::unbounded_channel();
        let delivery = Delivery::new(incoming, attempt, Box::new(Said(said)));
        self.sender.send(delivery).await.unwrap();
        Fate(fate)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Ack,
    Nak(Duration),
    Term(String),
    Extend,
}

pub(crate) struct Fate(mpsc::UnboundedReceiver<Word>);

impl Fate {
    pub(crate) async fn next(&mut self) -> Word {
        let word = tokio::time::timeout(crate::fixture::SOON, self.0.recv()).await;
        word.expect("the consumer says something in time").expect("the delivery is settled, not dropped")
    }

    /// What settled it, extensions left out.
    pub(crate) async fn settled(&mut self) -> Word {
        loop {
            let word = self.next().await;
            if word != Word::Extend {
                return word;
            }
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_empty()
    }
}

struct Said(mpsc::UnboundedSender<Word>);

impl Said {
    fn say(&self, word: Word) -> Result<(), BusError> {
        // A test that no longer listens does not care.
        let _ = self.0.send(word);
        Ok(())
    }
}

#[async_trait]
impl Settle for Said {
    async fn ack(&self) -> Result<(), BusError> {
        self.say(Word::Ack)
    }

    async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.say(Word::Nak(delay))
    }

    async fn term(&self, reason: &str) -> Result<(), BusError> {
        self.say(Word::Term(reason.to_owned()))
    }

    async fn extend(&self) -> Result<(), BusError> {
        self.say(Word::Extend)
    }
}
