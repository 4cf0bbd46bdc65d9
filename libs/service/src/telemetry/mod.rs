//! Logs, traces and metrics of a process.
//!
//! Call [`init`] once, before anything is logged; several services in one process share it. Trace context travels as
//! [`TraceContext`]: taken from headers or envelopes, made a span's parent with [`set_parent`], handed on from
//! [`current_trace`].

mod export;
mod logs;
mod metrics;
mod redact;
mod settings;
mod trace;

use std::sync::Arc;

use clock::Clock;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub use logs::Sink;
pub(crate) use metrics::install as install_metrics;
pub use metrics::{render_metrics, run_upkeep};
pub use redact::{is_secret_name, scrub};
pub use settings::{LogFormat, TelemetrySettings};
pub use trace::{TraceContext, add_link, current_trace, set_parent};

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error("telemetry.log_filter: {0}; write directives like \"info,hyper=warn\"")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter can't be built.
    #[error("telemetry.otlp_endpoint: {0}; give the base URL of an OTLP/HTTP collector, or nothing")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Somebody did it before.
    #[error("telemetry was started before in this process; start it once and share it")]
    Twice,
}

/// Keeps the trace exporter; ends it with [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Starts logs (to standard error), traces and metrics for the process.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(settings: &TelemetrySettings, service: &str, clock: &Clock) -> Result<Telemetry, TelemetryError> {
    let (dispatch, telemetry) = build(settings, service, clock, logs::standard_error())?;
    install_metrics();
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| TelemetryError::Twice)?;
    Ok(telemetry)
}

/// The same without making it the process's default: for tests that look at what comes out.
///
/// # Errors
/// [`TelemetryError`] except `Twice`.
pub fn build(
    settings: &TelemetrySettings,
    service: &str,
    clock: &Clock,
    sink: Sink,
) -> Result<(Dispatch, Telemetry), TelemetryError> {
    let filter = EnvFilter::try_new(&settings.log_filter)?;
    // Whatever else somebody wants to see or not, but who names them decides.
    let filter = if settings.log_filter.contains(crate::AUDIT_TARGET) {
        filter
    } else {
        filter.add_directive(format!("{}=info", crate::AUDIT_TARGET).parse()?)
    };
    let logs = logs::LogLayer::new(settings.log_format, service, clock.clone(), sink).with_filter(filter);
    let provider = export::provider(settings, service)?;
    let traces = provider.as_ref().map(|provider| {
        let tracer = provider.tracer("synapse");
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(traced())
    });
    let dispatch = Dispatch::new(Registry::default().with(traces).with(logs));
    Ok((dispatch, Telemetry { provider }))
}

/// What becomes part of a trace: everything from `info` up, and the calls of store and bus, which logs only show when
/// somebody debugs.
fn traced() -> FilterFn {
    let filter: fn(&Metadata<'_>) -> bool = |metadata| {
        let call = metadata.is_span() && ["store", "bus"].contains(&metadata.target().split("::").next().unwrap_or(""));
        *metadata.level() <= if call { Level::DEBUG } else { Level::INFO }
    };
    FilterFn::new(filter).with_max_level_hint(LevelFilter::DEBUG)
}

impl Telemetry {
    /// Sends what is waiting and ends the exporter; at most some seconds. Call it last.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        // It waits for the exporter's thread, which must not keep this runtime from working.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last spans could not be sent");
        }
    }
}

/// A sink that keeps lines in memory.
pub fn memory_sink() -> (Sink, Arc<std::sync::Mutex<Vec<String>>>) {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let sink: Sink = Arc::new(move |line: &str| {
        kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line.trim_end().to_owned());
    });
    (sink, lines)
}
