//! After an outage: what Stripe's events of the time since are about. They come newest first, so the first one met of a
//! subscription is its newest; where that says what we have, nothing was missed.

use super::page::Phase;
use super::run::Work;
use super::{Stopped, compare};

/// Stripe lists events of 30 days; an hour less, because time passes while they are read.
const HORIZON_S: u64 = 30 * 86_400 - 3_600;
/// Events are read again from so long before the last end: Stripe may list one late.
const OVERLAP_S: u64 = 300;
/// Subscriptions remembered as looked at; beyond it an older event costs a needless look.
const MAX_LOOKED_AT: usize = 2_000;

/// A page of Stripe's events.
pub(super) async fn page(
    work: &mut Work<'_>,
    after: Option<String>,
    mut looked_at: Vec<String>,
) -> Result<Phase, Stopped> {
    work.pace().await?;
    let horizon_s = (work.now_ms() / 1_000).saturating_sub(HORIZON_S);
    let since_s = work.run.since_s.saturating_sub(OVERLAP_S).max(horizon_s);
    let page = work.service.stripe.list_subscription_events(since_s, after.as_deref()).await?;
    for event in &page.found {
        let object = &event.object;
        if looked_at.contains(&object.id) {
            continue;
        }
        work.run.counts.checked += 1;
        if let Some(named) = compare::named(object, work.service.catalogue.is_live()) {
            work.look_at(&named, object).await?;
        }
        if looked_at.len() < MAX_LOOKED_AT {
            looked_at.push(object.id.clone());
        }
    }
    Ok(page.next.map_or(Phase::Done, |next| Phase::Events { after: Some(next), looked_at }))
}
