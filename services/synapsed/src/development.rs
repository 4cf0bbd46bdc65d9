//! What a development system needs that production gets from its operator: secrets that survive restarts, a token, and
//! a Stripe emulator.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use auth::{Grant, Role, TokenMinter};
use clock::{Clock, Entropy};
use contracts::UserId;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use service::config::process_env;
use stripe_emulator::{DeliveryPlan, Mode, Options, Order, SeedPrice, StripeEmulator};

use crate::fleet::Overrides;

/// The emulator's key: a test key, as the subscription service demands in development.
pub const STRIPE_KEY: &str = "sk_test_synapse";
/// The price that the default plan is billed by.
pub const PRICE: &str = "price_team_monthly";

const RETURN_URLS_VARIABLE: &str = "SYNAPSE_SUBSCRIPTION__RETURN_URLS";
/// Where the emulator's pages may send a browser: an application on its usual port, or this very system.
const RETURN_URLS: &str = "http://localhost:3000,http://127.0.0.1:8080";

/// Whose tokens are printed.
const DEVELOPER: &str = "developer";
const TOKEN_TTL_MS: u64 = 24 * 60 * 60 * 1_000;

/// Secrets made at the first start and kept in the data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Secrets {
    token_secret: String,
    webhook_secret: String,
    /// Missing in folders of earlier versions; the token secret stands in there.
    #[serde(default)]
    sealing_secret: String,
}

impl Secrets {
    /// Fresh ones.
    pub fn generate(entropy: &Entropy) -> Self {
        let hex = || (0..4).map(|_| format!("{:016x}", entropy.next_u64())).collect::<String>();
        Self { token_secret: hex(), webhook_secret: format!("whsec_{}", hex()), sealing_secret: hex() }
    }

    /// Those of the data folder; made and written (readable by their owner alone) where there are none.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub fn of_folder(folder: &Path, entropy: &Entropy) -> anyhow::Result<Self> {
        let path = folder.join("development.json");
        let context = || format!("{} can't be used; remove it to get new secrets", path.display());
        if path.exists() {
            return serde_json::from_str(&std::fs::read_to_string(&path)?).with_context(context);
        }
        let secrets = Self::generate(entropy);
        std::fs::create_dir_all(folder).with_context(context)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(&path)
            .and_then(|mut file| file.write_all(&serde_json::to_vec(&secrets)?))
            .with_context(context)?;
        Ok(secrets)
    }

    /// An access token for a developer, good for a day.
    ///
    /// # Errors
    /// When the gateway's own settings are wrong.
    pub fn token(&self, clock: &Clock, entropy: &Entropy) -> anyhow::Result<String> {
        self.token_for(DEVELOPER.parse()?, Role::Admin, clock, entropy)
    }

    /// The same for another user.
    ///
    /// # Errors
    /// When the gateway's own settings are wrong.
    pub fn token_for(&self, user: UserId, role: Role, clock: &Clock, entropy: &Entropy) -> anyhow::Result<String> {
        let gateway: gateway::Config = service::load(gateway::NAME, &[gateway::DEFAULTS])?;
        mint_for((user, role), &gateway, self.token_secret.clone().into(), clock, entropy)
    }

    /// The settings that make the services use these secrets and the emulator at `stripe`.
    pub fn overrides(&self, stripe: &str) -> Overrides {
        let sealing = if self.sealing_secret.is_empty() { &self.token_secret } else { &self.sealing_secret };
        [
            ("SYNAPSE_SUBSCRIPTION__PROOFS__SEALING_SECRET", sealing.as_str()),
            ("SYNAPSE_GATEWAY__TOKEN_SECRET", self.token_secret.as_str()),
            ("SYNAPSE_WEBHOOK__SECRETS", self.webhook_secret.as_str()),
            ("SYNAPSE_SUBSCRIPTION__STRIPE__BASE_URL", stripe),
            ("SYNAPSE_SUBSCRIPTION__STRIPE__SECRET_KEY", STRIPE_KEY),
            (RETURN_URLS_VARIABLE, RETURN_URLS),
        ]
        .into_iter()
        // The secrets must be these; where pages lead is the developer's choice.
        .filter(|(name, _)| *name != RETURN_URLS_VARIABLE || process_env().all(|(set, _)| set != *name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    /// Tells the emulator where to send its webhooks.
    ///
    /// # Errors
    /// When the emulator refuses or does not answer.
    pub async fn point_webhooks(&self, stripe: &str, public: SocketAddr) -> anyhow::Result<()> {
        let endpoint = serde_json::json!({
            "url": format!("http://{public}/stripe/webhook"),
            "secret": self.webhook_secret,
            "enabled_events": ["*"],
        });
        let url = format!("{stripe}/_emulator/webhook_endpoints");
        reqwest::Client::new().post(url).json(&endpoint).send().await?.error_for_status()?;
        Ok(())
    }
}

/// An access token as the gateway's settings demand, signed with its HS256 secret.
///
/// # Errors
/// When the secret is too short.
pub fn mint(
    gateway: &gateway::Config,
    secret: SecretString,
    clock: &Clock,
    entropy: &Entropy,
) -> anyhow::Result<String> {
    mint_for((DEVELOPER.parse()?, Role::Admin), gateway, secret, clock, entropy)
}

fn mint_for(
    (user, role): (UserId, Role),
    gateway: &gateway::Config,
    secret: SecretString,
    clock: &Clock,
    entropy: &Entropy,
) -> anyhow::Result<String> {
    let keys = &gateway.tokens;
    let (issuer, audience, kid) = (&keys.token_issuer, &keys.token_audience, &keys.token_secret_kid);
    let minter = TokenMinter::hs256(issuer, audience, kid, secret)?;
    let now_ms = clock.now_ms();
    let grant = Grant {
        tenant: "development".parse()?,
        user,
        role,
        ttl_ms: TOKEN_TTL_MS,
        token_id: entropy.uuid_v7(now_ms).to_string(),
    };
    Ok(minter.mint(&grant, now_ms))
}

/// Starts Stripe's stand-in on a free port. It sends every webhook twice and out of order, as Stripe may.
///
/// # Errors
/// When it can't listen.
pub async fn start_stripe(clock: &Clock, entropy: &Entropy) -> anyhow::Result<StripeEmulator> {
    let price = SeedPrice {
        id: PRICE.into(),
        unit_amount: 2_900,
        currency: "eur".into(),
        interval: "month".into(),
        nickname: "Team".into(),
    };
    StripeEmulator::start(Options {
        mode: Mode::Development,
        api_key: Some(STRIPE_KEY.into()),
        clock: clock.clone(),
        entropy: entropy.clone(),
        prices: vec![price],
        delivery: DeliveryPlan { copies: 2, order: Order::Reverse, ..DeliveryPlan::default() },
        ..Options::default()
    })
    .await
}
