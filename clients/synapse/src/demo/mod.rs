//! The main job, start to end: a subscription is bought, its proof lets two peers in, they find each other and open a
//! WebRTC data channel; without a proof nobody gets in; cancelled at Stripe, everybody is put out.

mod report;
mod steps;
mod tunnel;

pub use report::{Report, Reporter, StepReport};

use std::time::Duration;

use clock::Clock;
use contracts::PeerId;

/// What to run the demo against.
#[derive(Clone, Debug)]
pub struct Target {
    /// The gateway, `http://host:port`.
    pub gateway: String,
    /// The tunnel service, where it is not at the gateway's address.
    pub tunnels: Option<String>,
    /// An access token of a user who may buy.
    pub token: String,
    /// A Stripe price on the gateway's allow-list.
    pub price_id: String,
    /// Stripe's API, `http://host:port`: the demo cancels there as the customer would.
    pub stripe: String,
    /// A key for it.
    pub stripe_key: String,
    /// What carries messages, for the report.
    pub bus: String,
    /// What holds state, for the report.
    pub store: String,
}

/// How long one step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs every step, telling `reporter` as it goes. The first step that fails ends the run.
pub async fn run(target: &Target, clock: &Clock, reporter: Reporter) -> Report {
    let mut report = Report::new(target, clock.clone(), reporter);
    if let Err(step) = steps::all(target, &mut report).await {
        report.failed = Some(step);
    }
    report.finish();
    report
}

/// Names that don't collide with those of an earlier run on the same system.
fn unique_peer(name: &str, run: u64) -> PeerId {
    format!("{name}-{run:x}").parse().expect("letters, digits and a hyphen are a valid id")
}
