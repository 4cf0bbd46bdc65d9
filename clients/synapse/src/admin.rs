//! Calls to a process's admin listener.

use anyhow::{Context, bail};
use reqwest::{Client, Method, Url};
use serde_json::Value;

/// The admin listener of one process.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    base: String,
    client: Client,
}

impl Admin {
    /// `base` is `http://host:port`.
    pub(crate) fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), client: Client::new() }
    }

    /// Asks and gives the answer's JSON. `path` parts are escaped.
    ///
    /// # Errors
    /// No answer, or the service's own words.
    pub(crate) async fn call(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Value> {
        let mut url = Url::parse(&self.base).context("--admin: use http://host:port")?;
        url.path_segments_mut().map_err(|()| anyhow::anyhow!("--admin: use http://host:port"))?.extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let response = self.client.request(method, url).send().await.context("the admin listener does not answer")?;
        let (status, body) = (response.status(), response.bytes().await?);
        let answer: Value =
            serde_json::from_slice(&body).context("the answer is not JSON; is this the admin listener?")?;
        if !status.is_success() {
            bail!("{}", answer["error"].as_str().unwrap_or("refused without a reason"));
        }
        Ok(answer)
    }
}
