//! `synapse keys` against the running system.

use clap::Parser;
use clock::Clock;
use serde_json::Value;

use crate::running::Running;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    keys: synapse::keys::Arguments,
}

async fn keys(running: &Running, arguments: &[&str]) -> anyhow::Result<String> {
    let (gateway, token) = (running.url(""), running.token());
    let common = ["keys", "--gateway", &gateway, "--token", &token];
    let line = Line::try_parse_from(common.iter().chain(arguments))?;
    synapse::keys::answer(line.keys, &Clock::system()).await
}

async fn json(running: &Running, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&keys(running, &arguments).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_from_the_command_line() {
    let running = Running::start(|_, _| {}).await;
    let peers = async |secret: &str| {
        running.http.get(running.url("/v1/peers")).bearer_auth(secret).send().await.unwrap().status().as_u16()
    };
    let made = json(&running, &["create", "--name", "ci", "--scope", "peers:read", "--expires-in-days", "1"]).await;
    let (secret, id) = (made["secret"].as_str().unwrap(), made["key"]["key_id"].as_str().unwrap());
    assert!(secret.starts_with("syn_test_"), "{made}");
    assert_eq!(peers(secret).await, 200);
    let list = keys(&running, &["list"]).await.unwrap();
    assert!(list.contains(id) && list.contains("peers:read") && !list.contains(secret), "{list}");
    let shown = keys(&running, &["show", id]).await.unwrap();
    assert!(shown.contains("active") && shown.contains("read_only"), "{shown}");
    let rotated = json(&running, &["rotate", id, "--overlap-s", "0"]).await;
    let new = rotated["secret"].as_str().unwrap();
    assert_eq!((peers(secret).await, peers(new).await), (401, 200));
    assert_eq!(json(&running, &["revoke", id]).await["revoked"], true);
    assert_eq!(peers(new).await, 401);
    let human = keys(&running, &["create", "--name", "x", "--scope", "connect"]).await.unwrap();
    assert!(human.lines().next().unwrap().starts_with("syn_test_"), "{human}");
    for (bad, wanted) in [
        (&["create", "--name", "ci"][..], "--scope"),
        (&["create", "--name", "ci", "--scope", "everything"], "unknown variant"),
        (&["show", "key_0"], "not_found"),
    ] {
        let error = format!("{:#}", keys(&running, bad).await.unwrap_err());
        assert!(error.contains(wanted), "{error}");
    }
    running.stop().await;
}
