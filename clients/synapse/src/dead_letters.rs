//! `synapse dead-letters`: what a service could not handle, through its admin listener.

use clap::{Args, Subcommand};
use reqwest::Method;

use crate::admin::Admin;

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

/// What to do with them.
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

/// Does what was asked and prints the answer as JSON.
///
/// # Errors
/// No answer, or the service's own words.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    run_for(&arguments.admin, &arguments.service, arguments.action).await
}

/// The same for a service named otherwise.
pub(crate) async fn run_for(admin: &str, service: &str, action: Action) -> anyhow::Result<()> {
    let (method, mut path, query) = match action {
        Action::List { after, limit } => {
            let after = after.map(|after| ("after", after));
            (Method::GET, vec![], Vec::from_iter([("limit", limit.to_string())].into_iter().chain(after)))
        }
        Action::Show { id } => (Method::GET, vec![id], Vec::new()),
        Action::Redrive { letter, dry_run } => {
            let letter = letter.map(|letter| ("letter", letter));
            let query = [("dry_run", dry_run.to_string())].into_iter().chain(letter);
            (Method::POST, vec!["redrive".to_owned()], query.collect())
        }
        Action::Drop { id, reason } => (Method::DELETE, vec![id], vec![("reason", reason)]),
    };
    path.splice(0..0, ["dead-letters".to_owned(), service.to_owned()]);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let answer = Admin::new(admin).call(method, &path, &query).await?;
    println!("{answer:#}");
    Ok(())
}
