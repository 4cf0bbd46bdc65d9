//! **revocation**: from the signed webhook's POST to the closed socket, the whole system in one process (embedded bus,
//! SQLite, default settings), with 1,000 live sockets besides. A subscription is canceled at Stripe, then Stripe's
//! event is posted by the bench, so that the way is: signature, durable append, event, fetch from Stripe, new state,
//! event, close frame at the client. One at a time, ten a second. Milliseconds; the limit is a second.
//!
//! - `revocation`: the 99th percentile; `revocation.p50`: the median.

use std::net::SocketAddr;
use std::time::Duration;

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use auth::{Grant, Role, TokenMinter};
use aws_lc_rs::hmac;
use clock::{Clock, Entropy};
use contracts::SubscriptionId;
use contracts::http::{CreateSubscription, VerifySubscription};
use contracts::requests::subscription::SubscriptionView;
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use reqwest::Client;
use serde_json::{Value, json};
use stripe_emulator::{Options, SeedPrice, StripeEmulator};
use synapse::Api;
use synapsed::development::{PRICE, STRIPE_KEY, Secrets};
use synapsed::fleet::{Fleet, Settings};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::report::{Better, Report, Title};
use crate::rounds::{Rounds, quantile};

/// Sockets that stay open all the time.
const LIVE: usize = 1_000;
/// One live subscription in each, with as many sockets as the default plan allows.
const TENANTS: usize = LIVE / PEERS_EACH;
/// The default plan's limit.
const PEERS_EACH: usize = 50;
/// Subscriptions that are canceled in one round, each with one socket.
const CANCELED: usize = 100;
/// Rounds; no round warms up, because the first cancellation is part of the promise.
const ROUNDS: usize = 3;
/// From one cancellation to the next.
const PACE: Duration = Duration::from_millis(100);
const STUCK: Duration = Duration::from_secs(30);
const AT_ONCE: usize = 32;
const ENTITLEMENT_LOST: u16 = 4402;
const TOKEN_SECRET: &str = "a secret of the bench, of at least thirty-two bytes";
const WEBHOOK_SECRET: &str = "whsec_of_the_bench_0123456789abcdef0123456789";
const LIMIT_MS: f64 = 1_000.0;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct World {
    clock: Clock,
    fleet: Fleet,
    stripe: StripeEmulator,
    http: Client,
    tenants: Vec<Tenant>,
    next: AtomicUsize,
    _folder: tempfile::TempDir,
}

/// Tenants share nothing, and each hears of its own peers only.
struct Tenant {
    name: String,
    token: String,
    api: Api,
}

pub(crate) async fn run(clock: &Clock, report: &mut Report) -> Result<()> {
    let world = World::start(clock).await?;
    let mut live = world.sockets(TENANTS, PEERS_EACH).await?;
    ensure!(live.len() == LIVE, "{} live sockets instead of {LIVE}", live.len());
    let (mut p99, mut p50) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let millis = world.round().await?;
        p99.push(quantile(&millis, 0.99));
        p50.push(quantile(&millis, 0.5));
    }
    for socket in live.iter_mut().map(|(_, _, socket)| socket) {
        // Whoever did not cancel must not be put out.
        socket.send(Message::Text(json!({"type": "ping", "id": "still"}).to_string().into())).await?;
        let answer = frame(socket).await?;
        ensure!(answer["outcome"] == "accepted", "a live socket was put out: {answer}");
    }
    for (name, figures) in [("revocation", p99), ("revocation.p50", p50)] {
        let title = Title { name, goal: 1.0, better: Better::Lower, unit: "ms" };
        report.add(&title, &Rounds::against(LIMIT_MS, figures));
    }
    drop(live);
    world.fleet.drain().await;
    world.stripe.shutdown().await;
    Ok(())
}

impl World {
    async fn start(clock: &Clock) -> Result<Self> {
        let (folder, entropy) = (tempfile::tempdir()?, Entropy::system());
        let price = SeedPrice {
            id: PRICE.into(),
            unit_amount: 2_900,
            currency: "eur".into(),
            interval: "month".into(),
            nickname: "Team".into(),
        };
        // It sends no webhooks of its own: the bench posts them.
        let options = Options { api_key: Some(STRIPE_KEY.into()), prices: vec![price], ..Options::default() };
        let stripe = StripeEmulator::start(options).await.context("the emulator did not start")?;
        let secrets = Secrets::generate(&entropy);
        let mut overrides = secrets.overrides(stripe.base_url());
        overrides.extend(
            [
                ("SYNAPSE_PLATFORM__MODE", "development"),
                ("SYNAPSE_PLATFORM__BUS", "embedded"),
                ("SYNAPSE_PLATFORM__STORE", &format!("sqlite:{}", folder.path().display())),
                ("SYNAPSE_PLATFORM__HTTP_LISTEN", "127.0.0.1:0"),
                ("SYNAPSE_PLATFORM__ADMIN__LISTEN", "127.0.0.1:0"),
                ("SYNAPSE_WEBHOOK__SECRETS", WEBHOOK_SECRET),
                ("SYNAPSE_GATEWAY__TOKEN_SECRET", TOKEN_SECRET),
                // The live sockets say nothing while others are measured.
                ("SYNAPSE_GATEWAY__HEARTBEAT_MS", "300000"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let settings = Settings::load(&overrides)?;
        let fleet = Fleet::start(settings).await?;
        let gateway = format!("http://{}", fleet.public);
        let tenants = (0..TENANTS).map(|number| Tenant::new(number, &gateway, clock)).collect::<Result<_>>()?;
        let (http, next) = (Client::builder().no_proxy().build()?, AtomicUsize::new(0));
        Ok(Self { clock: clock.clone(), fleet, stripe, http, tenants, next, _folder: folder })
    }

    /// So many subscriptions, spread over the tenants, with so many connected peers each.
    async fn sockets(&self, subscriptions: usize, peers: usize) -> Result<Vec<(&Tenant, SubscriptionView, Socket)>> {
        let buyers = self.tenants.iter().cycle().take(subscriptions);
        let bought = stream::iter(buyers.map(|tenant| self.buy(tenant))).buffer_unordered(AT_ONCE);
        let bought: Vec<(&Tenant, SubscriptionView)> = bought.try_collect().await?;
        let each = bought.iter().flat_map(|one| std::iter::repeat_n(one, peers));
        let entering = each.map(|(tenant, view)| self.enter(tenant, view));
        stream::iter(entering).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn buy<'a>(&self, tenant: &'a Tenant) -> Result<(&'a Tenant, SubscriptionView)> {
        let key = format!("buy-{}", self.number());
        let body = CreateSubscription {
            price_id: PRICE.into(),
            payment_method_id: Some("pm_card_visa".into()),
            email: None,
            metadata: Default::default(),
        };
        loop {
            match tenant.api.create_subscription(&key, &body).await {
                Ok(view) => return Ok((tenant, view)),
                // More at once than the budget for calls to Stripe allows: it says so, and we come back.
                Err(synapse::ApiError::Problem(problem)) if problem.status == 503 => self.clock.sleep(PACE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn enter<'a>(
        &self,
        tenant: &'a Tenant,
        view: &SubscriptionView,
    ) -> Result<(&'a Tenant, SubscriptionView, Socket)> {
        let peer = format!("peer-{}", self.number());
        let id: &SubscriptionId = &view.subscription_id;
        let ask = VerifySubscription { peer_id: peer.parse()?, peer_key: None };
        let proof = tenant.api.verify(id, &ask).await?.proof;
        let mut request = tenant.api.socket_url().into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("synapse.v1"));
        let (mut socket, _) = connect_async(request).await?;
        let auth = json!({"type": "auth", "id": "1", "token": tenant.token, "peer_id": peer, "proof": proof});
        socket.send(Message::Text(auth.to_string().into())).await?;
        loop {
            let frame = frame(&mut socket).await?;
            match (frame["type"].as_str(), frame["outcome"].as_str()) {
                (Some("outcome"), Some("accepted")) => return Ok((tenant, view.clone(), socket)),
                (Some("outcome"), _) => bail!("{peer} was refused: {frame}"),
                _ => {}
            }
        }
    }

    /// Milliseconds of each cancellation.
    async fn round(&self) -> Result<Vec<f64>> {
        let mut millis = Vec::with_capacity(CANCELED);
        for (tenant, view, mut socket) in self.sockets(CANCELED, 1).await? {
            self.cancel_at_stripe(&view).await?;
            let body = self.event(tenant, &view)?;
            let signature = self.signature(&body);
            let url = format!("http://{}/stripe/webhook", self.address());
            let posted = self.http.post(url).header("stripe-signature", signature).body(body);
            let started = self.clock.monotonic();
            let (answer, closed) = tokio::join!(posted.send(), self.clock.timeout(STUCK, closed(&mut socket)));
            ensure!(answer?.status().is_success(), "the webhook was not taken");
            ensure!(closed.context("a socket was not closed")?? == ENTITLEMENT_LOST, "closed for another reason");
            millis.push(self.clock.monotonic().saturating_sub(started).as_secs_f64() * 1e3);
            self.clock.sleep(PACE).await;
        }
        Ok(millis)
    }

    async fn cancel_at_stripe(&self, view: &SubscriptionView) -> Result<()> {
        let url = format!("{}/v1/subscriptions/{}", self.stripe.base_url(), view.stripe_subscription_id);
        self.http.delete(url).bearer_auth(STRIPE_KEY).send().await?.error_for_status()?;
        Ok(())
    }

    /// Stripe's event of the cancellation.
    fn event(&self, tenant: &Tenant, view: &SubscriptionView) -> Result<String> {
        let object = json!({
            "id": view.stripe_subscription_id, "object": "subscription", "status": "canceled", "livemode": false,
            "metadata": {
                "synapse_tenant": tenant.name, "synapse_subscription": view.subscription_id,
                "synapse_user": view.user_id, "synapse_plan": view.plan,
            },
        });
        let event = json!({
            "id": format!("evt_bench{}", self.number()), "object": "event", "type": "customer.subscription.deleted",
            "api_version": "2025-11-17.clover", "created": self.clock.now_ms() / 1_000, "livemode": false,
            "data": {"object": object},
        });
        Ok(serde_json::to_string(&event)?)
    }

    fn signature(&self, body: &str) -> String {
        let at = self.clock.now_ms() / 1_000;
        let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
        let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={at},v1={hex}")
    }

    fn address(&self) -> SocketAddr {
        self.fleet.public
    }

    fn number(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Tenant {
    fn new(number: usize, gateway: &str, clock: &Clock) -> Result<Self> {
        let name = format!("tenant-{number}");
        let minter = TokenMinter::hs256("synapse", "synapse-gateway", "hs-1", TOKEN_SECRET.into())?;
        let grant = Grant {
            tenant: name.parse()?,
            user: "ada".parse()?,
            role: Role::User,
            ttl_ms: 3_600_000,
            token_id: format!("bench-{number}"),
        };
        let token = minter.mint(&grant, clock.now_ms());
        Ok(Self { api: Api::new(gateway, &token), name, token })
    }
}

async fn frame(socket: &mut Socket) -> Result<Value> {
    loop {
        match socket.next().await.context("the socket ended")?? {
            // What others do is told too.
            Message::Text(text) => match serde_json::from_str::<Value>(&text)? {
                frame if frame["type"] == "presence" => {}
                frame => return Ok(frame),
            },
            Message::Close(close) => bail!("the socket was closed: {close:?}"),
            _ => {}
        }
    }
}

/// The code of the close frame.
async fn closed(socket: &mut Socket) -> Result<u16> {
    loop {
        match socket.next().await.context("the socket ended without a close frame")?? {
            Message::Close(Some(close)) => return Ok(close.code.into()),
            Message::Close(None) => bail!("the close frame has no code"),
            _ => {}
        }
    }
}
