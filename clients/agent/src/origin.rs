//! A request from the edge, asked of the local program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

/// Bodies of answers.
pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Tells the edge that an answer is the agent's own: the program could not be asked. Its value says why.
pub(crate) const AGENT_ERROR: HeaderName = HeaderName::from_static("synapse-agent-error");
/// The method of a request that asks to switch protocols; HTTP/2 knows only CONNECT for those.
pub(crate) const UPGRADE_METHOD: HeaderName = HeaderName::from_static("synapse-upgrade-method");

/// How long a connection to the program may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection to it is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most idle connections to it.
const MAX_IDLE: usize = 64;

/// The local program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Host and port: `127.0.0.1:3000`.
    pub address: Authority,
    /// What it sees as its own host.
    pub host: HostHeader,
}

/// What the program gets as `Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// What the public asked for.
    #[default]
    Public,
    /// The origin's own address: for development servers that answer to no other name.
    Origin,
    /// Always this.
    Fixed(HeaderValue),
}

impl Origin {
    /// A program at `address`, which sees the public host.
    ///
    /// # Errors
    /// When it is no host and port.
    pub fn try_new(address: &str) -> Result<Self, http::uri::InvalidUri> {
        Ok(Self { address: address.parse()?, host: HostHeader::Public })
    }
}

/// What happens in a tunnel.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request came.
    Began {
        /// Counts the agent's requests.
        number: u64,
        /// Its method.
        method: Method,
        /// Path and query.
        path: String,
    },
    /// Its answer began.
    Answered {
        /// Of which request.
        number: u64,
        /// The status.
        status: StatusCode,
        /// From the request's arrival to the answer's first line.
        took: Duration,
    },
}

pub(crate) struct Proxy {
    origin: Origin,
    client: Client<HttpConnector, Incoming>,
    clock: Clock,
    events: broadcast::Sender<Event>,
    count: AtomicU64,
}

impl Proxy {
    pub(crate) fn new(origin: Origin, clock: Clock, events: broadcast::Sender<Event>) -> Self {
        let mut connector = HttpConnector::new();
        // An answer in two writes must not wait for a delayed ack (40 ms).
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        Self { origin, client, clock, events, count: AtomicU64::new(0) }
    }

    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let began = self.clock.monotonic();
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let switching = request.extensions().get::<Protocol>().cloned();
        let method = upgrade_method(&request).unwrap_or_else(|| request.method().clone());
        let _ = self.events.send(Event::Began { number, method: method.clone(), path });
        let answered = match switching {
            Some(protocol) => self.switch(request, method, &protocol).await,
            None => self.ask(request).await,
        };
        let mut answer = answered.unwrap_or_else(|error| unreachable(&self.origin, &error));
        *answer.version_mut() = Version::HTTP_2;
        let took = self.clock.monotonic().saturating_sub(began);
        let _ = self.events.send(Event::Answered { number, status: answer.status(), took });
        answer
    }

    async fn ask(&self, mut request: Request<Incoming>) -> Result<Response<Body>, String> {
        self.address(&mut request)?;
        *request.version_mut() = Version::HTTP_11;
        let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
        Ok(cleaned(answer.map(|body| body.boxed())))
    }

    /// Points a request at the origin.
    fn address<B>(&self, request: &mut Request<B>) -> Result<(), String> {
        let public = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
        let host = match &self.origin.host {
            HostHeader::Public => public.and_then(Result::ok),
            HostHeader::Origin => None,
            HostHeader::Fixed(host) => Some(host.clone()),
        };
        let address = &self.origin.address;
        let host = host.or_else(|| HeaderValue::from_str(address.as_str()).ok());
        if let Some(host) = host {
            request.headers_mut().insert(HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(address.clone()).path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// A request to switch protocols gets a connection of its own.
    async fn switch(
        &self,
        mut request: Request<Incoming>,
        method: Method,
        protocol: &Protocol,
    ) -> Result<Response<Body>, String> {
        let public = hyper::upgrade::on(&mut request);
        let mut ask = request.map(|_| Empty::<Bytes>::new());
        self.address(&mut ask)?;
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
        let stream = TcpStream::connect(self.origin.address.as_str());
        let stream = self.clock.timeout(CONNECT_TIMEOUT, stream).await.ok_or("it took too long to connect")?;
        let stream = stream.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| chain(&error))?;
        tokio::spawn(connection.with_upgrades());
        let mut answer = sender.send_request(ask).await.map_err(|error| chain(&error))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(cleaned(answer.map(|body| body.boxed())));
        }
        let origin = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            if let Ok((public, origin)) = tokio::try_join!(public, origin) {
                let (mut public, mut origin) = (TokioIo::new(public), TokioIo::new(origin));
                // Either side may end it at any time; nobody is left to be told how.
                let _ = tokio::io::copy_bidirectional(&mut public, &mut origin).await;
            }
        });
        let mut switched = cleaned(answer.map(|_| empty()));
        *switched.status_mut() = StatusCode::OK;
        Ok(switched)
    }
}

fn upgrade_method(request: &Request<Incoming>) -> Option<Method> {
    Method::from_bytes(request.headers().get(UPGRADE_METHOD)?.as_bytes()).ok()
}

/// An origin's answer without what HTTP/2 has no place for (RFC 9113 §8.2.2), and without our own header.
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
    for name in CONNECTION_ONLY.iter().chain([&AGENT_ERROR]) {
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

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// An error with its causes: the outermost of hyper's says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}
