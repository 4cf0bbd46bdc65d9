//! The steps, in the order in which a customer would take them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_lc_rs::digest;
use clock::{Clock, Entropy};
use contracts::PeerId;
use contracts::events::presence::PeerStatus;
use contracts::events::subscription::Status;
use contracts::frames::close;
use contracts::http::{CreateSubscription, VerifySubscription};
use contracts::requests::subscription::SubscriptionView;
use peer::gateway::{ConnectError, ConnectOptions, Event, Gateway, IncomingSession};
use peer::webrtc::{Connection, Options};
use tokio::sync::mpsc;

use super::report::{Report, Said};
use super::{Target, tunnel, unique_peer};
use crate::Api;

/// What goes across the data channel.
const PAYLOAD_BYTES: usize = 1024 * 1024;
/// How often a state that is on its way is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A connected peer and what it is told.
struct Joined {
    gateway: Gateway,
    events: mpsc::Receiver<Event>,
}

/// The two ends of the data channel.
type Channel = (Arc<Connection>, Arc<Connection>);

pub(super) async fn all(target: &Target, report: &mut Report) -> Result<(), &'static str> {
    let (api, clock, entropy) = (Api::new(&target.gateway, &target.token), Clock::system(), Entropy::system());
    let run = entropy.next_u64();
    let [alice, bob, mallory, laptop] = ["alice", "bob", "mallory", "laptop"].map(|name| unique_peer(name, run));
    let key = format!("demo-{run:x}");
    let created = report.step("create subscription", create(&api, target, &key)).await?;
    report.step("same key again", create_again(&api, target, &key, &created)).await?;
    report.step("stripe says active", become_active(&api, target, &clock, &created)).await?;
    let proofs = report.step("signed proofs", prove(&api, &created, [&alice, &bob])).await?;
    let joining = join_both(&api, &target.token, [&alice, &bob], proofs);
    let (mut one, mut two) = report.step("two peers connect", joining).await?;
    report.step("see each other", see_each_other(&mut one, &two, &alice, &bob)).await?;
    let channel = report.step("open data channel", open_channel(&one, &mut two, &bob)).await?;
    report.step("send 1 MiB", send_payload(&channel, &entropy)).await?;
    // On the heap: with an agent inside, it is too large for a thread's stack in a debug build.
    let opening = Box::pin(tunnel::open(&api, target, &created, &laptop, &entropy));
    let opened = report.step("open a tunnel", opening).await?;
    report.step("cut it in a download", tunnel::download_through_a_cut(&opened)).await?;
    report.step("no proof, no entry", refuse_unproven(&api, &target.token, &mallory)).await?;
    report.step("cancel at stripe", cancel(target, &created)).await?;
    report.step("all put out", put_out(&mut one, &mut two, opened)).await?;
    Ok(())
}

fn order(target: &Target) -> CreateSubscription {
    CreateSubscription {
        price_id: target.price_id.clone(),
        // The customer pays at Stripe: the subscription is incomplete until its webhooks say otherwise.
        payment_method_id: None,
        email: Some("ada@example.com".into()),
        metadata: [("team".to_owned(), "blue".to_owned())].into(),
    }
}

async fn create(api: &Api, target: &Target, key: &str) -> anyhow::Result<Said<SubscriptionView>> {
    let created = api.create_subscription(key, &order(target)).await?;
    Ok((format!("{} on plan {:?} is {:?}", created.subscription_id, created.plan, created.status), created))
}

async fn create_again(api: &Api, target: &Target, key: &str, first: &SubscriptionView) -> anyhow::Result<Said<()>> {
    let again = api.create_subscription(key, &order(target)).await?;
    ensure!(again.subscription_id == first.subscription_id, "the same Idempotency-Key made a second subscription");
    Ok(("the same Idempotency-Key gave the same subscription".into(), ()))
}

async fn become_active(
    api: &Api,
    target: &Target,
    clock: &Clock,
    created: &SubscriptionView,
) -> anyhow::Result<Said<()>> {
    loop {
        let now = api.subscription(&created.subscription_id).await?;
        match now.status {
            Status::Active => break,
            Status::Incomplete => clock.sleep(LOOK_AGAIN).await,
            other => bail!("the subscription went to {other:?}"),
        }
    }
    let deliveries = deliveries(target).await.unwrap_or_else(|_| "webhooks".into());
    Ok((format!("{deliveries}; the state follows Stripe's own object"), ()))
}

/// How the emulator sent its webhooks, in words.
async fn deliveries(target: &Target) -> anyhow::Result<String> {
    let url = format!("{}/_emulator/deliveries", target.stripe);
    let sent: serde_json::Value = reqwest::get(url).await?.error_for_status()?.json().await?;
    let sent = sent["deliveries"].as_array().or_else(|| sent["data"].as_array()).context("no list of deliveries")?;
    let mut events: Vec<&str> = sent.iter().filter_map(|delivery| delivery["event"].as_str()).collect();
    let total = sent.len();
    events.sort_unstable();
    events.dedup();
    Ok(format!("{total} webhook deliveries of {} events, doubled and out of order", events.len()))
}

async fn prove(api: &Api, created: &SubscriptionView, peers: [&PeerId; 2]) -> anyhow::Result<Said<[String; 2]>> {
    let ask = |peer: &PeerId| VerifySubscription { peer_id: peer.clone(), peer_key: None };
    let one = api.verify(&created.subscription_id, &ask(peers[0])).await?;
    let two = api.verify(&created.subscription_id, &ask(peers[1])).await?;
    let life_s = (one.expires_at_ms - one.refresh_at_ms) / 400;
    Ok((format!("Ed25519, good for {life_s} s, one for each peer"), [one.proof, two.proof]))
}

async fn join(api: &Api, token: &str, peer: &PeerId, proof: Option<String>) -> Result<Joined, ConnectError> {
    let options = ConnectOptions::new(api.socket_url(), token, peer.clone(), proof);
    let (gateway, events) = Gateway::connect(options).await?;
    Ok(Joined { gateway, events })
}

async fn join_both(
    api: &Api,
    token: &str,
    peers: [&PeerId; 2],
    [first, second]: [String; 2],
) -> anyhow::Result<Said<(Joined, Joined)>> {
    let one = join(api, token, peers[0], Some(first)).await?;
    let two = join(api, token, peers[1], Some(second)).await?;
    Ok((format!("{} and {} by WebSocket, synapse.v1", peers[0], peers[1]), (one, two)))
}

async fn see_each_other(one: &mut Joined, two: &Joined, alice: &PeerId, bob: &PeerId) -> anyhow::Result<Said<()>> {
    // The one who was first is told; the one who came later asks.
    loop {
        match one.events.recv().await.context("the connection ended")? {
            Event::Presence(peer) if peer.peer_id == *bob && peer.status == PeerStatus::Online => break,
            Event::Closed { code, reason, .. } => bail!("closed with {code} {reason}"),
            _ => {}
        }
    }
    let mut after = None;
    loop {
        let page = two.gateway.peers(after).await?;
        if page.peers.iter().any(|peer| peer.peer_id == *alice) {
            return Ok(("one was told, the other asked".into(), ()));
        }
        after = Some(page.next.context("the first peer is not in the list")?);
    }
}

async fn open_channel(one: &Joined, two: &mut Joined, bob: &PeerId) -> anyhow::Result<Said<Channel>> {
    let dialing = async {
        let session = one.gateway.open_session(bob.clone()).await?;
        let polite = session.is_polite();
        anyhow::Ok((session.dial(local()).await?, polite))
    };
    let answering = async { anyhow::Ok(incoming(two).await?.accept(local()).await?) };
    let ((dialed, polite), answered) = tokio::try_join!(dialing, answering)?;
    let role = if polite { "polite" } else { "impolite" };
    Ok((format!("offer, answer, candidates; the caller was {role}"), (Arc::new(dialed), Arc::new(answered))))
}

/// Both ends are on this machine.
fn local() -> Options {
    Options { bind: vec![std::net::Ipv4Addr::LOCALHOST.into()], ..Options::default() }
}

async fn incoming(joined: &mut Joined) -> anyhow::Result<IncomingSession> {
    loop {
        match joined.events.recv().await.context("the connection ended")? {
            Event::Incoming(session) => return Ok(session),
            Event::Closed { code, reason, .. } => bail!("closed with {code} {reason}"),
            Event::Presence(_) | Event::Message { .. } => {}
        }
    }
}

async fn send_payload((from, to): &Channel, entropy: &Entropy) -> anyhow::Result<Said<()>> {
    let mut payload = vec![0; PAYLOAD_BYTES];
    entropy.fill(&mut payload);
    let sent = digest::digest(&digest::SHA256, &payload);
    let receiving = async {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut received = 0;
        while received < PAYLOAD_BYTES {
            let message = to.recv().await?;
            received += message.len();
            hash.update(&message);
        }
        anyhow::Ok(hash.finish())
    };
    let (got, ()) = tokio::try_join!(receiving, async { Ok(from.send_all(&payload).await?) })?;
    ensure!(got.as_ref() == sent.as_ref(), "what arrived is not what was sent");
    let short: String = got.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((format!("peer to peer, not through us; SHA-256 {short}… on both sides"), ()))
}

async fn refuse_unproven(api: &Api, token: &str, mallory: &PeerId) -> anyhow::Result<Said<()>> {
    match join(api, token, mallory, None).await {
        Err(ConnectError::Refused(problem)) => Ok((format!("{} ({})", problem.title, problem.code), ())),
        Err(error) => Err(error).context("refused, but not by a problem"),
        Ok(_) => bail!("a peer without a proof was let in"),
    }
}

async fn cancel(target: &Target, created: &SubscriptionView) -> anyhow::Result<Said<()>> {
    let url = format!("{}/v1/subscriptions/{}", target.stripe, created.stripe_subscription_id);
    let call = reqwest::Client::new().delete(url).bearer_auth(&target.stripe_key).send().await?;
    call.error_for_status()?;
    Ok((format!("{} is canceled there; nobody told us yet", created.stripe_subscription_id), ()))
}

async fn put_out(one: &mut Joined, two: &mut Joined, opened: tunnel::Opened) -> anyhow::Result<Said<()>> {
    for joined in [one, two] {
        let (code, reason) = closed(joined).await?;
        ensure!(code == close::ENTITLEMENT_LOST, "closed with {code} {reason} instead of {}", close::ENTITLEMENT_LOST);
    }
    tunnel::ended(opened).await?;
    Ok((format!("both sockets and the tunnel closed with {} entitlement_lost", close::ENTITLEMENT_LOST), ()))
}

async fn closed(joined: &mut Joined) -> anyhow::Result<(u16, String)> {
    loop {
        if let Event::Closed { code, reason, .. } =
            joined.events.recv().await.context("the connection ended silently")?
        {
            return Ok((code, reason));
        }
    }
}
