//! The cases, by section of `docs/protocol.md`.

mod auth;
mod closing;
mod compact;
mod connecting;
mod frames;
mod limits;
mod messages;
mod outcomes;
mod papers;
mod presence;
mod resume;
mod rooms;
mod sessions;
mod streams;
mod tickets;

use std::sync::Arc;

use futures::future::BoxFuture;

use super::suite::Suite;

/// What a case does.
type Run = Box<dyn Fn(Arc<Suite>) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// What a case needs besides peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Tokens of a chosen length.
    Mint,
    /// A subscription to cancel.
    Cancel,
    /// The end of the system.
    Drain,
}

impl Needs {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Mint => "it needs tokens that end soon, which only the system's own tests mint",
            Self::Cancel => "it needs a subscription to cancel; use --development with --stripe",
            Self::Drain => "it needs the system to stop, which only its own tests have it do",
        }
    }
}

/// One case.
pub struct Case {
    /// The rule in `docs/protocol.md`, without brackets.
    pub rule: &'static str,
    /// What is tried.
    pub name: String,
    /// How many peers take part.
    pub peers: usize,
    /// What else it needs.
    pub needs: Needs,
    pub(super) run: Run,
}

/// Every case.
pub fn all() -> Vec<Case> {
    [
        connecting::cases(),
        frames::cases(),
        limits::cases(),
        outcomes::cases(),
        auth::cases(),
        papers::cases(),
        presence::cases(),
        sessions::cases(),
        messages::cases(),
        rooms::cases(),
        resume::cases(),
        tickets::cases(),
        streams::cases(),
        compact::cases(),
        closing::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A case of one peer that needs nothing.
fn case<F>(rule: &'static str, name: &str, run: impl Fn(Arc<Suite>) -> F + Send + Sync + 'static) -> Case
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    Case {
        rule,
        name: name.to_owned(),
        peers: 1,
        needs: Needs::Nothing,
        run: Box::new(move |suite| Box::pin(run(suite))),
    }
}

impl Case {
    fn peers(mut self, peers: usize) -> Self {
        self.peers = peers;
        self
    }

    fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }
}
