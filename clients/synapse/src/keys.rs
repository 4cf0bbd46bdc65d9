//! `synapse keys`: the tenant's API keys, through the gateway's HTTP API with an administrator's token.

use clap::{Args, Subcommand};
use clock::Clock;
use contracts::UserId;
use contracts::http::{ApiKeyIssued, ApiKeyPage, ApiKeyRole, ApiKeyScope, ApiKeyView, CreateApiKey, RotateApiKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Api;
use crate::table::{self, Table};

const DAY_MS: u64 = 86_400_000;

/// Make, list, rotate and revoke API keys.
#[derive(Args)]
pub struct Arguments {
    /// The gateway.
    #[arg(long, default_value = "http://127.0.0.1:8080", global = true)]
    gateway: String,
    /// An access token of an administrator.
    #[arg(long, env = "SYNAPSE_TOKEN", hide_env_values = true, global = true, default_value = "")]
    token: String,
    /// JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a key and show its secret, once.
    Create {
        /// For people.
        #[arg(long)]
        name: String,
        /// What it may be used for: connect, peers:read, proofs:issue, subscriptions:read, subscriptions:write. Several.
        #[arg(long = "scope", required = true, value_parser = word::<ApiKeyScope>)]
        scopes: Vec<ApiKeyScope>,
        /// What its user is: admin, user, read_only.
        #[arg(long, default_value = "read_only", value_parser = word::<ApiKeyRole>)]
        role: ApiKeyRole,
        /// Whom it speaks for; without it, whom the token speaks for.
        #[arg(long)]
        user: Option<UserId>,
        /// When it ends, days from now; without it, never.
        #[arg(long)]
        expires_in_days: Option<u64>,
        /// Most requests a minute; without it, as every caller.
        #[arg(long)]
        requests_per_minute: Option<u32>,
    },
    /// List the tenant's keys, oldest first.
    List {
        /// Where the last page ended.
        #[arg(long)]
        after: Option<String>,
        /// Lines a page, 1 to 100.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one.
    Show {
        /// Which.
        key_id: String,
    },
    /// Give one another secret.
    Rotate {
        /// Which.
        key_id: String,
        /// How long the secret before stays good, seconds, at most 7 days; without it, a day.
        #[arg(long)]
        overlap_s: Option<u64>,
    },
    /// Take one back.
    Revoke {
        /// Which.
        key_id: String,
    },
}

/// Reads a word of the contracts.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Runs the command and prints what came of it.
///
/// # Errors
/// The gateway's problem, or no answer.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    print!("{}", answer(arguments, &Clock::system()).await?);
    Ok(())
}

/// Runs the command; what is to be printed.
///
/// # Errors
/// The gateway's problem, or no answer.
pub async fn answer(arguments: Arguments, clock: &Clock) -> anyhow::Result<String> {
    let Arguments { gateway, token, json, action } = arguments;
    anyhow::ensure!(!token.is_empty(), "--token (or SYNAPSE_TOKEN): give an administrator's access token");
    let api = Api::new(&gateway, &token);
    Ok(match action {
        Action::Create { name, scopes, role, user, expires_in_days, requests_per_minute } => {
            let expires_at_ms = expires_in_days.map(|days| clock.now_ms().saturating_add(days.saturating_mul(DAY_MS)));
            let wanted = CreateApiKey { name, scopes, role, user_id: user, expires_at_ms, requests_per_minute };
            told(json, &api.create_key(&wanted).await?, issued)?
        }
        Action::List { after, limit } => told(json, &api.keys(limit, after.as_deref()).await?, listed)?,
        Action::Show { key_id } => told(json, &api.key(&key_id).await?, shown)?,
        Action::Rotate { key_id, overlap_s } => {
            let wanted = RotateApiKey { overlap_ms: overlap_s.map(|seconds| seconds.saturating_mul(1_000)) };
            told(json, &api.rotate_key(&key_id, &wanted).await?, issued)?
        }
        Action::Revoke { key_id } => {
            api.revoke_key(&key_id).await?;
            let done = serde_json::json!({"key_id": key_id, "revoked": true});
            told(json, &done, |_| format!("{key_id} is revoked\n"))?
        }
    })
}

fn told<T: Serialize>(json: bool, answer: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<String> {
    Ok(if json { serde_json::to_string(answer)? + "\n" } else { text(answer) })
}

fn issued(issued: &ApiKeyIssued) -> String {
    let ApiKeyIssued { secret, key } = issued;
    format!("{secret}\n\n{} is shown this once and kept nowhere. Send it as: Authorization: Bearer …\n", key.key_id)
}

fn listed(page: &ApiKeyPage) -> String {
    let mut table = Table::new(&["key", "name", "begins", "status", "role", "user", "scopes", "last used"]);
    for key in &page.keys {
        table.row(&[
            key.key_id.clone(),
            key.name.clone(),
            key.hint.clone(),
            plain(&key.status),
            plain(&key.role),
            key.user_id.to_string(),
            scopes(key),
            key.last_used_at_ms.map_or("never".to_owned(), table::date),
        ]);
    }
    let more = page.next.as_ref().map(|next| format!("more: --after {next}\n")).unwrap_or_default();
    format!("{table}{more}")
}

fn shown(key: &ApiKeyView) -> String {
    let mut table = Table::new(&["field", "value"]);
    let never = || "-".to_owned();
    for (name, value) in [
        ("key", key.key_id.clone()),
        ("name", key.name.clone()),
        ("begins", key.hint.clone()),
        ("status", plain(&key.status)),
        ("role", plain(&key.role)),
        ("user", key.user_id.to_string()),
        ("scopes", scopes(key)),
        ("made", format!("{} by {}", table::date(key.created_at_ms), key.created_by)),
        ("ends", key.expires_at_ms.map_or_else(never, table::date)),
        ("revoked", key.revoked_at_ms.map_or_else(never, table::date)),
        ("last used", key.last_used_at_ms.map_or_else(never, table::date)),
        ("secret before good until", key.previous_until_ms.map_or_else(never, table::date)),
        ("requests a minute", key.requests_per_minute.map_or_else(never, |limit| limit.to_string())),
    ] {
        table.row(&[name.to_owned(), value]);
    }
    table.to_string()
}

fn scopes(key: &ApiKeyView) -> String {
    key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

fn plain(word: &impl Serialize) -> String {
    serde_json::to_value(word).ok().as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}
