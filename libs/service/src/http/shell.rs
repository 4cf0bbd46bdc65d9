use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use clock::{Clock, Entropy};
use contracts::http::Problem;
use futures::FutureExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body_util::Limited;
use tracing::{Instrument, Span, field};

use super::problem::{Code, ProblemResponse};
use super::{HttpLimits, HttpSettings, RequestContext, Secure, TrustedProxies, guard};
use crate::config::Mode;
use crate::telemetry::{install_metrics, set_parent};

/// Longest text of an extractor's refusal that becomes a problem's detail, bytes.
const MAX_DETAIL_LEN: usize = 4096;

/// What every router has around it. Cheap to clone.
#[derive(Clone)]
pub struct Shell {
    inner: Arc<Inner>,
}

struct Inner {
    service: &'static str,
    mode: Mode,
    limits: HttpLimits,
    slow: Duration,
    clock: Clock,
    entropy: Entropy,
    durations: Durations,
    proxies: TrustedProxies,
}

/// Put it into a response's extensions to send the response as it is, even if it is an error: for answers that were
/// made elsewhere and are only passed on.
#[derive(Clone, Copy, Debug)]
pub struct Verbatim;

impl Shell {
    /// A shell for the routes of `service`. Requests slower than a second are logged as warnings.
    pub fn new(service: &'static str, mode: Mode, limits: HttpLimits, clock: Clock, entropy: Entropy) -> Self {
        Self::with_slow_ms(service, mode, limits, 1_000, clock, entropy)
    }

    /// The same from the service's settings.
    pub fn of(service: &'static str, mode: Mode, settings: &HttpSettings, clock: Clock, entropy: Entropy) -> Self {
        Self::with_slow_ms(service, mode, settings.limits.clone(), settings.slow_ms, clock, entropy)
    }

    fn with_slow_ms(
        service: &'static str,
        mode: Mode,
        limits: HttpLimits,
        slow_ms: u64,
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        // Before the first histogram is kept: what is made without a recorder stays without effect.
        install_metrics();
        let (slow, durations) = (Duration::from_millis(slow_ms), Durations::default());
        let proxies = TrustedProxies::default();
        Self { inner: Arc::new(Inner { service, mode, limits, slow, clock, entropy, durations, proxies }) }
    }

    /// The same behind these proxies. For a shell that wraps nothing yet.
    #[must_use]
    pub fn behind(mut self, proxies: TrustedProxies) -> Self {
        Arc::get_mut(&mut self.inner).expect("nothing shares a shell that wraps nothing").proxies = proxies;
        self
    }

    /// The router inside the shell. Wrap once, after the last route and layer.
    pub fn wrap(&self, router: Router) -> Router {
        // Our own limit counts every body, whoever reads it; axum's default would cut in at 2 MB regardless.
        router.layer(DefaultBodyLimit::disable()).layer(from_fn_with_state(self.clone(), around))
    }

    /// A problem's body where there is no HTTP response, as in a WebSocket frame.
    pub fn problem(&self, problem: ProblemResponse, context: &RequestContext) -> Problem {
        problem.into_body(context, self.inner.mode, &self.inner.clock, &self.inner.entropy)
    }

    /// Says where the request comes from, and takes out of it what only we may say. Tells whether it came over TLS.
    fn place(&self, request: &mut Request) -> bool {
        guard::strip_identity(request.headers_mut());
        let mut is_secure = request.extensions().get::<Secure>().is_some();
        if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
            let (client, over_tls) = self.inner.proxies.client(peer, request.headers());
            request.extensions_mut().insert(client);
            is_secure |= over_tls;
        }
        is_secure
    }

    /// Makes every error a problem and adds the ids.
    async fn finish(&self, mut response: Response, context: &RequestContext) -> Response {
        let Inner { mode, clock, entropy, .. } = &*self.inner;
        if let Some(problem) = response.extensions_mut().remove::<ProblemResponse>() {
            let headers = std::mem::take(response.headers_mut());
            response = with_headers(problem.render(context, *mode, clock, entropy), headers);
        } else if let Some(code) = foreign_error(&response) {
            let (parts, body) = response.into_parts();
            let text = to_bytes(body, MAX_DETAIL_LEN).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let mut problem = ProblemResponse::new(code);
            if code == Code::PayloadTooLarge {
                problem = self.inner.limits.body_problem();
            } else if !text.is_empty() {
                problem = problem.detail(text);
            }
            response = with_headers(problem.render(context, *mode, clock, entropy), parts.headers);
        }
        context.answer(response.headers_mut());
        response
    }
}

async fn around(State(shell): State<Shell>, mut request: Request, next: Next) -> Response {
    let Inner { service, limits, slow, clock, entropy, durations, .. } = &*shell.inner;
    let is_secure = shell.place(&mut request);
    let ends = guard::ends_connection(&request);
    let started = clock.monotonic();
    let context = RequestContext::new(request.headers(), clock, entropy);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let method = method_name(request.method());
    let span = span(service, method, route, &context);
    let _active = Active::begin(service);
    let checked = limits.check(&request).and_then(|()| guard::check_framing(&request));
    let response = match checked {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            request.extensions_mut().insert(context.clone());
            let request = request.map(|body| Body::new(Limited::new(body, limits.body_bytes)));
            let handled = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
            handled.unwrap_or_else(|panic| panicked(&*panic))
        }
    };
    let mut response = shell.finish(response, &context).instrument(span.clone()).await;
    let status = response.status();
    guard::protect(status, response.headers_mut(), is_secure, ends);
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let took = clock.monotonic().saturating_sub(started);
    durations.record(service, method, route, status.as_u16(), took);
    if took > *slow {
        let (took_ms, correlation_id) = (took.as_millis(), &context.correlation_id);
        tracing::warn!(method, route, took_ms, correlation_id, "slow request");
    }
    response
}

fn span(service: &str, method: &str, route: &str, context: &RequestContext) -> Span {
    let span = tracing::info_span!(
        "http.request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = field::Empty,
        service,
        http.request.method = method,
        http.route = route,
        http.response.status_code = field::Empty,
        request_id = context.request_id,
        correlation_id = context.correlation_id,
    );
    if let Some(parent) = &context.caller_trace {
        set_parent(&span, parent);
    }
    span
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    metrics::counter!("http_server_panics_total").increment(1);
    ProblemResponse::new(Code::Internal).debug(format!("the handler panicked: {text}")).into_response()
}

/// The code of an error that was not made as a problem: by the router (404, 405) or by an extractor.
fn foreign_error(response: &Response) -> Option<Code> {
    let extensions = response.extensions();
    let text = response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !text || extensions.get::<Verbatim>().is_some() {
        return None;
    }
    Some(match response.status().as_u16() {
        400 => Code::MalformedRequest,
        401 => Code::AuthenticationMissing,
        403 => Code::Forbidden,
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        409 => Code::Conflict,
        413 => Code::PayloadTooLarge,
        414 => Code::UriTooLong,
        415 => Code::UnsupportedMediaType,
        // JSON that is well-formed but not what was asked for.
        422 => Code::Validation,
        429 => Code::RateLimited,
        431 => Code::HeadersTooLarge,
        500 => Code::Internal,
        502 => Code::ExternalService,
        503 => Code::Unavailable,
        504 => Code::Timeout,
        _ => return None,
    })
}

/// Adds what inner layers and the router said (`Allow`, rate limits); the problem's own headers go first.
fn with_headers(mut problem: Response, others: HeaderMap) -> Response {
    for (name, value) in others.iter().filter(|(name, _)| **name != CONTENT_TYPE && **name != CONTENT_LENGTH) {
        if !problem.headers().contains_key(name) || name == http::header::SET_COOKIE {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}

/// Methods are free text; a metric's label must not be.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

/// Counts a request while it is under way, however it ends.
struct Active(metrics::Gauge);

impl Active {
    fn begin(service: &'static str) -> Self {
        let gauge = metrics::gauge!("http_server_active_requests", "service" => service);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// By method and status.
type ByOutcome = HashMap<(&'static str, u16), metrics::Histogram>;

/// Histograms that were used before: looking one up in the registry costs more than the rest of the shell's metrics.
/// Bounded by routes × methods × statuses.
#[derive(Default)]
struct Durations {
    known: RwLock<HashMap<String, ByOutcome>>,
}

impl Durations {
    fn record(&self, service: &'static str, method: &'static str, route: &str, status: u16, took: Duration) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(histogram) = known.get(route).and_then(|route| route.get(&(method, status))) {
            return histogram.record(took);
        }
        drop(known);
        let histogram = metrics::histogram!(
            "http_server_request_duration_seconds",
            "service" => service, "method" => method, "route" => route.to_owned(), "status" => status.to_string(),
        );
        histogram.record(took);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(route.to_owned()).or_default().insert((method, status), histogram);
    }
}
