//! Processor time per event: unlike speed, it says the same on a machine that others keep busy. Linux only; elsewhere
//! nothing is printed.

use std::collections::BTreeMap;

use crate::rounds::{Side, quantile};

/// Ticks per second of /proc's times: fixed at 100 on every architecture that Linux runs on today (proc(5), USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// What this process and a server used, by side, in microseconds per event.
pub(crate) struct Cpu {
    server: Option<u32>,
    used: BTreeMap<bool, Vec<[f64; 2]>>,
}

/// The clocks at the start of a measurement.
pub(crate) struct Started([f64; 2]);

impl Cpu {
    /// Watches this process and, where there is one, the server's.
    pub(crate) fn new(server: Option<u32>) -> Self {
        Self { server, used: BTreeMap::new() }
    }

    pub(crate) fn start(&self) -> Started {
        Started(self.read())
    }

    /// Notes what one side used for so many events.
    pub(crate) fn stop(&mut self, side: Side, started: &Started, events: usize) {
        let now = self.read();
        let used = [0, 1].map(|who| (now[who] - started.0[who]) * 1e6 / events as f64);
        self.used.entry(side == Side::Reference).or_default().push(used);
    }

    /// Prints the medians beside the table.
    pub(crate) fn print(&self, name: &str) {
        for (is_reference, used) in &self.used {
            let median = |who: usize| quantile(&used.iter().map(|used| used[who]).collect::<Vec<_>>(), 0.5);
            let (ours, server) = (median(0), median(1));
            if ours.is_finite() {
                let side = if *is_reference { "reference" } else { "ours" };
                eprintln!(
                    "  {name}, {side}: {:.1} µs of processor an event ({ours:.1} here, {server:.1} in the server)",
                    ours + server
                );
            }
        }
    }

    fn read(&self) -> [f64; 2] {
        [seconds("self"), self.server.map_or(0.0, |pid| seconds(&pid.to_string()))]
    }
}

/// User and system time of a process with all its threads.
fn seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Fields 14 and 15 (proc(5)), counted behind the name, which may hold anything.
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    if ticks.len() == 2 { ticks.iter().sum::<f64>() / TICKS_PER_S } else { f64::NAN }
}
