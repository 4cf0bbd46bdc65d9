//! What the cases run against, and what they are given for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::{Clock, Entropy};
use contracts::SubscriptionId;
use contracts::events::subscription::Status;
use contracts::http::{CreateSubscription, VerifySubscription};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::cases::{Case, Needs};
use super::client::Client;
use crate::Api;

/// A system to check.
pub struct Target {
    /// `ws://host:port/v1/ws` or `wss://…`; `http(s)://host:port` is taken too.
    pub url: String,
    /// An access token.
    pub token: String,
    /// Where proofs come from.
    pub papers: Papers,
    /// What else may be moved.
    pub levers: Levers,
}

/// Where the proofs of the cases' peers come from.
#[derive(Clone)]
pub enum Papers {
    /// One proof: one peer, so only what one peer can see is checked.
    Proof(String),
    /// A development system, where subscriptions can be bought.
    Development(Development),
}

/// How to buy and cancel subscriptions.
#[derive(Clone)]
pub struct Development {
    /// A price on the allow-list.
    pub price: String,
    /// The Stripe emulator and a key for it; without it nothing is cancelled.
    pub stripe: Option<(String, String)>,
}

/// Makes a token of the suite's own user that ends in so many milliseconds; a negative number: ended so long ago.
pub type MintToken = Arc<dyn Fn(i64) -> String + Send + Sync>;
/// Stops the system; every connection learns it.
pub type Drain = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What only somebody inside can move; cases that need one which is not there are not run.
#[derive(Clone, Default)]
pub struct Levers {
    /// Tokens of any length.
    pub mint: Option<MintToken>,
    /// The end.
    pub drain: Option<Drain>,
}

impl Papers {
    /// How many cases may run at once: with one peer, each takes the place of the one before.
    pub(super) fn at_once(&self) -> usize {
        match self {
            Self::Proof(_) => 1,
            Self::Development(_) => 8,
        }
    }
}

/// A running suite.
pub(crate) struct Suite {
    pub(crate) clock: Clock,
    pub(crate) token: String,
    pub(crate) levers: Levers,
    /// `http://host:port`.
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    api: Api,
    source: Source,
    run: u64,
    next: AtomicU64,
}

enum Source {
    One { peer: String, proof: String },
    Bought { development: Development, subscription: SubscriptionId },
}

/// How long a bought subscription may take to become active.
const ACTIVE_WITHIN: Duration = Duration::from_secs(30);

impl Suite {
    pub(super) async fn start(target: Target, clock: Clock) -> anyhow::Result<Self> {
        let base = target.url.trim_end_matches('/').trim_end_matches("/v1/ws").replacen("ws", "http", 1);
        let base = if target.url.starts_with("http") { target.url.trim_end_matches('/').to_owned() } else { base };
        let http = reqwest::Client::builder().no_proxy().build()?;
        let api = Api::new(&base, &target.token);
        let entropy = Entropy::system();
        let source = match target.papers {
            Papers::Proof(proof) => {
                let claims = claims(&proof).context("--proof: is no proof")?;
                let peer = claims["sub"].as_str().context("--proof: has no sub")?.to_owned();
                Source::One { peer, proof }
            }
            Papers::Development(development) => {
                let subscription =
                    buy(&api, &clock, &development, &format!("conformance-{:x}", entropy.next_u64())).await?;
                Source::Bought { development, subscription }
            }
        };
        let run = entropy.next_u64();
        let (token, levers) = (target.token, target.levers);
        Ok(Self { clock, token, levers, base, http, api, source, run, next: AtomicU64::new(1) })
    }

    /// What the case needs and this run does not have.
    pub(super) fn lacks(&self, case: &Case) -> Option<String> {
        let bought = match &self.source {
            Source::One { .. } => None,
            Source::Bought { development, .. } => Some(development),
        };
        if case.peers > 1 && bought.is_none() {
            return Some(format!("it needs {} peers; use --development", case.peers));
        }
        let missing = match case.needs {
            Needs::Nothing => false,
            Needs::Mint => self.levers.mint.is_none(),
            Needs::Cancel => bought.is_none_or(|development| development.stripe.is_none()),
            Needs::Drain => self.levers.drain.is_none(),
        };
        missing.then(|| case.needs.words().to_owned())
    }

    /// A peer that no other case uses; with one proof always the same one.
    pub(crate) fn peer(&self) -> String {
        match &self.source {
            Source::One { peer, .. } => peer.clone(),
            Source::Bought { .. } => {
                format!("conformance-{:x}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
            }
        }
    }

    /// A proof of the peer.
    pub(crate) async fn proof(&self, peer: &str) -> anyhow::Result<String> {
        match &self.source {
            Source::One { proof, .. } => Ok(proof.clone()),
            Source::Bought { subscription, .. } => self.proof_of(subscription, peer).await,
        }
    }

    pub(crate) async fn proof_of(&self, subscription: &SubscriptionId, peer: &str) -> anyhow::Result<String> {
        Ok(self.api.verify(subscription, &VerifySubscription { peer_id: peer.parse()?, peer_key: None }).await?.proof)
    }

    /// An auth frame with good papers.
    pub(crate) async fn auth(&self, peer: &str) -> anyhow::Result<Value> {
        Ok(
            json!({"type": "auth", "id": "auth", "token": self.token, "peer_id": peer, "proof": self.proof(peer).await?}),
        )
    }

    /// A connection that has read its hello.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(&self.base, &["synapse.v1"], &[]).await
    }

    /// A connection of a peer of its own.
    pub(crate) async fn enter(&self) -> anyhow::Result<Client> {
        self.enter_as(&self.peer(), json!({})).await
    }

    /// A connection of a peer, with more in its auth frame.
    pub(crate) async fn enter_as(&self, peer: &str, more: Value) -> anyhow::Result<Client> {
        self.authenticate(self.connect().await?, peer, more).await
    }

    pub(crate) async fn authenticate(&self, mut client: Client, peer: &str, more: Value) -> anyhow::Result<Client> {
        let mut auth = self.auth(peer).await?;
        extend(&mut auth, &more);
        client.authenticate(&auth).await?;
        Ok(client)
    }

    /// Whether the suite's user is an admin.
    pub(crate) fn is_admin(&self) -> bool {
        claims(&self.token).is_some_and(|claims| claims["role"] == "admin")
    }

    /// The suite's own user.
    pub(crate) fn user(&self) -> anyhow::Result<String> {
        let claims = claims(&self.token).context("the token is no JWT")?;
        Ok(claims["sub"].as_str().context("the token has no sub")?.to_owned())
    }

    /// A subscription of its own, bought now.
    pub(crate) async fn buy(&self) -> anyhow::Result<SubscriptionId> {
        let Source::Bought { development, .. } = &self.source else { bail!("nothing can be bought here") };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        buy(&self.api, &self.clock, development, &format!("conformance-{:x}-{number}", self.run)).await
    }

    /// Cancels it, as the customer would at Stripe.
    pub(crate) async fn cancel(&self, subscription: &SubscriptionId) -> anyhow::Result<()> {
        let Source::Bought { development, .. } = &self.source else { bail!("nothing was bought here") };
        let (stripe, key) = development.stripe.as_ref().context("there is no Stripe emulator")?;
        let view = self.api.subscription(subscription).await?;
        let url = format!("{stripe}/v1/subscriptions/{}", view.stripe_subscription_id);
        self.http.delete(url).bearer_auth(key).send().await?.error_for_status()?;
        Ok(())
    }
}

/// Adds fields to an object.
pub(crate) fn extend(frame: &mut Value, more: &Value) {
    if let (Some(frame), Some(more)) = (frame.as_object_mut(), more.as_object()) {
        frame.extend(more.clone());
    }
}

async fn buy(api: &Api, clock: &Clock, development: &Development, key: &str) -> anyhow::Result<SubscriptionId> {
    let order = CreateSubscription {
        price_id: development.price.clone(),
        payment_method_id: None,
        email: None,
        metadata: std::collections::BTreeMap::default(),
    };
    let created = api.create_subscription(key, &order).await.context("no subscription could be bought")?;
    let activating = async {
        loop {
            match api.subscription(&created.subscription_id).await?.status {
                Status::Active => return Ok(created.subscription_id),
                Status::Incomplete => clock.sleep(Duration::from_millis(50)).await,
                other => bail!("the subscription went to {other:?}"),
            }
        }
    };
    clock.timeout(ACTIVE_WITHIN, activating).await.context("the subscription did not become active")?
}

/// The claims of a JWT, unchecked: what it says, not whether that is true.
fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Whether a text is there at all.
pub(crate) fn is_text(value: &Value) -> anyhow::Result<&str> {
    let text = value.as_str().unwrap_or("");
    ensure!(!text.is_empty(), "a text was expected, {value} came");
    Ok(text)
}
