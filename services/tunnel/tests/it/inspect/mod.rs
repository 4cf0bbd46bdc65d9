//! The agent's page, with real traffic through a real edge.

mod capture;
mod guard;
mod har;
mod replay;

use agent::{Agent, InspectOptions, Inspector, Options};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::harness::{SOON, World, world};

/// A world whose agent `blue` is inspected.
struct Inspected {
    world: World,
    agent: Agent,
    /// The page.
    base: String,
    token: String,
}

async fn inspected() -> Inspected {
    inspected_with(InspectOptions::default()).await
}

/// Any free port: tests run at once.
async fn inspected_with(options: InspectOptions) -> Inspected {
    let world = world().await;
    let options = InspectOptions { listen: ([127, 0, 0, 1], 0).into(), ..options };
    let inspector = Inspector::start(options).await.unwrap();
    let base = format!("http://{}", inspector.address());
    let options = Options { name: Some("blue".into()), inspector: Some(inspector), ..world.options("laptop") };
    let agent = agent::start(options).await.unwrap();
    let page = world.http.get(&base).send().await.unwrap().text().await.unwrap();
    let token = page.split("name=\"inspect-token\" content=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    Inspected { world, agent, base, token }
}

impl Inspected {
    fn ask(&self, path: &str) -> RequestBuilder {
        self.world.http.get(format!("{}{path}", self.base))
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("x-inspect-token", &self.token)
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.ask(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// The listed exchanges, newest first.
    async fn list(&self, query: &str) -> Vec<Value> {
        self.json(&format!("/api/exchanges?{query}")).await["exchanges"].as_array().unwrap().clone()
    }

    /// The newest exchange, once `done` finds it complete.
    async fn newest(&self, done: impl Fn(&Value) -> bool) -> Value {
        testkit::eventually(SOON, "the exchange to be there", async || {
            let Some(newest) = self.list("").await.first().cloned() else { return Err("nothing".to_owned()) };
            let detail = self.json(&format!("/api/exchanges/{}", newest["id"])).await;
            if done(&detail) { Ok(detail) } else { Err(detail.to_string()) }
        })
        .await
    }

    async fn ended(&self) -> Value {
        self.newest(|exchange| !exchange["took_ms"].is_null()).await
    }

    async fn body(&self, exchange: &Value, side: &str) -> Vec<u8> {
        let path = format!("/api/exchanges/{}/body/{side}", exchange["id"]);
        self.ask(&path).send().await.unwrap().bytes().await.unwrap().to_vec()
    }

    fn replay(&self, exchange: &Value) -> RequestBuilder {
        let address = format!("{}/api/exchanges/{}/replay", self.base, exchange["id"]);
        self.with_token(self.world.http.post(address))
    }

    async fn stop(self) {
        self.agent.stop().await;
        self.world.stop().await;
    }
}

/// The values of a header as the page shows them.
fn shown<'a>(exchange: &'a Value, side: &str, name: &str) -> Vec<&'a str> {
    let headers = exchange[side]["headers"].as_array().unwrap();
    headers.iter().filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}
