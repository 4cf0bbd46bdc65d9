//! `synapse limits`: rate limits of a gateway, through its admin listener.

use clap::{Args, Subcommand};
use reqwest::Method;

use crate::admin::{Listener, Told, call};

/// Look at rate limits, and fill buckets.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    listener: Listener,
    #[command(subcommand)]
    action: Action,
}

/// What to do with limits.
#[derive(Subcommand)]
enum Action {
    /// Every limit in force, and what it allowed and refused.
    List {
        /// Of how many hours, 1 to 720.
        #[arg(long, default_value_t = 24)]
        hours: u64,
    },
    /// One limit, hour by hour; with --key what that key has left.
    Show {
        /// Its name, as in the RateLimit header.
        policy: String,
        /// An address, or <tenant>/<user>.
        #[arg(long)]
        key: Option<String>,
        /// Of how many hours, 1 to 720.
        #[arg(long, default_value_t = 24)]
        hours: u64,
    },
    /// Fill a key's bucket. Every gateway heeds it within a second.
    Reset {
        /// The limit's name.
        policy: String,
        /// An address, or <tenant>/<user>.
        #[arg(long)]
        key: String,
    },
    /// Forget what a limit allowed and refused.
    ResetStatistics {
        /// The limit's name.
        policy: String,
    },
}

/// Does what was asked; the answer is JSON.
///
/// # Errors
/// No answer, or the process's own words.
pub async fn run(arguments: Arguments) -> anyhow::Result<Told> {
    let admin = &arguments.listener.admin;
    let hours = |hours: u64| [("hours", hours.to_string())];
    let answer = match arguments.action {
        Action::List { hours: last } => call(admin, Method::GET, &["limits"], &hours(last)).await?,
        Action::Show { policy, key: None, hours: last } => {
            call(admin, Method::GET, &["limits", &policy], &hours(last)).await?
        }
        Action::Show { policy, key: Some(key), .. } => {
            call(admin, Method::GET, &["limits", &policy, "bucket"], &[("key", key)]).await?
        }
        Action::Reset { policy, key } => {
            call(admin, Method::POST, &["limits", &policy, "reset"], &[("key", key)]).await?
        }
        Action::ResetStatistics { policy } => {
            call(admin, Method::POST, &["limits", &policy, "reset-statistics"], &[]).await?
        }
    };
    Ok(Told::of(true, &answer, |_| String::new()))
}
