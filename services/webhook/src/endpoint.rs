//! The endpoints that Stripe posts to: each with its secrets, its mode and the accounts that it speaks for.

use secrecy::ExposeSecret;
use service::config::{Mode, Secret};

use crate::config::{Config, each};
use crate::event::Event;
use crate::judge::Reason;
use crate::signature::Verifier;

/// The name of the first endpoint, whose settings stand at the top of the configuration.
pub(crate) const FIRST: &str = "stripe";

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) verifier: Verifier,
    /// Whether events must be of real money.
    live: bool,
    /// Connected accounts whose events act; none for the platform's own.
    accounts: Vec<String>,
    expected_api_version: String,
    secrets: Secret,
}

impl Endpoint {
    /// All endpoints, the first one first.
    ///
    /// # Errors
    /// When one has no secret: nothing could ever be good there.
    pub(crate) fn all(config: &Config, mode: Mode) -> anyhow::Result<Vec<Self>> {
        let first = Self {
            name: FIRST.to_owned(),
            path: config.path.clone(),
            verifier: Verifier::try_new(config.secrets.clone(), config.tolerance_s)?,
            live: config.stripe_mode.is_live(mode),
            accounts: each(&config.accounts).map(str::to_owned).collect(),
            expected_api_version: config.expected_api_version.clone(),
            secrets: config.secrets.clone(),
        };
        let mut all = vec![first];
        for (name, endpoint) in &config.endpoints {
            let secrets =
                endpoint.secret().map_err(|error| anyhow::anyhow!("endpoints.{name}.secrets_file: {error}"))?;
            let is_set = each(secrets.current().expose_secret()).next().is_some();
            anyhow::ensure!(
                is_set,
                "endpoints.{name}.secrets: none is set; set the endpoint's signing secret (whsec_…)"
            );
            all.push(Self {
                name: name.clone(),
                path: endpoint.path.clone(),
                verifier: Verifier::try_new(secrets.clone(), config.tolerance_s)?,
                live: endpoint.stripe_mode.is_live(mode),
                accounts: each(&endpoint.accounts).map(str::to_owned).collect(),
                expected_api_version: endpoint.expected_api_version.clone(),
                secrets,
            });
        }
        Ok(all)
    }

    /// Its secrets, to be read again when their file changes.
    pub(crate) fn secrets(&self) -> Secret {
        self.secrets.clone()
    }

    /// Why an event must not act here, though it is Stripe's.
    pub(crate) fn refusal(&self, event: &Event<'_>) -> Option<(Reason, String)> {
        if event.livemode != self.live {
            let detail = format!("livemode: {} came, endpoint {} is for {}", event.livemode, self.name, self.live);
            return Some((Reason::WrongLivemode, detail));
        }
        let account = event.account().map(|account| account.as_str());
        let allowed = match account {
            None => self.accounts.is_empty(),
            Some(account) => self.accounts.iter().any(|known| known == account),
        };
        let happened = account.unwrap_or("the platform's own");
        let detail = || format!("account: it happened in {happened}, which endpoint {} is not for", self.name);
        (!allowed).then(|| (Reason::OtherAccount, detail()))
    }

    /// The version that an event should have had, where it has another one. Thin events have none.
    pub(crate) fn other_version<'a>(&'a self, event: &'a Event<'_>) -> Option<(&'a str, &'a str)> {
        let version = event.api_version.as_ref().map(|version| version.as_str())?;
        let expected = self.expected_api_version.as_str();
        (!expected.is_empty() && version != expected).then_some((version, expected))
    }
}
