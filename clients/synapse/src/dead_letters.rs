//! `synapse dead-letters`: what a service could not handle, through its admin listener.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::{Client, Method};
use serde_json::Value;

/// Look at what a service could not handle, and have it handled again or dropped.
#[derive(Args)]
pub struct Arguments {
    /// The admin listener of the process.
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    admin: String,
    /// Which service.
    #[arg(long)]
    service: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
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

/// Does what was asked and prints the answer as JSON.
///
/// # Errors
/// No answer, or the service's own words.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let base = format!("{}/dead-letters/{}", arguments.admin.trim_end_matches('/'), arguments.service);
    let (method, url, query) = match arguments.action {
        Action::List { after, limit } => {
            let after = after.map(|after| ("after", after));
            (Method::GET, base, Vec::from_iter([("limit", limit.to_string())].into_iter().chain(after)))
        }
        Action::Show { id } => (Method::GET, format!("{base}/{id}"), Vec::new()),
        Action::Redrive { letter, dry_run } => {
            let letter = letter.map(|letter| ("letter", letter));
            let query = [("dry_run", dry_run.to_string())].into_iter().chain(letter);
            (Method::POST, format!("{base}/redrive"), query.collect())
        }
        Action::Drop { id, reason } => (Method::DELETE, format!("{base}/{id}"), vec![("reason", reason)]),
    };
    let mut url = reqwest::Url::parse(&url).context("--admin: use http://host:port")?;
    url.query_pairs_mut().extend_pairs(query);
    let response = Client::new().request(method, url).send().await.context("the admin listener does not answer")?;
    let (status, body) = (response.status(), response.bytes().await?);
    let answer: Value = serde_json::from_slice(&body).context("the answer is not JSON; is this the admin listener?")?;
    if !status.is_success() {
        bail!("{}", answer["error"].as_str().unwrap_or("refused without a reason"));
    }
    println!("{answer:#}");
    Ok(())
}
