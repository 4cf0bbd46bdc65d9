use std::time::Duration;

use anyhow::bail;
use clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use super::table::Table;
use super::{items, text};
use crate::admin::{Told, call};

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Rows a page of the answer.
const PAGE: u32 = 500;

/// What to compare, and whether to repair.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only look and tell what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Only what Stripe's events since the last backfill are about, instead of all subscriptions.
    #[arg(long)]
    backfill: bool,
    /// Show the run under way or the last one; begin none.
    #[arg(long, conflicts_with_all = ["dry_run", "backfill"])]
    last: bool,
    /// Longest wait for the run, seconds; it goes on without us.
    #[arg(long, default_value_t = 3_600)]
    wait_s: u64,
}

/// Begins a run, waits for its end, tells what it found. All is well when no difference is left.
pub(super) async fn run(admin: &str, json: bool, wanted: Arguments) -> anyhow::Result<Told> {
    let path = ["billing", "reconcile"];
    if !wanted.last {
        let mode = if wanted.backfill { "backfill" } else { "sweep" };
        let query = [("mode", mode.to_owned()), ("dry_run", wanted.dry_run.to_string())];
        call(admin, Method::POST, &path, &query).await?;
        wait(admin, wanted.wait_s).await?;
    }
    let (run, rows) = result(admin).await?;
    let counts = &run["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap_or(0);
    let left = count("missing") + count("stale") + count("extra") - count("repaired");
    let whole = json!({ "run": run, "rows": rows });
    Ok(Told { ok: left == 0, ..Told::of(json, &whole, |_| report(&run, &rows)) })
}

async fn wait(admin: &str, wait_s: u64) -> anyhow::Result<()> {
    let clock = Clock::system();
    let until = clock.monotonic() + Duration::from_secs(wait_s);
    while clock.monotonic() < until {
        let answer = call(admin, Method::GET, &["billing", "reconcile"], &[("limit", "1".into())]).await?;
        let run = &answer["run"];
        if run["finished_at_ms"].is_u64() {
            return Ok(());
        }
        if let Some(trouble) = run["trouble"].as_str() {
            bail!("the run stopped and goes on by itself later: {trouble}");
        }
        clock.sleep(LOOK).await;
    }
    bail!("the run is not finished yet; `synapse billing reconcile --last` shows it")
}

async fn result(admin: &str) -> anyhow::Result<(Value, Vec<Value>)> {
    let (mut rows, mut after) = (Vec::new(), None::<String>);
    loop {
        let given = after.map(|after| ("after", after));
        let query: Vec<_> = [("limit", PAGE.to_string())].into_iter().chain(given).collect();
        let mut answer = call(admin, Method::GET, &["billing", "reconcile"], &query).await?;
        rows.extend(items(&answer, "rows").iter().cloned());
        match answer["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok((answer["run"].take(), rows)),
        }
    }
}

fn report(run: &Value, rows: &[Value]) -> String {
    if run.is_null() {
        return "nothing was compared yet\n".to_owned();
    }
    let mut table = Table::new(&["what", "tenant", "subscription", "at Stripe", "we had", "Stripe says", "done"]);
    for row in rows {
        let done = match row["note"].as_str() {
            Some(note) => format!("{}: {note}", text(&row["done"])),
            None => text(&row["done"]),
        };
        table.row(&[
            text(&row["kind"]),
            text(&row["tenant"]),
            text(&row["subscription_id"]),
            text(&row["stripe_subscription_id"]),
            text(&row["ours"]),
            text(&row["stripes"]),
            done,
        ]);
    }
    let counts = &run["counts"];
    let of = |name: &str| format!("{name} {}", text(&counts[name]));
    let sums = ["checked", "missing", "stale", "extra", "repaired", "failed"].map(of).join(", ");
    let found = if rows.is_empty() { String::new() } else { table.to_string() };
    let kind = if run["dry_run"] == true { " (dry run)" } else { "" };
    format!("{found}{}{kind}: {sums}\n", text(&run["mode"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_we_had_what_stripe_says_and_what_was_done() {
        let run = json!({"mode": "sweep", "dry_run": true,
            "counts": {"checked": 2, "missing": 0, "stale": 1, "extra": 0, "repaired": 0, "failed": 0}});
        let row = json!({"kind": "stale", "tenant": "acme", "subscription_id": "s-1", "stripe_subscription_id": "sub_1",
            "ours": "status=active", "stripes": "status=canceled", "done": "would_repair", "note": null});
        let told = report(&run, &[row]);
        assert!(
            told.contains("stale  acme    s-1           sub_1      status=active  status=canceled  would_repair"),
            "{told}"
        );
        assert!(told.ends_with("sweep (dry run): checked 2, missing 0, stale 1, extra 0, repaired 0, failed 0\n"));
        assert_eq!(report(&Value::Null, &[]), "nothing was compared yet\n");
    }
}
