//! One trace from the caller through HTTP, bus, store and outbox to whoever reads the event, as a collector sees it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use clock::Clock;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use service::telemetry::{self, TelemetrySettings};
use testkit::eventually;
use tokio::net::TcpListener;

use crate::child::PATIENCE;
use crate::running::Running;

const BUYING: &str = "0af7651916cd43dd8448eb211c80319c";
const PAYING: &str = "1bf7651916cd43dd8448eb211c80319d";
const CALLER: &str = "b7ad6b7169203331";

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn start(&self) -> String {
        let spans = Arc::clone(&self.0);
        let receive = async move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let resources = request.resource_spans.into_iter();
            let scopes = resources.flat_map(|resource| resource.scope_spans);
            spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/traces", post(receive));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    fn of(&self, trace: &str) -> Trace {
        let spans = self.0.lock().unwrap();
        Trace(spans.iter().filter(|span| hex(&span.trace_id) == trace).cloned().collect())
    }
}

#[derive(Debug)]
struct Trace(Vec<Span>);

impl Trace {
    fn find(&self, name: &str, service: &str, kind: &str) -> Option<&Span> {
        self.0.iter().find(|span| {
            span.name == name
                && text(span, "service") == service
                && (kind.is_empty() || text(span, "event.kind") == kind)
        })
    }

    fn one(&self, name: &str, service: &str, kind: &str) -> &Span {
        self.find(name, service, kind).unwrap_or_else(|| panic!("no {name} of {service} {kind} in {:#?}", self.short()))
    }

    /// The store calls directly below `span`.
    fn store_calls(&self, span: &Span) -> Vec<&str> {
        let below = self.0.iter().filter(|call| call.parent_span_id == span.span_id);
        below.filter(|call| text(call, "db.system.name") == "sqlite").map(|call| call.name.as_str()).collect()
    }

    fn short(&self) -> Vec<String> {
        let line = |span: &Span| {
            let (id, parent) = (hex(&span.span_id), hex(&span.parent_span_id));
            format!("{id} < {parent} {} {} {}", span.name, text(span, "service"), text(span, "event.kind"))
        };
        self.0.iter().map(line).collect()
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text<'a>(span: &'a Span, key: &str) -> &'a str {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key);
    match attribute.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Attribute::StringValue(text)) => text,
        _ => "",
    }
}

/// What Stripe says about a subscription when it changed.
async fn news_of(running: &Running, stripe_id: &str) -> Value {
    let url = format!("{}/v1/subscriptions/{stripe_id}", running.stripe.base_url());
    let request = running.http.get(url).bearer_auth(synapsed::development::STRIPE_KEY);
    let object: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(object["status"], "active", "{object:#}");
    let created = Clock::system().now_ms() / 1_000;
    json!({
        "id": "evt_traced", "object": "event", "type": "customer.subscription.updated", "created": created,
        "livemode": false, "api_version": "2025-11-17.clover", "pending_webhooks": 1, "data": {"object": object},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_everything_it_causes_are_one_trace() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    // The callers say "sampled"; of all else, nothing is recorded.
    let settings = TelemetrySettings {
        otlp_endpoint: endpoint,
        sample_ratio: 0.0,
        log_filter: "error".into(),
        ..TelemetrySettings::default()
    };
    let telemetry = telemetry::init(&settings, "synapsed", &Clock::system()).unwrap();
    // The emulator tells nobody: the only webhook is the one below.
    let running = Running::start(|_, _| ()).await;
    let created = running.create("traced", &format!("00-{BUYING}-{CALLER}-01")).await;
    assert_eq!(created.status(), 201);
    let created: Value = created.json().await.unwrap();
    let id = created["stripe_subscription_id"].as_str().unwrap();
    eventually(PATIENCE, "the payment", async || {
        let url = format!("{}/v1/subscriptions/{id}", running.stripe.base_url());
        let request = running.http.get(url).bearer_auth(synapsed::development::STRIPE_KEY);
        let object: Value = request.send().await.unwrap().json().await.unwrap();
        (object["status"] == "active").then_some(())
    })
    .await;
    let secrets = serde_json::to_value(&running.secrets).unwrap();
    let news = news_of(&running, id).await;
    let secret = secrets["webhook_secret"].as_str().unwrap();
    let taken = running.webhook(secret, &news, &format!("00-{PAYING}-{CALLER}-01")).await;
    assert_eq!(taken.status(), 200);
    let path = format!("/v1/subscriptions/{}", created["subscription_id"].as_str().unwrap());
    eventually(PATIENCE, "the subscription to be active", async || {
        let view = running.http.get(running.url(&path)).bearer_auth(running.token()).send().await.unwrap();
        let view: Value = view.json().await.unwrap();
        if view["status"] == "active" { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    // Draining ends consumers and relays when they have done what is there, and then the last spans are sent.
    eventually(PATIENCE, "the readers of the news", async || {
        let trace = collector.of(PAYING);
        let read = |service, kind| trace.find("handle event", service, kind).is_some();
        let all =
            read("gateway", "subscription.status_changed.v2") && read("webhook", "subscription.status_changed.v1");
        if all { Ok(()) } else { Err(format!("{:#?}", trace.short())) }
    })
    .await;
    running.stop().await;
    telemetry.shutdown().await;
    assert_buying(&collector.of(BUYING));
    assert_paying(&collector.of(PAYING));
}

/// HTTP → request over the bus → store.
fn assert_buying(trace: &Trace) {
    let http = trace.one("POST /v1/subscriptions", "synapsed", "");
    assert_eq!(hex(&http.parent_span_id), CALLER);
    let command = trace.one("subscription.create.v1", "subscription", "");
    assert_eq!(command.parent_span_id, http.span_id, "{:#?}", trace.short());
    assert!(trace.store_calls(command).contains(&"transact"), "{:#?}", trace.short());
}

/// HTTP → store → outbox → publish → event → store → outbox → publish → two readers.
fn assert_paying(trace: &Trace) {
    let http = trace.one("POST /stripe/webhook", "synapsed", "");
    assert_eq!(hex(&http.parent_span_id), CALLER);
    assert!(trace.store_calls(http).contains(&"transact"), "{:#?}", trace.short());
    let hint = trace.one("handle event", "subscription", "webhook.stripe_subscription_changed.v1");
    assert_eq!(hint.parent_span_id, http.span_id, "{:#?}", trace.short());
    assert!(trace.store_calls(hint).contains(&"transact"), "{:#?}", trace.short());
    // Each outbox published in this trace, below whoever made the fact.
    for parent in [http, hint] {
        let published = |span: &&Span| span.name == "publish events" && span.parent_span_id == parent.span_id;
        let publish = trace.0.iter().find(published).unwrap_or_else(|| panic!("{:#?}", trace.short()));
        assert_eq!(text(publish, "messaging.system"), "embedded");
    }
    let readers = [("gateway", "subscription.status_changed.v2"), ("webhook", "subscription.status_changed.v1")];
    for (service, kind) in readers {
        let reader = trace.one("handle event", service, kind);
        assert_eq!(reader.parent_span_id, hint.span_id, "{service}: {:#?}", trace.short());
        assert!(!trace.store_calls(reader).is_empty(), "{service}: {:#?}", trace.short());
    }
}
