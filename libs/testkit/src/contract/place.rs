//! Where a suite runs: the embedded bus, or a NATS server of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Bus, EmbeddedOptions, NatsOptions};
use clock::{Clock, ManualClock};
use tokio::task::AbortHandle;

use crate::servers::{Nats, NatsVersion};

/// Which bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum On {
    /// In process.
    #[default]
    Embedded,
    /// A nats-server of its own, the newest that is supported. What older ones lack is the bus's own matter, and its
    /// conformance suite shows it.
    Nats,
}

/// A place with whatever it needs; ends with it.
#[derive(Debug)]
pub struct Place {
    on: On,
    nats: Option<Nats>,
    ticking: Option<AbortHandle>,
}

/// How long an event may be under way on NATS before a suite believes that none comes.
const QUIET: Duration = Duration::from_millis(300);
/// How often a manual clock follows the real one on NATS.
const TICK: Duration = Duration::from_millis(10);

impl Place {
    /// Starts what it needs.
    ///
    /// # Panics
    /// When the server's program is missing.
    pub async fn start(on: On) -> Self {
        let nats = match on {
            On::Embedded => None,
            On::Nats => {
                let starting = tokio::task::spawn_blocking(|| Nats::start(NatsVersion::V2_15_1));
                Some(starting.await.expect("a server"))
            }
        };
        Self { on, nats, ticking: None }
    }

    /// Whether the bus is in this process and does nothing by itself.
    pub fn is_embedded(&self) -> bool {
        self.on == On::Embedded
    }

    /// A bus. `routes` say which services read a kind (embedded only: a broker keeps everything).
    ///
    /// A server has a clock of its own, so on NATS a manual clock (`hand`) goes on by itself and tests only push it on.
    ///
    /// # Panics
    /// When the server does not take the connection.
    pub async fn bus(
        &mut self,
        routes: BTreeMap<String, Vec<String>>,
        clock: &Clock,
        hand: Option<&ManualClock>,
    ) -> Bus {
        match &self.nats {
            None => {
                Bus::embedded(EmbeddedOptions { routes: Some(routes), ..EmbeddedOptions::default() }, clock.clone())
            }
            Some(nats) => {
                if let Some(hand) = hand.cloned() {
                    let ticking = tokio::spawn(async move {
                        loop {
                            tokio::time::sleep(TICK).await;
                            hand.advance(TICK);
                        }
                    });
                    self.ticking = Some(ticking.abort_handle());
                }
                let options = NatsOptions { url: nats.url(), ..NatsOptions::default() };
                Bus::nats(options, clock.clone()).await.expect("the server was just started")
            }
        }
    }

    /// Waits until what was published has come to whoever reads it: at once in process, a moment on NATS.
    pub async fn quiet(&self) {
        if self.on == On::Nats {
            tokio::time::sleep(QUIET).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticking) = &self.ticking {
            ticking.abort();
        }
    }
}
