//! A public request on its way to an origin and back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use service::http::{Code, ProblemResponse, RequestContext};
use tokio_util::io::InspectReader;

use crate::Edge;
use crate::agents::{Agent, Line};
use crate::guard::{Place, Progress, holding, watched};
use crate::headers::{Asker, forwarded, strip_hop_by_hop, upgrade};
use crate::names::Target;

/// From here on a request counts as bulk, bytes.
const BULK_BYTES: u64 = 64 << 10;

/// Marks an answer as the agent's own: the origin could not be asked, its value says why.
const AGENT_ERROR: HeaderName = HeaderName::from_static("synapse-agent-error");
/// The method of a request to switch protocols, which is a CONNECT in HTTP/2.
const UPGRADE_METHOD: HeaderName = HeaderName::from_static("synapse-upgrade-method");
/// The status of a program that ignored the request to switch, where it would look like a switch.
const STATUS: HeaderName = HeaderName::from_static("synapse-status");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sends the request through the tunnel and gives the origin's answer as it comes.
pub(crate) async fn forward(
    edge: &Arc<Edge>,
    target: &Target,
    mut request: Request,
    context: &RequestContext,
) -> Result<Response, ProblemResponse> {
    let agent = match edge.agents.find(&target.label) {
        Some(agent) => agent,
        None => return Err(edge.absent(&target.label).await),
    };
    let payer = agent.entitlement.as_ref().map(|entitlement| &entitlement.payer);
    if let Some(used_up) = payer.and_then(|payer| edge.quotas.refusal(payer, edge.platform.clock.now_ms())) {
        return Err(used_up);
    }
    let room = Arc::clone(&agent.room).try_acquire_owned().map_err(|_| {
        let detail = "this tunnel has as many requests under way as it may";
        ProblemResponse::new(Code::Unavailable).detail(detail).retry_after_s(1)
    })?;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let bulk = !request.body().is_end_stream() && length.is_none_or(|length| length >= BULK_BYTES);
    let line = agent.line(bulk).ok_or_else(|| lost(&target.label))?;
    let place = Place::new(&line, agent.meter(), room);
    let switch = switch(&mut request);
    prepare(edge, target, &mut request, context, switch.as_ref())?;
    let again = repeatable(&request);
    let progress = Progress::new(&edge.platform.clock);
    place.meter().request();
    let request = request.map(|body| watched(body, progress.clone(), place.meter().clone()));
    let limit = Duration::from_millis(edge.config.answer_within_ms);
    let answer = match progress.within(limit, line.requests.clone().send_request(request)).await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => {
            let again = again.filter(|_| line.requests.is_closed());
            resend(&agent, &line, again, &error, limit, &progress).await.ok_or_else(|| lost(&target.label))?
        }
        None => {
            let detail = format!("the origin did not begin its answer within {} ms", edge.config.answer_within_ms);
            return Err(ProblemResponse::new(Code::OriginTimeout).detail(detail));
        }
    };
    if let Some(reason) = answer.headers().get(AGENT_ERROR) {
        let detail = format!("the agent could not reach {}", reason.to_str().unwrap_or("the origin"));
        return Err(ProblemResponse::new(Code::OriginUnreachable).detail(detail));
    }
    Ok(match switch {
        Some(switch) if answer.status() == StatusCode::OK => switched(edge, switch, answer, place),
        Some(_) => passed_on(unswitched(answer), place),
        None => passed_on(answer, place),
    })
}

fn lost(label: &str) -> ProblemResponse {
    ProblemResponse::new(Code::AgentLost).detail(format!("the connection to the agent of {label:?} was lost"))
}

/// What a client wants to switch to, and its side of the connection.
struct Switch {
    protocol: HeaderValue,
    client: OnUpgrade,
    /// Asked by HTTP/2's extended CONNECT (RFC 8441), which answers with 200 instead of 101.
    extended: bool,
}

fn switch(request: &mut Request) -> Option<Switch> {
    if let Some(protocol) = request.extensions().get::<Protocol>() {
        let protocol = HeaderValue::from_str(protocol.as_str()).ok()?;
        return Some(Switch { protocol, client: hyper::upgrade::on(request), extended: true });
    }
    // With content there is no switch before it has been read; a server may ignore the request (RFC 9110 §7.8).
    let may_switch = request.version() == Version::HTTP_11 && request.body().is_end_stream();
    let protocol = upgrade(request.headers()).filter(|_| may_switch)?;
    Some(Switch { protocol, client: hyper::upgrade::on(request), extended: false })
}

/// Makes the request what the agent should get.
fn prepare(
    edge: &Edge,
    target: &Target,
    request: &mut Request,
    context: &RequestContext,
    switch: Option<&Switch>,
) -> Result<(), ProblemResponse> {
    let host = request.headers_mut().remove(HOST);
    let authority = request.uri().authority().map(Authority::as_str);
    let host = host.or_else(|| HeaderValue::from_str(authority?).ok());
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    strip_hop_by_hop(request.headers_mut());
    let asker = Asker {
        address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical(),
        host: host.as_ref(),
        secure: edge.config.public_url.starts_with("https://"),
        prefix: &target.prefix,
        trusted_hops: edge.config.trusted_hops,
    };
    forwarded(request.headers_mut(), &asker);
    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        request.headers_mut().insert(X_REQUEST_ID, id);
    }
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(&target.label);
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(target.path.clone());
    *request.uri_mut() = uri.build().map_err(|_| {
        ProblemResponse::new(Code::MalformedRequest).detail(format!("host: {authority:?} is no host and port"))
    })?;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(UPGRADE_METHOD);
    if let Some(switch) = switch {
        if let Ok(method) = HeaderValue::from_str(request.method().as_str())
            && !switch.extended
        {
            request.headers_mut().insert(UPGRADE_METHOD, method);
        }
        let protocol = switch.protocol.to_str().unwrap_or("websocket");
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(protocol));
        *request.body_mut() = Body::empty();
    }
    Ok(())
}

/// A copy to send again, where a second time does no harm (RFC 9110 §9.2.2) and nothing of a body is lost.
fn repeatable(request: &Request) -> Option<http::Request<()>> {
    let safe = request.method().is_idempotent() && request.body().is_end_stream();
    if !safe {
        return None;
    }
    let mut copy = http::Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// The connection ended under the request: once more over another one.
async fn resend(
    agent: &Agent,
    line: &Arc<Line>,
    again: Option<http::Request<()>>,
    error: &hyper::Error,
    limit: Duration,
    progress: &Progress,
) -> Option<http::Response<Incoming>> {
    tracing::debug!(%error, again = again.is_some(), "a request lost its connection");
    let other = agent.line(false).filter(|other| !Arc::ptr_eq(other, line))?;
    let request = again?.map(|()| Body::empty());
    progress.within(limit, other.requests.clone().send_request(request)).await?.ok()
}

/// The answer of a program that ignored the request to switch.
fn unswitched(mut answer: http::Response<Incoming>) -> http::Response<Incoming> {
    if let Some(status) = answer.headers_mut().remove(STATUS)
        && let Ok(status) = StatusCode::from_bytes(status.as_bytes())
    {
        *answer.status_mut() = status;
    }
    answer
}

fn passed_on(answer: http::Response<Incoming>, place: Place) -> Response {
    let (mut parts, body) = answer.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, holding(body, place))
}

/// Both sides have switched: bytes go through until one of them ends.
fn switched(edge: &Edge, switch: Switch, mut answer: http::Response<Incoming>, place: Place) -> Response {
    let origin = hyper::upgrade::on(&mut answer);
    let stop = edge.platform.lifecycle.token();
    edge.platform.lifecycle.spawn("tunnel.switched", async move {
        let copying = async {
            let (client, origin) = tokio::try_join!(switch.client, origin)?;
            let passes = |bytes: &[u8]| place.meter().bytes(bytes.len());
            let mut client = InspectReader::new(TokioIo::new(client), passes);
            let mut origin = InspectReader::new(TokioIo::new(origin), passes);
            tokio::io::copy_bidirectional(&mut client, &mut origin).await?;
            Ok::<_, axum::BoxError>(())
        };
        if let Some(Err(error)) = stop.run_until_cancelled(copying).await {
            tracing::debug!(%error, "a switched connection ended");
        }
    });
    let (mut parts, _) = answer.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    if !switch.extended {
        parts.status = StatusCode::SWITCHING_PROTOCOLS;
        parts.headers.insert(UPGRADE, switch.protocol);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, Body::empty())
}
