//! `synapse dead-letters`: what a service could not handle, through its admin listener.

use clap::{Args, Subcommand};
use reqwest::Method;

use crate::admin::{Listener, Told, call};

/// Look at what a service could not handle, and have it handled again or dropped.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    listener: Listener,
    /// Which service.
    #[arg(long)]
    service: String,
    #[command(subcommand)]
    action: Action,
}

/// What to do with dead letters.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// List them, oldest first.
    List {
        /// Where the last page ended.
        #[arg(long)]
        after: Option<String>,
        /// Letters a page, 1 to 500.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one with its event.
    Show {
        /// Its id.
        id: String,
    },
    /// Handle them again, in order per key. Without --letter: all.
    Redrive {
        /// Only the key that this letter belongs to.
        #[arg(long)]
        letter: Option<String>,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Drop one for good.
    Drop {
        /// Its id.
        id: String,
        /// Why; it is logged.
        #[arg(long)]
        reason: String,
    },
}

/// Does what was asked; the answer is JSON.
///
/// # Errors
/// No answer, or the service's own words.
pub async fn run(arguments: Arguments) -> anyhow::Result<Told> {
    act(&arguments.listener.admin, &arguments.service, arguments.action).await
}

/// Does what was asked of `service`.
pub(crate) async fn act(admin: &str, service: &str, action: Action) -> anyhow::Result<Told> {
    let answer = match action {
        Action::List { after, limit } => {
            let after = after.map(|after| ("after", after));
            let query = Vec::from_iter([("limit", limit.to_string())].into_iter().chain(after));
            call(admin, Method::GET, &["dead-letters", service], &query).await?
        }
        Action::Show { id } => call(admin, Method::GET, &["dead-letters", service, &id], &[]).await?,
        Action::Redrive { letter, dry_run } => {
            let letter = letter.map(|letter| ("letter", letter));
            let query = Vec::from_iter([("dry_run", dry_run.to_string())].into_iter().chain(letter));
            call(admin, Method::POST, &["dead-letters", service, "redrive"], &query).await?
        }
        Action::Drop { id, reason } => {
            call(admin, Method::DELETE, &["dead-letters", service, &id], &[("reason", reason)]).await?
        }
    };
    Ok(Told::of(true, &answer, |_| String::new()))
}
