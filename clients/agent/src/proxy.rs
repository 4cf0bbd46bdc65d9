//! A request from the edge, asked of the local program.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use contracts::tunnels::TunnelView;
use http::header::{AUTHORIZATION, CONNECTION, HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use crate::auth::BasicAuth;
use crate::body::{Body, Sent, Tapped, empty};
use crate::connect::{Connector, Http2, connect, connector};
use crate::inspect::{Asked, Attached, Edited, Recording};
use crate::origin::{Origin, chain};
use crate::trace::Trace;
use crate::watched::Watched;
use crate::{Event, Options};

/// Tells the edge that an answer is the agent's own: the program could not be asked. Its value says why.
const AGENT_ERROR: HeaderName = HeaderName::from_static("synapse-agent-error");
/// The method of a request that asks to switch protocols; HTTP/2 knows only CONNECT for those.
pub(crate) const UPGRADE_METHOD: HeaderName = HeaderName::from_static("synapse-upgrade-method");
/// The status of an answer that would look like a switch: success to a CONNECT (RFC 9113 §8.5), from a program that
/// ignored the request to switch. It travels as [`UNSWITCHED`], with its body.
const STATUS: HeaderName = HeaderName::from_static("synapse-status");
const UNSWITCHED: u16 = 555;

/// How long an idle connection to the program is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most idle connections to it.
const MAX_IDLE: usize = 64;

pub(crate) struct Proxy {
    origin: Origin,
    /// For HTTP/1.1, and for what switches protocols.
    connector: Connector,
    http: Client<Connector, Sent>,
    http2: Option<Http2>,
    auth: Option<BasicAuth>,
    inspect: Option<Attached>,
    trace: Option<Trace>,
    clock: Clock,
    events: broadcast::Sender<Event>,
    count: AtomicU64,
}

/// A request under way.
struct Run {
    number: u64,
    began: Duration,
    recording: Option<Recording>,
}

/// An answer, and whether it switched protocols.
type Answered = Result<(Response<Body>, bool), String>;

impl Proxy {
    pub(crate) fn try_new(options: &Options, events: broadcast::Sender<Event>) -> Result<Arc<Self>, String> {
        let origin = options.origin.clone();
        let connector = connector(&origin, false)?;
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector.clone());
        let http2 = if origin.http2 { Some(Http2::try_new(&origin)?) } else { None };
        Ok(Arc::new_cyclic(|this: &Weak<Self>| Self {
            inspect: options.inspector.as_ref().map(|inspector| inspector.attach(&origin, this.clone())),
            origin,
            connector,
            http,
            http2,
            auth: options.auth.clone(),
            trace: options.trace.clone(),
            clock: options.clock.clone(),
            events,
            count: AtomicU64::new(0),
        }))
    }

    /// The tunnel is open at these addresses.
    pub(crate) fn opened(&self, tunnel: &TunnelView) {
        if let Some(attached) = &self.inspect {
            attached.opened(&tunnel.urls);
        }
    }

    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let switching = request.extensions().get::<Protocol>().cloned();
        let method = upgrade_method(&request).unwrap_or_else(|| request.method().clone());
        let protocol = switching.as_ref().map(Protocol::as_str);
        let run = self.begin(&Asked {
            method: &method,
            uri: request.uri(),
            headers: request.headers(),
            protocol,
            replay_of: None,
        });
        let admitted = self.auth.as_ref().is_none_or(|auth| auth.admits(request.headers()));
        let answered = match switching {
            _ if !admitted => {
                run.note("refused by --auth; the program was not asked");
                Ok((BasicAuth::refusal(), false))
            }
            Some(protocol) => self.switch(request, method, &protocol, run.recording.clone()).await,
            None => {
                let request = request.map(|body| match &run.recording {
                    Some(recording) => Sent::Tapped(Tapped::new(body, recording.request())),
                    None => Sent::Stream(body),
                });
                self.ask(request).await.map(|answer| (answer, false))
            }
        };
        self.finish(answered, run)
    }

    /// Asks the program again, or something like it. The answer goes to the inspector alone.
    pub(crate) fn replay(self: Arc<Self>, edited: Edited, limit: Duration, room: OwnedSemaphorePermit) -> Option<u64> {
        let mut request = Request::new(());
        *request.method_mut() = edited.method;
        *request.uri_mut() = edited.uri;
        *request.headers_mut() = edited.headers;
        let run = self.begin(&Asked {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            protocol: None,
            replay_of: Some(edited.of),
        });
        let recording = run.recording.clone()?;
        let id = recording.id();
        let request = request.map(|()| Sent::Whole(Tapped::new(Full::new(edited.body), recording.request())));
        tokio::spawn(async move {
            let _room = room;
            let asked = async {
                let answered = self.ask(request).await.map(|answer| (answer, false));
                let mut body = self.finish(answered, run).into_body();
                // What was kept is enough; nobody else reads it.
                while let Some(Ok(_)) = body.frame().await
                    && !recording.has_enough()
                {}
            };
            if self.clock.timeout(limit, asked).await.is_none() {
                recording.note(&format!("a replay's answer is read for {} s", limit.as_secs()));
            }
        });
        Some(id)
    }

    fn begin(&self, asked: &Asked<'_>) -> Run {
        let began = self.clock.monotonic();
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if let Some(trace) = &self.trace {
            let headers = trace.headers(asked.headers);
            trace.line(&format!("http #{number} → {} {path}{headers}", asked.method));
        }
        let recording = self.inspect.as_ref().map(|attached| attached.begin(asked));
        let replay = asked.replay_of.is_some();
        let _ = self.events.send(Event::Began { number, method: asked.method.clone(), path, replay });
        Run { number, began, recording }
    }

    fn finish(&self, answered: Answered, run: Run) -> Response<Body> {
        let (mut answer, switched) = answered.unwrap_or_else(|error| {
            run.note(&error);
            (unreachable(&self.origin, &error), false)
        });
        *answer.version_mut() = Version::HTTP_2;
        let took = self.clock.monotonic().saturating_sub(run.began);
        let status = if switched { StatusCode::SWITCHING_PROTOCOLS } else { answer.status() };
        if let Some(trace) = &self.trace {
            let headers = trace.headers(answer.headers());
            trace.line(&format!("http #{} ← {status} after {:.1} ms{headers}", run.number, took.as_secs_f64() * 1e3));
        }
        let _ = self.events.send(Event::Answered { number: run.number, status: answer.status(), took });
        match run.recording {
            Some(recording) if !switched => {
                recording.answered(answer.status(), answer.headers());
                answer.map(|body| Tapped::new(body, recording.response()).boxed())
            }
            _ => answer,
        }
    }

    async fn ask(&self, mut request: Request<Sent>) -> Result<Response<Body>, String> {
        self.address(&mut request, self.http2.is_some())?;
        let answer = match &self.http2 {
            Some(http2) => {
                *request.version_mut() = Version::HTTP_2;
                http2.send(request, &self.origin, &self.clock).await?
            }
            None => {
                *request.version_mut() = Version::HTTP_11;
                self.http.request(request).await.map_err(|error| chain(&error))?
            }
        };
        Ok(cleaned(answer.map(|body| body.boxed())))
    }

    /// Points a request at the origin.
    fn address<B>(&self, request: &mut Request<B>, http2: bool) -> Result<(), String> {
        let host = self.origin.host(request.uri().authority()).ok_or("the host can't be said")?;
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(self.origin.scheme()).path_and_query(path);
        let headers = request.headers_mut();
        if self.auth.is_some() {
            // They were for the agent.
            headers.remove(AUTHORIZATION);
        }
        let uri = if http2 {
            // `:authority` says the host (RFC 9113 §8.3.1).
            headers.remove(HOST);
            uri.authority(host.as_bytes())
        } else {
            headers.insert(HOST, host);
            uri.authority(self.origin.address.clone())
        };
        *request.uri_mut() = uri.build().map_err(|error| error.to_string())?;
        Ok(())
    }

    /// A request to switch protocols gets a connection of its own.
    async fn switch(
        &self,
        mut request: Request<Incoming>,
        method: Method,
        protocol: &Protocol,
        recording: Option<Recording>,
    ) -> Answered {
        let public = hyper::upgrade::on(&mut request);
        let mut ask = request.map(|_| Empty::<Bytes>::new());
        self.address(&mut ask, false)?;
        *ask.method_mut() = method;
        *ask.version_mut() = Version::HTTP_11;
        // hyper writes the target as it stands: origins expect the path alone.
        *ask.uri_mut() = ask.uri().path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| "path")?;
        let headers = ask.headers_mut();
        headers.remove(UPGRADE_METHOD);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_str(protocol.as_str()).map_err(|error| error.to_string())?);
        if protocol.as_str().eq_ignore_ascii_case("websocket") && !headers.contains_key(SEC_WEBSOCKET_KEY) {
            // HTTP/2 has none (RFC 8441 §5.1); which one does not matter, nobody there checks the answer to it.
            headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="));
        }
        let stream = connect(&self.connector, &self.origin, &self.clock).await?;
        let handshake = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = handshake.map_err(|error| chain(&error))?;
        tokio::spawn(connection.with_upgrades());
        let mut answer = sender.send_request(ask).await.map_err(|error| chain(&error))?;
        if let Some(recording) = &recording {
            recording.without_body();
        }
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let mut answer = cleaned(answer.map(|body| body.boxed()));
            if answer.status().is_success() {
                let status = answer.status().as_u16();
                answer.headers_mut().insert(STATUS, status.into());
                *answer.status_mut() = StatusCode::from_u16(UNSWITCHED).expect("it has three digits");
            }
            return Ok((answer, false));
        }
        let origin = hyper::upgrade::on(&mut answer);
        let onlookers = recording.map(|recording| {
            recording.answered(answer.status(), answer.headers());
            (recording.onlookers(protocol.as_str(), answer.headers()), recording)
        });
        tokio::spawn(async move {
            let Ok((public, origin)) = tokio::try_join!(public, origin) else { return };
            let (mut public, mut origin) = (TokioIo::new(public), TokioIo::new(origin));
            // Either side may end it at any time; nobody is left to be told how.
            match onlookers {
                None => drop(tokio::io::copy_bidirectional(&mut public, &mut origin).await),
                Some(((from_origin, from_public), recording)) => {
                    let mut origin = Watched::new(origin, from_origin, from_public);
                    let copied = tokio::io::copy_bidirectional(&mut public, &mut origin).await;
                    recording.ended(copied.err().map(|error| error.to_string()));
                }
            }
        });
        let mut switched = cleaned(answer.map(|_| empty()));
        *switched.status_mut() = StatusCode::OK;
        Ok((switched, true))
    }
}

impl Run {
    fn note(&self, text: &str) {
        if let Some(recording) = &self.recording {
            recording.note(text);
        }
    }
}

fn upgrade_method(request: &Request<Incoming>) -> Option<Method> {
    Method::from_bytes(request.headers().get(UPGRADE_METHOD)?.as_bytes()).ok()
}

/// An origin's answer without what HTTP/2 has no place for (RFC 9113 §8.2.2), and without our own headers.
fn cleaned(mut answer: Response<Body>) -> Response<Body> {
    const CONNECTION_ONLY: [HeaderName; 5] = [
        CONNECTION,
        UPGRADE,
        http::header::TRANSFER_ENCODING,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    let named = answer.headers().get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    for name in named.collect::<Vec<HeaderName>>() {
        answer.headers_mut().remove(name);
    }
    for name in CONNECTION_ONLY.iter().chain([&AGENT_ERROR, &STATUS]) {
        answer.headers_mut().remove(name);
    }
    answer
}

/// The program could not be asked: the edge makes a page or a problem of this.
fn unreachable(origin: &Origin, error: &str) -> Response<Body> {
    let text = format!("{}: {error}", origin.address);
    let mut answer = Response::new(Full::new(Bytes::from(text.clone())).map_err(|never| match never {}).boxed());
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    let value: String = text.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).take(300).collect();
    if let Ok(value) = HeaderValue::from_str(&value) {
        answer.headers_mut().insert(AGENT_ERROR, value);
    }
    answer
}
