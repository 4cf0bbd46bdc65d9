//! Emptying mailboxes: what is kept for a peer goes to it in order when it is here, and expires when it stays away.

use std::sync::Arc;
use std::time::Duration;

use bus::Trail;
use contracts::signals::signaling::{Fate, Receipt};
use contracts::{PeerId, TenantId};
use futures::StreamExt;
use outbox::{Buried, Unit};
use service::Rejection;
use store::StoreError;
use tokio::sync::mpsc;

use super::{MAX_DECISIONS, Place, place};
use crate::Signaling;
use crate::delivery::hand_over;
use crate::mailbox::{Content, Letter, Mail};
use crate::signal;
use crate::store::{Kept, Mailbox};

/// How often due mailboxes are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Mailboxes that are emptied at once.
const AT_ONCE: usize = 32;
/// Wakes that wait; more are dropped, and the mailbox is found when it is due.
const WAKES: usize = 10_000;
/// Pieces read at once.
const PAGE: u32 = 16;
/// Due mailboxes of one look.
const DUE: u32 = 1_000;

type Whose = (TenantId, PeerId);

/// Says that a peer's mailbox should be looked at now.
pub(crate) struct Wakes(mpsc::Sender<Whose>);

/// The other end of [`Wakes`].
pub(crate) struct Woken(mpsc::Receiver<Whose>);

impl Wakes {
    pub(crate) fn new() -> (Self, Woken) {
        let (sender, receiver) = mpsc::channel(WAKES);
        (Self(sender), Woken(receiver))
    }

    pub(crate) fn wake(&self, tenant: &TenantId, peer: &PeerId) {
        // Full or stopping: found when it is due.
        let _ = self.0.try_send((tenant.clone(), peer.clone()));
    }
}

/// Empties mailboxes that are woken or due until the process stops.
pub(crate) async fn run(signaling: Arc<Signaling>, woken: Woken) {
    let stop = signaling.platform.lifecycle.token();
    let woken = futures::stream::unfold(woken, async |mut woken| {
        let whose = woken.0.recv().await?;
        Some((whose, woken))
    });
    let looking = Arc::clone(&signaling);
    let due = futures::stream::unfold(looking, async |signaling| {
        signaling.platform.clock.sleep(LOOK_INTERVAL).await;
        let found = signaling.sessions.due_mailboxes(signaling.platform.clock.now_ms(), DUE).await;
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "due mailboxes could not be looked for; tried again");
            Vec::new()
        });
        Some((found, signaling))
    })
    .flat_map(futures::stream::iter);
    let emptying = futures::stream::select(woken, due).for_each_concurrent(AT_ONCE, |(tenant, peer)| {
        let signaling = Arc::clone(&signaling);
        async move {
            if let Err(error) = empty(&signaling, &tenant, &peer).await {
                tracing::warn!(%tenant, peer_id = %peer, %error, "a mailbox was not emptied; tried again");
            }
        }
    });
    stop.run_until_cancelled(emptying).await;
}

/// Empties one mailbox as far as it goes.
async fn empty(signaling: &Signaling, tenant: &TenantId, peer: &PeerId) -> Result<(), StoreError> {
    let Some(mut mailbox) = claim(signaling, tenant, peer).await? else { return Ok(()) };
    let trail = Trail::fresh(&signaling.platform.clock, &signaling.platform.entropy);
    loop {
        let page = signaling.sessions.mail(tenant, peer, PAGE).await?;
        if page.is_empty() {
            // Emptied; else something came in between, or the mailbox says more than there is.
            let now = signaling.sessions.mailbox(tenant, peer).await?;
            if now.head.count == 0 {
                return Ok(());
            }
            if now.is_same(&mailbox) {
                return signaling.sessions.forget_mailbox((tenant, peer), now).await;
            }
            mailbox = now;
            continue;
        }
        // Without an answer of presence only what is too old moves.
        let found = place::<()>(signaling, tenant, &trail, peer).await.unwrap_or_else(|rejection: Rejection<()>| {
            tracing::info!(%rejection, "presence does not say where a peer is whose signals are kept");
            Place::Away
        });
        for kept in page {
            let Some(fate) = fate(signaling, (tenant, peer), &trail, &found, &kept.mail).await? else {
                return release(signaling, tenant, peer, &kept.mail).await;
            };
            if !remove(signaling, (tenant, peer), &mut mailbox, &kept, fate).await? {
                // Somebody else empties it.
                return Ok(());
            }
        }
    }
}

/// What becomes of a piece now; `None` when it stays.
async fn fate(
    signaling: &Signaling,
    (tenant, peer): (&TenantId, &PeerId),
    trail: &Trail,
    found: &Place,
    mail: &Mail,
) -> Result<Option<Fate>, StoreError> {
    if mail.expires_at_ms <= signaling.platform.clock.now_ms() || matches!(found, Place::Unknown | Place::Barred) {
        return Ok(Some(Fate::Expired));
    }
    if let Content::Signal(letter) = &mail.content
        && !letter.outlives_session()
        && !is_open(signaling, tenant, peer, letter).await?
    {
        return Ok(Some(Fate::Expired));
    }
    let Place::Here(node) = found else { return Ok(None) };
    match hand_over(signaling, tenant, trail, (peer, node), &mail.id, &mail.content).await {
        Ok(true) => Ok(Some(Fate::Delivered)),
        Ok(false) => Ok(None),
        Err(error) => {
            tracing::warn!(%error, %node, "what is kept for a peer could not be handed over; tried again");
            Ok(None)
        }
    }
}

async fn is_open(signaling: &Signaling, tenant: &TenantId, peer: &PeerId, letter: &Letter) -> Result<bool, StoreError> {
    let found = signaling.sessions.find(tenant, &letter.session_id).await?;
    Ok(found.is_some_and(|found| found.session.peers.contains(peer)))
}

/// Takes a mailbox for this process alone, for a while. Until that is over nobody else tries; should this process die,
/// the mailbox is due then.
async fn claim(signaling: &Signaling, tenant: &TenantId, peer: &PeerId) -> Result<Option<Mailbox>, StoreError> {
    for _ in 0..MAX_DECISIONS {
        let mut mailbox = signaling.sessions.mailbox(tenant, peer).await?;
        let now_ms = signaling.platform.clock.now_ms();
        if mailbox.head.count == 0 || mailbox.head.claimed_until_ms > now_ms {
            return Ok(None);
        }
        mailbox.head.claimed_until_ms = now_ms + signaling.config.claim_ms();
        mailbox.head.due_ms = mailbox.head.claimed_until_ms;
        let mut unit = Unit::new();
        mailbox.write(&mut unit, (tenant, peer), now_ms);
        if signaling.sessions.commit(unit).await? {
            return signaling.sessions.mailbox(tenant, peer).await.map(Some);
        }
    }
    Ok(None)
}

/// Gives a mailbox back that can't be emptied now: it is due again after a while that grows with each failure, or when
/// the oldest piece expires.
async fn release(signaling: &Signaling, tenant: &TenantId, peer: &PeerId, oldest: &Mail) -> Result<(), StoreError> {
    let rules = signaling.config.mailbox_rules();
    metrics::counter!("synapse_signaling_mailbox_retries_total").increment(1);
    for _ in 0..MAX_DECISIONS {
        let mut mailbox = signaling.sessions.mailbox(tenant, peer).await?;
        if mailbox.head.count == 0 {
            return Ok(());
        }
        let now_ms = signaling.platform.clock.now_ms();
        mailbox.head.due_ms = (now_ms + mailbox.head.wait_ms(&rules)).min(oldest.expires_at_ms);
        mailbox.head.attempts += 1;
        mailbox.head.claimed_until_ms = 0;
        let mut unit = Unit::new();
        mailbox.write(&mut unit, (tenant, peer), now_ms);
        if signaling.sessions.commit(unit).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Takes a piece out, tells its sender and, where it expired, the operators, in one transaction. False when the piece is
/// gone already.
async fn remove(
    signaling: &Signaling,
    (tenant, peer): (&TenantId, &PeerId),
    mailbox: &mut Mailbox,
    kept: &Kept,
    fate: Fate,
) -> Result<bool, StoreError> {
    for _ in 0..MAX_DECISIONS {
        let now_ms = signaling.platform.clock.now_ms();
        let mut unit = Unit::new();
        let mut claimed = mailbox.clone();
        claimed.head.claimed_until_ms = now_ms + signaling.config.claim_ms();
        claimed.head.due_ms = claimed.head.claimed_until_ms;
        claimed.take_out(&mut unit, (tenant, peer), kept, now_ms);
        if let Content::Signal(letter) = &kept.mail.content {
            tell_sender(signaling, tenant, &mut unit, letter, letter.receipt(&kept.mail.id, peer, fate)).await?;
            if fate == Fate::Expired {
                bury(signaling, (tenant, peer), &mut unit, letter, kept, now_ms);
            }
        }
        let done = signaling.sessions.commit(unit).await?;
        *mailbox = signaling.sessions.mailbox(tenant, peer).await?;
        if done {
            if let Content::Signal(letter) = &kept.mail.content {
                signaling.wakes.wake(tenant, &letter.from);
            }
            let name = if fate == Fate::Delivered { "delivered" } else { "expired" };
            metrics::counter!("synapse_signaling_kept_total", "fate" => name).increment(1);
            return Ok(true);
        }
        if !signaling.sessions.is_kept(kept).await? {
            return Ok(false);
        }
    }
    Ok(false)
}

/// The receipt goes the way of every mail. A sender whose own mailbox is full goes without.
async fn tell_sender(
    signaling: &Signaling,
    tenant: &TenantId,
    unit: &mut Unit,
    letter: &Letter,
    receipt: Receipt,
) -> Result<(), StoreError> {
    let (rules, now_ms) = (signaling.config.mailbox_rules(), signaling.platform.clock.now_ms());
    let own = signaling.sessions.mailbox(tenant, &letter.from).await?;
    let id = signaling.new_id().parse().expect("a UUID is a valid id");
    let mail = Mail { id, content: Content::Receipt(receipt), expires_at_ms: now_ms + rules.ttl_ms };
    if own.append(unit, (tenant, &letter.from), &mail, &rules, now_ms).is_err() {
        metrics::counter!("synapse_signaling_receipts_lost_total").increment(1);
    }
    Ok(())
}

/// What operators see of a signal that nobody took: who and what kind, never what it says.
fn bury(
    signaling: &Signaling,
    (tenant, peer): (&TenantId, &PeerId),
    unit: &mut Unit,
    letter: &Letter,
    kept: &Kept,
    now_ms: u64,
) {
    let what = serde_json::json!({
        "tenant": tenant, "signal_id": kept.mail.id, "session_id": letter.session_id, "from": letter.from, "to": peer,
        "type": signal::name(&letter.signal),
    });
    let error = "the signal was kept for its peer, which did not come in time or whose session ended before";
    let keep_until_ms = now_ms + signaling.config.expired_keep_ms;
    let buried = Buried { error: error.into(), attempts: 0, what: what.to_string(), keep_until_ms };
    let id = format!("signal/{tenant}/{}", kept.mail.id);
    unit.bury(&id, &signaling.platform.entropy, now_ms, buried);
}
