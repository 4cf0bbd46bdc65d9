use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use clock::Clock;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::{Secure, Tls};

/// How a listener is served. The numbers are milliseconds and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// How long requests under way may take after the stop. Default 10 s.
    pub drain_ms: u64,
    /// How long a client may take to send a request's headers, and the first of them after connecting. Default 10 s.
    pub header_read_timeout_ms: u64,
    /// Most connections at once; more wait in the kernel's queue. Default 10,000.
    pub max_connections: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { drain_ms: 10_000, header_read_timeout_ms: 10_000, max_connections: 10_000 }
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Connections that were cut because they did not end within the drain time.
    pub cut: usize,
}

/// Most streams of one HTTP/2 connection at once.
const MAX_H2_STREAMS: u32 = 256;

/// Most bytes of headers in one HTTP/2 request; what fits the limits of G3 in practice, not their product.
const MAX_H2_HEADER_BYTES: u32 = 64 << 10;

/// How long accepting rests after an error such as "too many open files".
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1, HTTP/2 and WebSocket upgrades until `stop` is cancelled; then accepts nothing more, lets requests
/// finish, and cuts what is left after the drain time. The client's address is in `ConnectInfo<SocketAddr>`.
///
/// A WebSocket's own task outlives its connection's here: track it with [`crate::Lifecycle`].
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, options: ServeOptions) -> Served {
    run(listener, router, None, stop, options).await
}

/// The same over TLS: requests have the extension [`Secure`], and HTTP/2 is agreed on by ALPN. A handshake may take as
/// long as a request's headers.
pub async fn serve_tls(
    listener: TcpListener,
    router: Router,
    tls: Arc<Tls>,
    stop: CancellationToken,
    options: ServeOptions,
) -> Served {
    run(listener, router, Some(tls), stop, options).await
}

async fn run(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    options: ServeOptions,
) -> Served {
    let room = Arc::new(Semaphore::new(options.max_connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    // Sockets live in the machine's time, whatever a test's clock says.
    let clock = Clock::system();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, address, permit)) => {
                let (router, tls) = (router.clone(), tls.clone());
                let host = Serving { address, secure: tls.is_some(), stop: stop.clone(), cut: cut.clone(), options };
                connections.spawn(async move {
                    accepted_one(stream, tls, router, host).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept connections");
                clock.sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listener);
    connections.close();
    let drained = clock.timeout(Duration::from_millis(options.drain_ms), connections.wait()).await;
    let left = if drained.is_some() { 0 } else { connections.len() };
    cut.cancel();
    connections.wait().await;
    Served { cut: left }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.expect("nobody closes the semaphore");
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}

/// What a connection is served with.
struct Serving {
    address: SocketAddr,
    secure: bool,
    stop: CancellationToken,
    cut: CancellationToken,
    options: ServeOptions,
}

async fn accepted_one(stream: TcpStream, tls: Option<Arc<Tls>>, router: Router, host: Serving) {
    // An answer in two writes must not wait for the client's delayed ack (40 ms).
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Some(tls) = tls else { return connection(stream, router, host).await };
    let (time, clock) = (Duration::from_millis(host.options.header_read_timeout_ms), Clock::system());
    let handshake = tokio::select! {
        done = clock.timeout(time, tls.acceptor().accept(stream)) => done,
        () = host.stop.cancelled() => return,
    };
    match handshake {
        Some(Ok(stream)) => Box::pin(connection(stream, router, host)).await,
        Some(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        None => {}
    }
}

async fn connection<S>(stream: S, router: Router, host: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Serving { address, secure, stop, cut, options } = host;
    let header_time = Duration::from_millis(options.header_read_timeout_ms);
    let spoke = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let spoke = Arc::clone(&spoke);
        move |mut request: Request<Incoming>| {
            spoke.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(address));
            if secure {
                request.extensions_mut().insert(Secure);
            }
            router.clone().call(request.map(Body::new))
        }
    });
    let builder = builder(header_time);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    // hyper's own limit begins after it knows the protocol: a client that sends nothing would stay for ever.
    let clock = Clock::system();
    let mut silence = pin!(clock.sleep(header_time));
    let (mut stopping, mut watching) = (false, true);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = cut.cancelled() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = silence.as_mut(), if watching => {
                if !spoke.load(Ordering::Relaxed) {
                    return;
                }
                watching = false;
            }
        }
    }
}

fn builder(header_time: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_time);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_H2_STREAMS)
        .max_header_list_size(MAX_H2_HEADER_BYTES)
        .keep_alive_interval(Duration::from_secs(30))
        .enable_connect_protocol();
    builder
}
