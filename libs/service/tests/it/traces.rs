use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use clock::Clock;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use service::telemetry::{TelemetrySettings, TraceContext, build, current_trace, memory_sink};
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

use crate::client::production;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn start(&self) -> String {
        let requests = Arc::clone(&self.requests);
        let receive = async move |body: Bytes| {
            requests.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        };
        let server = production(Router::new().route("/v1/traces", post(receive))).await;
        format!("http://{}", server.address)
    }

    fn spans(&self) -> HashMap<String, Span> {
        let requests = self.requests.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let spans = resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone());
        spans.map(|span| (span.name.clone(), span)).collect()
    }

    fn services(&self) -> String {
        format!("{:?}", self.requests.lock().unwrap().iter().map(|r| &r.resource_spans[0].resource).collect::<Vec<_>>())
    }
}

fn settings(endpoint: &str, sample_ratio: f64) -> TelemetrySettings {
    TelemetrySettings { otlp_endpoint: endpoint.to_owned(), sample_ratio, ..TelemetrySettings::default() }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn handler() -> String {
    let work = async {
        tracing::info!("deep inside");
        current_trace().unwrap().traceparent
    };
    work.instrument(tracing::info_span!("store.get", token = "hunter2", note = "Bearer hunter2hunter2")).await
}

#[tokio::test]
async fn a_request_and_what_it_causes_are_one_trace_at_the_collector() {
    let collector = Collector::default();
    let (sink, lines) = memory_sink();
    // The caller said "sampled", so a ratio of nothing does not matter.
    let settings = settings(&collector.start().await, 0.0);
    let (dispatch, telemetry) = build(&settings, "presence", &Clock::system(), sink).unwrap();
    let guard = tracing::dispatcher::set_default(&dispatch);
    let server = production(Router::new().route("/peers/{id}", get(handler))).await;
    let answer = server.send("GET /peers/alice", &format!("traceparent: {CALLER}\r\n"), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(guard);
    telemetry.shutdown().await;

    let spans = collector.spans();
    let (http, store) = (&spans["GET /peers/{id}"], &spans["store.get"]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!((hex(&http.trace_id), hex(&store.trace_id)), (trace.into(), trace.into()));
    assert_eq!(hex(&http.parent_span_id), "b7ad6b7169203331");
    assert_eq!(store.parent_span_id, http.span_id);
    // What a handler hands on names its own span.
    assert_eq!(answer.body, format!("00-{trace}-{}-01", hex(&store.span_id)));
    assert!(collector.services().contains("presence"));
    let exported = format!("{spans:?}");
    assert!(!exported.contains("hunter2") && exported.contains("[redacted]"), "{exported}");
    let log = lines.lock().unwrap().join("\n");
    assert!(log.contains(&format!("trace_id={trace}")) && log.contains("request_id="), "{log}");
}

#[tokio::test]
async fn without_a_caller_the_ratio_decides() {
    for (ratio, recorded) in [(0.0, 0), (1.0, 1)] {
        let collector = Collector::default();
        let settings = settings(&collector.start().await, ratio);
        let (dispatch, telemetry) = build(&settings, "presence", &Clock::system(), memory_sink().0).unwrap();
        async { tracing::info_span!("root").in_scope(|| ()) }.with_subscriber(dispatch).await;
        telemetry.shutdown().await;
        assert_eq!(collector.spans().len(), recorded);
    }
}

#[tokio::test]
async fn a_dead_collector_stops_nobody() {
    let port = testkit::free_port();
    let settings = settings(&format!("http://127.0.0.1:{port}"), 1.0);
    let (dispatch, telemetry) = build(&settings, "presence", &Clock::system(), memory_sink().0).unwrap();
    async { tracing::info_span!("root").in_scope(|| ()) }.with_subscriber(dispatch).await;
    telemetry.shutdown().await;
}

#[tokio::test]
async fn without_a_collector_the_callers_trace_is_still_handed_on() {
    let hand_on = async |context: service::http::RequestContext| context.trace().unwrap().traceparent;
    let server = production(Router::new().route("/", get(hand_on))).await;
    let answer = server.send("GET /", &format!("traceparent: {CALLER}\r\n"), "").await;
    assert_eq!(answer.body, TraceContext::parse(CALLER, None).unwrap().traceparent);
}
