//! `synapse billing`: subscriptions, usage, plans, proofs' keys and reconciliation, through the admin listener of the
//! subscription service.

mod reconcile;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use crate::admin::{Listener, Told, call};
use crate::dead_letters;
use crate::table::{self, Table};

/// Look at what was bought, used and paid, and make it agree with Stripe.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    listener: Listener,
    /// JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Subscriptions as they were at Stripe when we last looked.
    #[command(subcommand)]
    Subscriptions(Subscriptions),
    /// What a subscription used and may use.
    Usage {
        /// Whose it is.
        tenant: String,
        /// Which one.
        subscription: String,
    },
    /// The catalogue of plans.
    #[command(subcommand)]
    Plans(Plans),
    /// Compare all subscriptions with Stripe's and repair what differs.
    Reconcile(reconcile::Arguments),
    /// The keys that proofs are signed with.
    #[command(subcommand)]
    Proofs(Proofs),
    /// What the subscription service could not handle.
    #[command(subcommand)]
    DeadLetters(dead_letters::Action),
}

#[derive(Subcommand)]
enum Subscriptions {
    /// List a tenant's, or the tenants where none is named.
    List {
        /// Whose.
        #[arg(long)]
        tenant: Option<String>,
        /// Only this user's.
        #[arg(long, requires = "tenant")]
        user: Option<String>,
        /// Only of this status: active, past_due, …
        #[arg(long, requires = "tenant")]
        status: Option<String>,
        /// Where the last page ended.
        #[arg(long)]
        after: Option<String>,
        /// Lines a page, 1 to 500.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one with everything that is kept of it.
    Show {
        /// Whose it is.
        tenant: String,
        /// Which one.
        subscription: String,
    },
    /// Look at Stripe now and keep what it says.
    Refresh {
        /// Whose it is.
        tenant: String,
        /// Which one.
        subscription: String,
    },
}

#[derive(Subcommand)]
enum Plans {
    /// Compare every price of the catalogue with Stripe's.
    Check,
}

#[derive(Subcommand)]
enum Proofs {
    /// List them.
    Keys,
    /// Trust a key no more, everywhere and at once; another one signs from now on.
    Withdraw {
        /// The key's name.
        kid: String,
        /// Why; every verifier is told.
        #[arg(long)]
        reason: String,
    },
}

/// Does what was asked and says what came of it.
///
/// # Errors
/// No answer, or the service's own words.
pub async fn run(arguments: Arguments) -> anyhow::Result<Told> {
    let (admin, json) = (arguments.listener.admin.as_str(), arguments.json);
    match arguments.action {
        Action::Subscriptions(action) => subscriptions(admin, json, action).await,
        Action::Usage { tenant, subscription } => {
            let answer = call(admin, Method::GET, &["billing", "usage", &tenant, &subscription], &[]).await?;
            Ok(Told::of(json, &answer, usage))
        }
        Action::Plans(Plans::Check) => {
            let answer = call(admin, Method::GET, &["billing", "plans", "check"], &[]).await?;
            Ok(Told { ok: answer["ok"] == true, ..Told::of(json, &answer, plans) })
        }
        Action::Reconcile(wanted) => reconcile::run(admin, json, wanted).await,
        Action::Proofs(Proofs::Keys) => {
            let answer = call(admin, Method::GET, &["billing", "proof-keys"], &[]).await?;
            Ok(Told::of(json, &answer, keys))
        }
        Action::Proofs(Proofs::Withdraw { kid, reason }) => {
            let path = ["billing", "proof-keys", &kid, "withdraw"];
            let answer = call(admin, Method::POST, &path, &[("reason", reason)]).await?;
            Ok(Told::of(json, &answer, |_| {
                format!("{kid} was withdrawn; `synapse billing proofs keys` shows its successor\n")
            }))
        }
        Action::DeadLetters(action) => dead_letters::act(admin, "subscription", action).await,
    }
}

async fn subscriptions(admin: &str, json: bool, action: Subscriptions) -> anyhow::Result<Told> {
    match action {
        Subscriptions::List { tenant: None, after, .. } => {
            let query: Vec<_> = after.map(|after| ("after", after)).into_iter().collect();
            let answer = call(admin, Method::GET, &["billing", "tenants"], &query).await?;
            Ok(Told::of(json, &answer, |answer| {
                let mut table = Table::new(&["tenant"]);
                for tenant in items(answer, "tenants") {
                    table.row(&[text(tenant)]);
                }
                format!("{table}{}", more(answer))
            }))
        }
        Subscriptions::List { tenant: Some(tenant), user, status, after, limit } => {
            let optional = [("user", user), ("status", status), ("after", after)];
            let given = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let query: Vec<_> = [("limit", limit.to_string())].into_iter().chain(given).collect();
            let answer = call(admin, Method::GET, &["billing", "subscriptions", &tenant], &query).await?;
            Ok(Told::of(json, &answer, listed))
        }
        Subscriptions::Show { tenant, subscription } => {
            let path = ["billing", "subscriptions", &tenant, &subscription];
            let answer = call(admin, Method::GET, &path, &[]).await?;
            Ok(Told::of(json, &answer, |answer| format!("{}\n{}", fields(&answer["record"]), usage(&answer["usage"]))))
        }
        Subscriptions::Refresh { tenant, subscription } => {
            let path = ["billing", "subscriptions", &tenant, &subscription, "refresh"];
            let answer = call(admin, Method::POST, &path, &[]).await?;
            Ok(Told::of(json, &answer, |answer| fields(&answer["record"])))
        }
    }
}

fn listed(answer: &Value) -> String {
    let mut table = Table::new(&["subscription", "user", "plan", "status", "period ends", "at Stripe"]);
    for line in items(answer, "subscriptions") {
        let end = line["current_period_end_ms"].as_u64().map_or("-".to_owned(), table::date);
        table.row(&[
            text(&line["subscription_id"]),
            text(&line["user_id"]),
            text(&line["plan"]),
            text(&line["status"]),
            end,
            text(&line["stripe_subscription_id"]),
        ]);
    }
    format!("{table}{}", more(answer))
}

fn usage(answer: &Value) -> String {
    if answer.is_null() {
        return String::new();
    }
    let mut table = Table::new(&["meter", "window", "used", "allowed", "resets"]);
    for line in items(answer, "windows") {
        let resets = line["resets_at_ms"].as_u64().map_or("-".to_owned(), table::date);
        table.row(&[text(&line["meter"]), text(&line["window"]), text(&line["used"]), text(&line["allowed"]), resets]);
    }
    let features = items(answer, "features").iter().map(text).collect::<Vec<_>>().join(", ");
    format!("plan {} of {}, features: {features}\n{table}", text(&answer["plan"]), text(&answer["user_id"]))
}

fn plans(answer: &Value) -> String {
    let mut table = Table::new(&["plan", "tenants", "price", "problems"]);
    for line in items(answer, "prices") {
        let join = |name: &str| items(line, name).iter().map(text).collect::<Vec<_>>().join("; ");
        let problems = join("problems");
        let problems = if problems.is_empty() { "none".to_owned() } else { problems };
        table.row(&[text(&line["plan"]), join("tenants"), text(&line["price_id"]), problems]);
    }
    table.to_string()
}

fn keys(answer: &Value) -> String {
    let mut table = Table::new(&["kid", "state", "can sign", "used from", "verifies until"]);
    for line in items(answer, "keys") {
        let at = |name: &str| line[name].as_u64().map_or("-".to_owned(), table::date);
        let signs = if line["can_sign"] == true { "yes" } else { "no: its secret is missing" };
        table.row(&[text(&line["kid"]), text(&line["state"]), signs.into(), at("use_from_ms"), at("not_after_ms")]);
    }
    for line in items(answer, "withdrawn") {
        table.row(&[
            text(&line["kid"]),
            format!("withdrawn: {}", text(&line["reason"])),
            "no".into(),
            "-".into(),
            "-".into(),
        ]);
    }
    table.to_string()
}

/// One line for each field.
fn fields(object: &Value) -> String {
    let mut table = Table::new(&["field", "value"]);
    for (name, value) in object.as_object().into_iter().flatten() {
        table.row(&[name.clone(), text(value)]);
    }
    table.to_string()
}

fn items<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn more(answer: &Value) -> String {
    answer["next"].as_str().map(|next| format!("more: --after {next}\n")).unwrap_or_default()
}
