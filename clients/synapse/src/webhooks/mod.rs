//! `synapse webhooks`: what Stripe sent, through the webhook service's admin listener.

mod moment;
mod show;

use anyhow::{bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{Listener, Told, call};
use crate::dead_letters;

/// Look at what Stripe sent, and publish it again.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    listener: Listener,
    /// One JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List events, newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Events a page, 1 to 500.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Where the last page ended.
        #[arg(long)]
        after: Option<String>,
    },
    /// Show one event: what became of it, its facts, its body as it came.
    Show {
        /// Stripe's id (`evt_…`), or the digest that a listing shows for what has none.
        id: String,
    },
    /// Publish events again. Facts keep their ids, so whoever handled them drops them.
    Replay {
        /// One event. Without it the filter says which ones, oldest first.
        id: Option<String>,
        #[command(flatten)]
        filter: Filter,
        /// Only say what would be done, with every difference from what was published.
        #[arg(long)]
        dry_run: bool,
        /// Map them anew and give the facts new ids, so that every reader acts once more.
        #[arg(long)]
        force: bool,
        /// Most events in all.
        #[arg(long, default_value_t = 10_000)]
        max: usize,
    },
    /// What the webhook service could not handle.
    DeadLetters {
        #[command(subcommand)]
        action: dead_letters::Action,
    },
}

/// Which events.
#[derive(Args, Clone, Debug, Default)]
struct Filter {
    /// Stripe's type, whole: invoice.payment_failed.
    #[arg(long = "type")]
    kind: Option<String>,
    /// Stripe's customer (cus_…).
    #[arg(long)]
    customer: Option<String>,
    /// Stripe's subscription (sub_…).
    #[arg(long)]
    subscription: Option<String>,
    /// What became of them.
    #[arg(long)]
    state: Option<State>,
    /// Received at or after: 2026-01-31T12:00:00Z, or how long ago: 90s, 30m, 2h, 7d.
    #[arg(long)]
    since: Option<String>,
    /// Received before; as --since.
    #[arg(long)]
    until: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    /// Every event.
    Received,
    /// Facts followed.
    Published,
    /// They came more than once.
    Duplicate,
    /// They must not act.
    Quarantined,
    /// Another event has their id.
    Conflict,
    /// About something that is nobody's here.
    Unassigned,
    /// Of a type that nothing follows from.
    Unmapped,
}

impl Filter {
    fn query(&self, now_ms: u64) -> anyhow::Result<Vec<(&'static str, String)>> {
        let moment =
            |field, text: &Option<String>| text.as_ref().map(|text| moment::parse(field, text, now_ms)).transpose();
        let state = self.state.and_then(|state| state.to_possible_value());
        let fields = [
            ("type", self.kind.clone()),
            ("customer", self.customer.clone()),
            ("subscription", self.subscription.clone()),
            ("state", state.map(|state| state.get_name().to_owned())),
            ("since_ms", moment("--since", &self.since)?.map(|ms| ms.to_string())),
            ("until_ms", moment("--until", &self.until)?.map(|ms| ms.to_string())),
        ];
        Ok(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

/// Does what was asked and says what came of it.
///
/// # Errors
/// No answer, or the service's own words.
pub async fn run(arguments: Arguments) -> anyhow::Result<Told> {
    let Arguments { listener: Listener { admin }, json, action } = arguments;
    let now_ms = clock::Clock::system().now_ms();
    let told = |answer: &Value, text: fn(&Value) -> String| Ok(Told::of(json, answer, text));
    match action {
        Action::List { filter, limit, after } => {
            let mut query = filter.query(now_ms)?;
            query.push(("limit", limit.to_string()));
            query.extend(after.map(|after| ("after", after)));
            told(&call(&admin, Method::GET, &["webhooks"], &query).await?, show::list)
        }
        Action::Show { id } => told(&call(&admin, Method::GET, &["webhooks", &id], &[]).await?, show::event),
        Action::Replay { id, filter, dry_run, force, max } => {
            let manner = [("dry_run", dry_run.to_string()), ("force", force.to_string())];
            let query = filter.query(now_ms)?;
            let answer = match id {
                Some(_) if !query.is_empty() => bail!("give an id or a filter, not both"),
                Some(id) => call(&admin, Method::POST, &["webhooks", &id, "replay"], &manner).await?,
                None => replay_all(&admin, [query, manner.into()].concat(), max).await?,
            };
            told(&answer, show::replay)
        }
        Action::DeadLetters { action } => dead_letters::act(&admin, "webhook", action).await,
    }
}

/// Page after page, as the service takes only so many at once.
async fn replay_all(admin: &str, query: Vec<(&str, String)>, max: usize) -> anyhow::Result<Value> {
    ensure!(
        query.len() > 2,
        "name an event, or say which: --customer, --subscription, --type, --state, --since, --until"
    );
    let (mut events, mut after, mut dry_run) = (Vec::new(), None::<String>, Value::Null);
    loop {
        let limit = max.saturating_sub(events.len()).min(100);
        if limit == 0 {
            return Ok(json!({ "dry_run": dry_run, "events": events, "next": after }));
        }
        let page = after.clone().map(|after| ("after", after));
        let query: Vec<_> = query.iter().cloned().chain([("limit", limit.to_string())]).chain(page).collect();
        let answer = call(admin, Method::POST, &["webhooks", "replay"], &query).await?;
        dry_run = answer["dry_run"].clone();
        events.extend(answer["events"].as_array().cloned().unwrap_or_default());
        match answer["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(json!({ "dry_run": dry_run, "events": events, "next": null })),
        }
    }
}
