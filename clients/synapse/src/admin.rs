//! Calls to a process's admin listener, and what is told of them.

use std::process::ExitCode;

use anyhow::{Context, bail};
use reqwest::{Client, Method};
use serde_json::Value;

/// Whom an operator asks.
#[derive(clap::Args)]
pub(crate) struct Listener {
    /// The admin listener of the process that holds the service.
    #[arg(long, global = true, default_value = "http://127.0.0.1:9090")]
    pub(crate) admin: String,
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// For standard output.
    pub text: String,
    /// Whether all is well: the exit code.
    pub ok: bool,
}

impl Told {
    /// An answer as it came, or for people.
    pub(crate) fn of(json: bool, answer: &Value, table: impl FnOnce(&Value) -> String) -> Self {
        Self { text: if json { format!("{answer:#}\n") } else { table(answer) }, ok: true }
    }

    /// Prints it.
    pub fn print(self) -> ExitCode {
        print!("{}", self.text);
        if self.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Asks the admin listener at `admin` (`http://host:port`). An answer that is an error becomes one with its own words.
pub(crate) async fn call(
    admin: &str,
    method: Method,
    path: &[&str],
    query: &[(&str, String)],
) -> anyhow::Result<Value> {
    let mut url = reqwest::Url::parse(admin).context("--admin: use http://host:port")?;
    match url.path_segments_mut() {
        Ok(mut segments) => drop(segments.pop_if_empty().extend(path)),
        Err(()) => bail!("--admin: use http://host:port"),
    }
    url.query_pairs_mut().extend_pairs(query);
    let response = Client::new().request(method, url).send().await;
    let response =
        response.with_context(|| format!("the admin listener at {admin} does not answer; is --admin right?"))?;
    let (status, body) = (response.status(), response.bytes().await?);
    if status == reqwest::StatusCode::NOT_FOUND && body.is_empty() {
        bail!("the process at {admin} has no such service; give the admin listener of the one that has it (--admin)");
    }
    let answer: Value = serde_json::from_slice(&body).context("the answer is not JSON; is this the admin listener?")?;
    if !status.is_success() {
        match answer["error"].as_str() {
            Some(error) => bail!("{error}"),
            None => {
                bail!("{admin} answers with {status} and is not the admin listener; give the right one with --admin")
            }
        }
    }
    Ok(answer)
}
