//! The page and what it asks.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::book::Exchange;
use super::decode::decoded;
use super::guard::{guard, has_token, refusal};
use super::view::{Eyes, Filter, detail, summary};
use super::{Edited, Inner, har, lock};
use crate::redact::REDACTED;

/// Changes are told together, so that a busy tunnel does not keep the browser busy.
const TOGETHER: Duration = Duration::from_millis(100);
/// Room of an edited request besides its body.
const EDIT_BYTES: usize = 256 << 10;

type Shared = State<Arc<Inner>>;

/// Serves the page until the last tunnel is gone.
pub(super) async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    let stop = inner.stop.clone();
    let script = |text: &'static str| get(move || async move { ([(CONTENT_TYPE, "text/javascript")], text) });
    // A body comes as base64 at worst.
    let edit_bytes = inner.options.max_body_bytes.saturating_mul(2).saturating_add(EDIT_BYTES);
    let routes = axum::Router::new()
        .route("/", get(page))
        .route("/page.css", get(|| async { ([(CONTENT_TYPE, "text/css")], include_str!("page/page.css")) }))
        .route("/page.js", script(include_str!("page/page.js")))
        .route("/detail.js", script(include_str!("page/detail.js")))
        .route("/bodies.js", script(include_str!("page/bodies.js")))
        .route("/elements.js", script(include_str!("page/elements.js")))
        .route("/api/state", get(state))
        .route("/api/live", get(live))
        .route("/api/exchanges", get(list).delete(clear))
        .route("/api/exchanges.har", get(export_all))
        .route("/api/exchanges/{id}", get(one))
        .route("/api/exchanges/{id}/har", get(export_one))
        .route("/api/exchanges/{id}/body/{side}", get(body))
        .route("/api/exchanges/{id}/replay", post(replay))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "there is nothing here; the page is at /") })
        .layer(DefaultBodyLimit::max(edit_bytes))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&inner), guard))
        .with_state(inner);
    let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::warn!(%error, "the inspector's page ended");
    }
}

async fn page(State(inner): Shared) -> Html<String> {
    Html(include_str!("page/index.html").replace("{token}", &inner.token))
}

/// What a caller may choose to see.
#[derive(Default, Deserialize)]
struct Look {
    /// `shown`: with secrets, for the page alone.
    secrets: Option<String>,
    /// Messages after this number.
    #[serde(default)]
    after: u64,
    /// `raw`: a body as it came, with its content coding.
    form: Option<String>,
}

/// A status and what to do.
type Refused = (StatusCode, &'static str);

fn refused((status, error): Refused) -> Response {
    refusal(status, error)
}

impl Inner {
    fn eyes(&self, look: &Look, headers: &HeaderMap) -> Result<Eyes<'_>, Refused> {
        let sees_secrets = look.secrets.as_deref() == Some("shown");
        if sees_secrets && !has_token(self, headers) {
            return Err((StatusCode::FORBIDDEN, "secrets: only the page shows them, to who switches them on"));
        }
        Ok(Eyes { redaction: &self.options.redaction, sees_secrets })
    }

    fn with<T>(&self, id: u64, read: impl FnOnce(&Exchange) -> T) -> Result<T, Refused> {
        let gone = || (StatusCode::NOT_FOUND, "this exchange is not kept any more; newer ones took its place");
        self.book().get(id).map(read).ok_or_else(gone)
    }

    fn blind(&self) -> Eyes<'_> {
        Eyes { redaction: &self.options.redaction, sees_secrets: false }
    }
}

async fn state(State(inner): Shared) -> Json<Value> {
    let sources = lock(&inner.sources);
    let tunnels: Vec<Value> = sources
        .iter()
        .map(|source| {
            let is_open = source.proxy.strong_count() > 0;
            json!({ "origin": source.origin, "urls": source.urls, "is_open": is_open })
        })
        .collect();
    let options = &inner.options;
    Json(json!({
        "tunnels": tunnels,
        "max_exchanges": options.max_exchanges,
        "max_bytes": options.max_bytes,
        "max_body_bytes": options.max_body_bytes,
        "kept_bytes": inner.book().bytes(),
    }))
}

async fn list(State(inner): Shared, Query(filter): Query<Filter>, look: Query<Look>, headers: HeaderMap) -> Response {
    let eyes = match inner.eyes(&look, &headers) {
        Ok(eyes) => eyes,
        Err(error) => return refused(error),
    };
    let book = inner.book();
    let exchanges = book.newest().filter(|exchange| filter.matches(exchange));
    let exchanges: Vec<Value> = exchanges.map(|exchange| summary(exchange, eyes)).collect();
    Json(json!({ "oldest": book.oldest(), "exchanges": exchanges })).into_response()
}

async fn clear(State(inner): Shared) -> StatusCode {
    inner.book().clear();
    // Exchange 0 does not exist: everybody reads anew.
    inner.changed(0);
    StatusCode::NO_CONTENT
}

async fn one(State(inner): Shared, Path(id): Path<u64>, look: Query<Look>, headers: HeaderMap) -> Response {
    let seen = inner.eyes(&look, &headers).and_then(|eyes| inner.with(id, |found| detail(found, eyes, look.after)));
    seen.map_or_else(refused, |view| Json(view).into_response())
}

async fn body(State(inner): Shared, Path((id, side)): Path<(u64, String)>, look: Query<Look>) -> Response {
    let is_raw = look.form.as_deref() == Some("raw");
    let max = inner.options.max_body_bytes;
    let found = inner.with(id, |exchange| {
        let (body, headers) = match side.as_str() {
            "request" => (&exchange.request, &exchange.request_headers),
            "response" => (&exchange.response, &exchange.response_headers),
            _ => return None,
        };
        Some((body.bytes.clone(), headers.clone()))
    });
    match found {
        Ok(Some((bytes, headers))) => {
            let plain = if is_raw { None } else { decoded(&headers, &bytes, max) };
            // Never as what it says it is: a page of the tunnel's must not run here.
            let file = format!("attachment; filename=\"{side}-{id}.bin\"");
            let headers = [(CONTENT_TYPE, "application/octet-stream"), (CONTENT_DISPOSITION, file.as_str())];
            (headers, plain.unwrap_or(bytes)).into_response()
        }
        Ok(None) => refusal(StatusCode::NOT_FOUND, "side: must be request or response"),
        Err(error) => refused(error),
    }
}

async fn export_all(
    State(inner): Shared,
    Query(filter): Query<Filter>,
    look: Query<Look>,
    headers: HeaderMap,
) -> Response {
    let max = inner.options.max_body_bytes;
    let log = inner.eyes(&look, &headers).map(|eyes| {
        let book = inner.book();
        let mut exchanges: Vec<&Exchange> = book.newest().filter(|exchange| filter.matches(exchange)).collect();
        exchanges.reverse();
        har::log(exchanges.into_iter(), eyes, max)
    });
    log.map_or_else(refused, |log| har_file("tunnel.har", &log))
}

async fn export_one(State(inner): Shared, Path(id): Path<u64>, look: Query<Look>, headers: HeaderMap) -> Response {
    let max = inner.options.max_body_bytes;
    let log = inner
        .eyes(&look, &headers)
        .and_then(|eyes| inner.with(id, |exchange| har::log(std::iter::once(exchange), eyes, max)));
    log.map_or_else(refused, |log| har_file(&format!("tunnel-{id}.har"), &log))
}

fn har_file(name: &str, log: &Value) -> Response {
    let file = format!("attachment; filename=\"{name}\"");
    ([(CONTENT_TYPE, "application/json"), (CONTENT_DISPOSITION, file.as_str())], log.to_string()).into_response()
}

/// Tells what changed, as it changes. The first event says to read everything; so does one after a gap.
async fn live(State(inner): Shared) -> Response {
    let Ok(place) = Arc::clone(&inner.watchers).try_acquire_owned() else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many pages watch already; close one");
    };
    let changes = inner.changes.subscribe();
    let stream =
        futures::stream::unfold((inner, changes, place, true), |(inner, mut changes, place, is_first)| async move {
            let (mut changed, mut is_reset) = (BTreeSet::new(), is_first);
            if !is_first {
                match inner.stop.run_until_cancelled(changes.recv()).await? {
                    Ok(id) => drop(changed.insert(id)),
                    Err(RecvError::Lagged(_)) => is_reset = true,
                    Err(RecvError::Closed) => return None,
                }
                inner.options.clock.sleep(TOGETHER).await;
                loop {
                    match changes.try_recv() {
                        Ok(id) => drop(changed.insert(id)),
                        Err(TryRecvError::Lagged(_)) => is_reset = true,
                        Err(_) => break,
                    }
                }
            }
            let event = if is_reset || changed.contains(&0) { told_to_reset() } else { told(&inner, &changed) };
            Some((Ok::<_, Infallible>(event), (inner, changes, place, false)))
        });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}

fn told_to_reset() -> Event {
    Event::default().event("reset").data("{}")
}

fn told(inner: &Inner, changed: &BTreeSet<u64>) -> Event {
    let book = inner.book();
    let exchanges = changed.iter().filter_map(|id| book.get(*id));
    let exchanges: Vec<Value> = exchanges.map(|exchange| summary(exchange, inner.blind())).collect();
    let data = json!({ "oldest": book.oldest(), "exchanges": exchanges }).to_string();
    Event::default().event("exchanges").data(data)
}

/// What differs from the request that is sent again. Where a value says `[redacted]`, the one as it was is meant.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    method: Option<String>,
    /// Path and query.
    path: Option<String>,
    headers: Option<Vec<(String, String)>>,
    /// The body as text; or
    body: Option<String>,
    /// as base64.
    body_base64: Option<String>,
}

async fn replay(State(inner): Shared, Path(id): Path<u64>, body: Bytes) -> Response {
    let edit = if body.is_empty() { Ok(Edit::default()) } else { serde_json::from_slice(&body) };
    let edit = match edit {
        Ok(edit) => edit,
        Err(error) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, &format!("the edit can't be read: {error}")),
    };
    let edited = match inner.with(id, |exchange| edited(&inner, exchange, edit)) {
        Ok(Ok(edited)) => edited,
        Ok(Err((status, error))) => return refusal(status, &error),
        Err(error) => return refused(error),
    };
    let (source, edited) = edited;
    let proxy = lock(&inner.sources).get(source).and_then(|source| source.proxy.upgrade());
    let Some(proxy) = proxy else { return refusal(StatusCode::GONE, "its tunnel is closed") };
    let Ok(room) = Arc::clone(&inner.replays).try_acquire_owned() else {
        return refusal(StatusCode::TOO_MANY_REQUESTS, "too many replays at once; wait for one to end");
    };
    match proxy.replay(edited, inner.options.replay_limit, room) {
        Some(replay) => (StatusCode::ACCEPTED, Json(json!({ "id": replay }))).into_response(),
        None => refusal(StatusCode::GONE, "its tunnel is not inspected any more"),
    }
}

type Unfit = (StatusCode, String);

fn edited(inner: &Inner, was: &Exchange, edit: Edit) -> Result<(usize, Edited), Unfit> {
    let conflict = |text: &str| (StatusCode::CONFLICT, text.to_owned());
    let wrong = |text: String| (StatusCode::UNPROCESSABLE_ENTITY, text);
    if was.protocol.is_some() {
        return Err(conflict("a connection that switched protocols can't be sent again; open it anew from its client"));
    }
    let body = match (edit.body, edit.body_base64) {
        (Some(_), Some(_)) => return Err(wrong("body, body_base64: give one of them".into())),
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.map_err(|error| wrong(format!("body_base64: {error}")))?
        }
        (None, None) if was.request.is_whole() => was.request.bytes.clone(),
        (None, None) if was.request.is_cut() => {
            let (kept, total) = (was.request.bytes.len(), was.request.total);
            return Err(conflict(&format!("only the first {kept} of its body's {total} bytes were kept; give a body")));
        }
        (None, None) => return Err(conflict("its body did not come to its end; give a body")),
    };
    let method = edit.method.as_deref().unwrap_or(was.method.as_str());
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| wrong(format!("method: {method:?} is no method")))?;
    let path =
        edit.path.map_or_else(|| was.path.clone(), |path| inner.options.redaction.restored_path(&path, &was.path));
    if !path.starts_with('/') {
        return Err(wrong("path: must begin with /".into()));
    }
    let mut headers = match edit.headers {
        Some(list) => headers(&list, &was.request_headers).map_err(wrong)?,
        None => was.request_headers.clone(),
    };
    let host = headers.remove(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let authority = host.map_or_else(|| was.authority.clone(), |host| host.to_string());
    // They are of the connection, or follow from the body.
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, http::header::EXPECT, http::header::CONNECTION] {
        headers.remove(name);
    }
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path.as_str());
    let uri = uri.build().map_err(|error| wrong(format!("path: {path:?}: {error}")))?;
    Ok((was.source, Edited { of: was.id, method, uri, headers, body: body.into() }))
}

fn headers(list: &[(String, String)], was: &HeaderMap) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let known: HeaderName = name.parse().map_err(|_| format!("headers: {name:?} is no name of a header"))?;
        let before = headers.get_all(&known).iter().count();
        let original = was.get_all(&known).iter().nth(before).filter(|_| value.contains(REDACTED));
        let value = match original {
            Some(original) => original.clone(),
            None => HeaderValue::from_str(value).map_err(|_| format!("headers: {name}: a value has no line breaks"))?,
        };
        headers.append(known, value);
    }
    Ok(headers)
}
