//! Metrics of the process, in Prometheus' text format. One recorder for all services in it.

use std::sync::OnceLock;
use std::time::Duration;

use clock::Clock;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Buckets of every `…_seconds` histogram: from a cached lookup to a request that is given up.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets of every `…_bytes` histogram.
const BYTES: [f64; 8] = [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// How often [`run_upkeep`] works; samples pile up in between.
const UPKEEP: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the process's recorder unless there is one. Metrics that were recorded before are lost.
pub(crate) fn install() -> Option<&'static PrometheusHandle> {
    let make = || {
        let suffix = |suffix: &str| Matcher::Suffix(suffix.to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(suffix("_seconds"), &SECONDS).ok()?;
        builder.set_buckets_for_metric(suffix("_bytes"), &BYTES).ok()?.install_recorder().ok()
    };
    HANDLE.get_or_init(make).as_ref()
}

/// All metrics as text. Empty where another recorder was installed before ours.
pub fn render_metrics() -> String {
    sample_process();
    install().map(PrometheusHandle::render).unwrap_or_default()
}

/// Keeps the recorder's memory bounded between two scrapes: folds samples into histograms every 5 s, for ever.
pub async fn run_upkeep(clock: Clock) {
    loop {
        clock.sleep(UPKEEP).await;
        if let Some(handle) = install() {
            handle.run_upkeep();
        }
    }
}

/// Memory, processor time and open files of the process, by the names Prometheus' own clients use. Linux only.
#[allow(clippy::cast_precision_loss)] // gauges are floats
fn sample_process() {
    const PAGE_BYTES: u64 = 4096;
    // USER_HZ, fixed at 100 on every Linux that Rust supports.
    const TICKS_PER_S: f64 = 100.0;
    if let Ok(text) = std::fs::read_to_string("/proc/self/statm")
        && let Some(pages) = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok())
    {
        metrics::gauge!("process_resident_memory_bytes").set((pages * PAGE_BYTES) as f64);
    }
    if let Ok(text) = std::fs::read_to_string("/proc/self/stat")
        && let Some((_, fields)) = text.rsplit_once(')')
    {
        // Fields 14 and 15 of proc_pid_stat(5): user and system time. The first after the name is field 3.
        let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
        metrics::gauge!("process_cpu_seconds_total").set(ticks.sum::<u64>() as f64 / TICKS_PER_S);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(files.count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_rendered_with_the_process() {
        install();
        metrics::counter!("metrics_test_total", "kind" => "a").increment(2);
        metrics::histogram!("metrics_test_seconds").record(0.003);
        let text = render_metrics();
        assert!(text.contains("metrics_test_total{kind=\"a\"} 2"), "{text}");
        assert!(text.contains("metrics_test_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        let memory = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(memory.is_some_and(|bytes| bytes.parse::<f64>().is_ok_and(|bytes| bytes > 1e6)), "{text}");
    }
}
