use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::{App, Rate};
use crate::delivery::Deliveries;
use crate::error::ApiError;
use crate::faults::Faults;
use crate::idempotency::Keys;
use crate::journal::Journal;
use crate::options::Options;
use crate::resources::{portal, prices, webhook_endpoints};
use crate::socket::{BoundedListener, Line};
use crate::version::ApiVersion;
use crate::world::World;
use crate::{api, control, pages, time};

/// How long `shutdown` lets requests finish, in milliseconds of real time.
const DRAIN_MS: u64 = 2_000;

/// A running emulator. Dropping it stops it at once; [`StripeEmulator::shutdown`] lets requests finish.
#[derive(Debug)]
pub struct StripeEmulator {
    address: SocketAddr,
    base_url: String,
    stop: CancellationToken,
    server: JoinHandle<()>,
    _stop_on_drop: DropGuard,
}

impl StripeEmulator {
    /// Starts to serve. The address is bound when this returns.
    ///
    /// # Errors
    /// In production mode; on an address that is not loopback; on invalid options (naming the field); when the
    /// address cannot be bound.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        options.check()?;
        let version = ApiVersion::parse(&options.api_version).context("api_version was checked")?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let listen = options.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listen: cannot bind {listen}"))?;
        let address = listener.local_addr().context("the bound address")?;
        let base_url = format!("http://{address}");
        let deliveries = Deliveries::try_new(&options, stop.clone())?;
        let mut world = World::new(&options, version.clone(), Arc::clone(&deliveries), &base_url);
        seed(&mut world, &options).map_err(|error| anyhow!("{}", error.body()["error"]["message"]))?;
        let app = Arc::new(App {
            api_key: options.api_key.clone(),
            version,
            clock: options.clock.clone(),
            entropy: options.entropy.clone(),
            keys: Keys::new(options.limits.idempotency_keys),
            deliveries,
            stop: stop.clone(),
            requests_counted: options.limits.requests_counted,
            faults_limit: options.limits.faults,
            world: Mutex::new(world),
            faults: Mutex::new(Faults::default()),
            journal: Mutex::new(Journal::default()),
            rate: Mutex::new(Rate::new(options.limits.requests_per_s)),
        });
        tokio::spawn(keep_time(Arc::clone(&app), options.tick_ms));
        let router = control::router().merge(pages::router()).fallback(api::serve).with_state(app);
        let service = router.into_make_service_with_connect_info::<Line>();
        let listener = BoundedListener::new(listener, options.limits.connections);
        let serving = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the Stripe emulator stopped serving");
            }
        });
        Ok(Self { address, base_url, stop, server, _stop_on_drop: guard })
    }

    /// Where it serves, for example `http://127.0.0.1:41234`, without a trailing slash.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The address it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no new connections, deliveries end, held requests are let go, running ones get two seconds.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let mut server = self.server;
        if tokio::time::timeout(Duration::from_millis(DRAIN_MS), &mut server).await.is_err() {
            server.abort();
        }
    }
}

/// Does what the clock has made due also while nobody asks.
async fn keep_time(app: Arc<App>, tick_ms: u64) {
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = app.clock.sleep(Duration::from_millis(tick_ms)) => time::catch_up(&mut app.world()),
        }
    }
}

fn seed(world: &mut World, options: &Options) -> Result<(), ApiError> {
    for price in &options.prices {
        prices::seed(world, price)?;
    }
    portal::seed(world)?;
    for webhook in &options.webhooks {
        webhook_endpoints::add(world, &webhook.url, &webhook.secret, &webhook.enabled_events)?;
    }
    Ok(())
}
