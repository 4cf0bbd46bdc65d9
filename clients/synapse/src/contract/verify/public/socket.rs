//! The frames, raw: what a client of any language would send and get.

use contracts::signals::signaling::SAMPLE_SDP as SDP;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::super::book::{Offence, Promise, Sort};
use super::http::{self, Bought};
use super::{Visit, schemas};

/// Frames that are looked through for the one that is waited for.
const MAX_FRAMES: usize = 200;

fn frame(name: &str) -> Promise {
    Promise::new(Sort::Frame, name)
}

struct Socket<'a> {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    visit: &'a Visit<'a>,
}

/// What needs no proof.
pub(super) async fn check(visit: &Visit<'_>) {
    let opened = Socket::open(visit).await;
    let Some(mut socket) = visit.book.judge(&frame("hello"), "it comes first", opened) else { return };
    let outcome = socket
        .ask(json!({"type": "ping", "id": "1"}))
        .await
        .and_then(|answer| refused(&answer, "authentication_missing"));
    visit.book.judge(&frame("ping"), "before auth every other frame is refused", outcome);
    let outcome = socket.say("nonsense").await;
    let outcome = match outcome {
        Ok(()) => socket.until(|frame| frame["type"] == "outcome").await,
        Err(offence) => Err(offence),
    };
    let outcome = outcome.and_then(|answer| {
        refused_any(&answer)?;
        if answer.get("id").is_none() { Ok(()) } else { Err(Offence::new("no `id`", answer["id"].to_string())) }
    });
    visit.book.judge(&frame("outcome"), "what is no frame is refused without an id", outcome);
    let auth = json!({"type": "auth", "id": "2", "token": "not.a.token", "peer_id": visit.unique("peer")});
    let outcome = socket.ask(auth).await.and_then(|answer| refused(&answer, "authentication_invalid"));
    visit.book.judge(&frame("auth"), "a bad token is refused", outcome);
    let outcome = socket.until(|frame| frame["type"] == "closing").await;
    let outcome = outcome.and_then(|closing| equal(&closing, "code", &json!(4401)));
    visit.book.judge(&frame("closing"), "a bad token ends the connection with 4401", outcome);
    let Ok(mut socket) = Socket::open(visit).await else { return };
    let auth = json!({"type": "auth", "id": "1", "token": visit.public.token, "peer_id": visit.unique("peer")});
    let outcome = socket.ask(auth).await.and_then(|answer| refused(&answer, "proof_refused"));
    visit.book.judge(&frame("auth"), "without a proof nobody enters", outcome);
}

/// Two peers with proofs find each other, talk, and are put out when the subscription ends.
pub(super) async fn live(visit: &Visit<'_>, bought: &Bought) {
    let (alice, bob) = (visit.unique("a"), visit.unique("b"));
    let Some((mut one, mut two)) = enter(visit, bought, &alice, &bob).await else { return };
    let outcome = one.until(|frame| frame["type"] == "presence" && frame["peer"]["peer_id"] == bob.as_str()).await;
    visit.book.judge(&frame("presence"), "a peer that comes is told to those who are here", outcome);
    let outcome = one.ask(json!({"type": "ping", "id": "10"})).await.and_then(|answer| accepted(&answer, "accepted"));
    visit.book.judge(&frame("ping"), "it is accepted", outcome);
    let outcome = one.ask(json!({"type": "ping", "id": "11", "extra": 1})).await;
    let outcome = outcome.and_then(|answer| refused(&answer, "validation_failed"));
    visit.book.judge(&frame("ping"), "a field that nobody knows is refused", outcome);
    let outcome = two.ask(json!({"type": "presence", "id": "12", "action": "list"})).await;
    let outcome = outcome.and_then(|answer| {
        accepted(&answer, "accepted")?;
        schemas::check(&visit.forms.page, &answer["result"]).map_err(|broken| Offence::new("a page of peers", broken))
    });
    visit.book.judge(&frame("presence"), "a list is a page of peers", outcome);
    let away = json!({"type": "presence", "id": "13", "action": "set_status", "status": "away"});
    let outcome = two.ask(away).await.and_then(|answer| accepted(&answer, "accepted"));
    visit.book.judge(&frame("presence"), "a peer may change its status", outcome);
    let is_away = |frame: &Value| frame["peer"]["peer_id"] == bob.as_str() && frame["peer"]["status"] == "away";
    let outcome = one.until(is_away).await;
    visit.book.judge(&frame("presence"), "a changed status is told", outcome);
    http::sees(visit, &alice).await;
    session(visit, &mut one, &mut two, &alice, &bob).await;
    http::cancel(visit, bought).await;
    for socket in [&mut one, &mut two] {
        let outcome = socket.until(|frame| frame["type"] == "closing").await;
        let outcome = outcome.and_then(|closing| equal(&closing, "code", &json!(4402)));
        visit.book.judge(&frame("closing"), "without an entitlement the connection ends with 4402", outcome);
    }
}

async fn enter<'a>(visit: &'a Visit<'a>, bought: &Bought, alice: &str, bob: &str) -> Option<(Socket<'a>, Socket<'a>)> {
    let mut sockets = Vec::new();
    for peer in [alice, bob] {
        let proof = http::prove(visit, bought, peer).await?;
        let mut socket = visit.book.judge(&frame("hello"), "it comes first", Socket::open(visit).await)?;
        let auth = json!({"type": "auth", "id": "1", "token": visit.public.token, "peer_id": peer, "proof": proof});
        let outcome = socket.ask(auth).await.and_then(|answer| {
            accepted(&answer, "accepted")?;
            equal(&answer["result"], "peer_id", &json!(peer))?;
            equal(&answer["result"], "generation", &json!(1))
        });
        visit.book.judge(&frame("auth"), "a good token and proof let a peer in", outcome)?;
        sockets.push(socket);
    }
    let two = sockets.pop()?;
    Some((sockets.pop()?, two))
}

async fn session(visit: &Visit<'_>, one: &mut Socket<'_>, two: &mut Socket<'_>, alice: &str, bob: &str) {
    let nobody = json!({"type": "session", "id": "20", "to": "verify-nobody"});
    let outcome = one.ask(nobody).await.and_then(|answer| refused(&answer, "peer_unknown"));
    visit.book.judge(&frame("session"), "an unknown peer is refused", outcome);
    let outcome = one.ask(json!({"type": "session", "id": "21", "to": bob})).await;
    let outcome = outcome.and_then(|answer| {
        accepted(&answer, "accepted")?;
        equal(&answer["result"], "polite", &json!(alice > bob))?;
        Ok(answer["result"]["session_id"].clone())
    });
    let Some(session) =
        visit.book.judge(&frame("session"), "a session is opened; the peers' ids say who yields", outcome)
    else {
        return;
    };
    let offer = json!({"type": "offer", "sdp": SDP, "generation": 1});
    let signal = json!({"type": "signal", "id": "22", "session_id": session, "signal": offer});
    let outcome = one.ask(signal).await.and_then(|answer| accepted(&answer, "delivered"));
    visit.book.judge(&frame("signal"), "an offer is delivered", outcome);
    let outcome = two.until(|frame| frame["type"] == "signal" && frame["session_id"] == session).await;
    let outcome = outcome.and_then(|heard| {
        equal(&heard, "from", &json!(alice))?;
        equal(&heard, "polite", &json!(bob > alice))?;
        equal(&heard, "signal", &offer)
    });
    visit.book.judge(&frame("signal"), "the other peer gets it, with the sender's true name", outcome);
    let late = json!({"type": "offer", "sdp": SDP, "generation": 9});
    let late = json!({"type": "signal", "id": "23", "session_id": session, "signal": late});
    let outcome = two.ask(late).await.and_then(|answer| refused(&answer, "stale_generation"));
    visit.book.judge(&frame("signal"), "another negotiation's signal is refused", outcome);
    let bye = json!({"type": "signal", "id": "24", "session_id": session, "signal": {"type": "bye"}});
    let outcome = two.ask(bye).await.and_then(|answer| accepted(&answer, "delivered"));
    visit.book.judge(&frame("signal"), "a bye is delivered", outcome);
}

impl<'a> Socket<'a> {
    /// Connects and reads the hello.
    async fn open(visit: &'a Visit<'a>) -> Result<Self, Offence> {
        let failed = |why: String| Offence::new("a WebSocket that speaks synapse.v1", why);
        let mut request = visit.public.socket_url().into_client_request().map_err(|error| failed(error.to_string()))?;
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", "synapse.v1".parse().map_err(|_| failed(String::new()))?);
        let connecting = visit.clock.timeout(visit.limits.patience, connect_async(request)).await;
        let (stream, response) =
            connecting.ok_or_else(|| failed("no answer in time".into()))?.map_err(|error| failed(error.to_string()))?;
        let spoken = response.headers().get("Sec-WebSocket-Protocol").and_then(|value| value.to_str().ok());
        if spoken != Some("synapse.v1") {
            return Err(Offence::new("Sec-WebSocket-Protocol: synapse.v1", format!("{spoken:?}")));
        }
        let mut socket = Self { stream, visit };
        let hello = socket.read().await?;
        equal(&hello, "type", &json!("hello"))?;
        equal(&hello, "protocol", &json!("synapse.v1"))?;
        Ok(socket)
    }

    async fn say(&mut self, text: &str) -> Result<(), Offence> {
        let sent = self.stream.send(Message::text(text)).await;
        sent.map_err(|error| Offence::new("a connection that stands", format!("it broke: {error}")))
    }

    /// Sends a frame and gives its one outcome.
    async fn ask(&mut self, frame: Value) -> Result<Value, Offence> {
        self.say(&frame.to_string()).await?;
        let id = frame["id"].clone();
        self.until(|answer| answer["type"] == "outcome" && answer["id"] == id).await
    }

    async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Result<Value, Offence> {
        let (clock, patience) = (self.visit.clock.clone(), self.visit.limits.patience * 2);
        let waiting = async {
            for _ in 0..MAX_FRAMES {
                let frame = self.read().await?;
                if fits(&frame) {
                    return Ok(frame);
                }
            }
            Err(Offence::new("the frame that follows", format!("{MAX_FRAMES} others")))
        };
        let nothing =
            || Err(Offence::new("a frame of the gateway", format!("none within {} ms", patience.as_millis())));
        clock.timeout(patience, waiting).await.unwrap_or_else(nothing)
    }

    /// The next frame; each is held against the schema of server frames.
    async fn read(&mut self) -> Result<Value, Offence> {
        loop {
            let message = self.visit.clock.timeout(self.visit.limits.patience * 2, self.stream.next()).await;
            let ended = |why: &str| Offence::new("a frame of the gateway", why);
            match message {
                None => return Err(ended("none in time")),
                Some(None | Some(Ok(Message::Close(_)))) => return Err(ended("the connection was closed")),
                Some(Some(Err(error))) => return Err(ended(&format!("the connection broke: {error}"))),
                Some(Some(Ok(Message::Text(text)))) => {
                    let value: Value = serde_json::from_str(&text)
                        .map_err(|error| Offence::new("a frame that is JSON", error.to_string()).with(&text))?;
                    let fits = schemas::check(&self.visit.forms.frame, &value);
                    let name = value["type"].as_str().unwrap_or("outcome").to_owned();
                    let fits = fits.map_err(|broken| Offence::new("a frame that fits its schema", broken).with(&text));
                    self.visit.book.judge(&frame(&name), "every frame fits its schema", fits);
                    return Ok(value);
                }
                Some(Some(Ok(_))) => {}
            }
        }
    }
}

fn equal(value: &Value, field: &str, expected: &Value) -> Result<(), Offence> {
    if value[field] == *expected {
        return Ok(());
    }
    Err(Offence::new(format!("{field} {expected}"), format!("{field} {}", value[field])).with(value))
}

fn accepted(answer: &Value, outcome: &str) -> Result<(), Offence> {
    equal(answer, "outcome", &json!(outcome))
}

fn refused(answer: &Value, code: &str) -> Result<(), Offence> {
    refused_any(answer)?;
    equal(&answer["problem"], "code", &json!(code))
}

fn refused_any(answer: &Value) -> Result<(), Offence> {
    equal(answer, "outcome", &json!("refused"))
}
