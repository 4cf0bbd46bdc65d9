use stripe_emulator::{Mode, Options, SeedWebhook, StripeEmulator};

use crate::support::{Api, demo_price, options, start};

async fn refusal(options: Options) -> String {
    format!("{:#}", StripeEmulator::start(options).await.expect_err("these options are refused"))
}

#[tokio::test]
async fn production_mode_is_refused() {
    let message = refusal(Options { mode: Mode::Production, ..options() }).await;
    assert!(message.contains("never runs in production mode"), "{message}");
}

#[tokio::test]
async fn the_program_refuses_production_too() {
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_stripe-emulator"));
    let output = program.args(["--mode", "production", "--listen", "127.0.0.1:0"]).output().await.unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("never runs in production mode"), "{message}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_program_ends_cleanly_on_a_signal() {
    use std::process::Stdio;
    use tokio::io::{AsyncBufReadExt, BufReader};
    for signal in ["TERM", "INT"] {
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_stripe-emulator"));
        program.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = program.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let ready = reqwest::Client::builder().no_proxy().build().unwrap();
        ready.get(format!("{}/_emulator/health", line.trim())).send().await.unwrap();
        let pid = child.id().unwrap().to_string();
        let sent = tokio::process::Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap();
        assert!(sent.success());
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), child.wait()).await.unwrap().unwrap();
        assert_eq!(ended.code(), Some(0), "SIG{signal}");
    }
}

#[tokio::test]
async fn the_program_takes_its_bounds_and_refuses_unknown_ones() {
    use std::process::Stdio;
    use tokio::io::{AsyncBufReadExt, BufReader};
    let program = || tokio::process::Command::new(env!("CARGO_BIN_EXE_stripe-emulator"));
    let output = program().args(["--limits", r#"{"objekts":1}"#]).output().await.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("objekts"));
    let arguments = ["--listen", "127.0.0.1:0", "--limits", r#"{"objects":1}"#, "--dunning", r#"{"retry_days":[9]}"#];
    let mut child = program().args(arguments).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let api = Api { base: line.trim().to_owned(), http, version: None };
    api.customer().await;
    assert_eq!(api.post("/v1/customers", &[]).await.refused(400)["code"], "emulator_full");
    assert_eq!(api.seen("settings").await["retry_days"], serde_json::json!([9]));
    child.kill().await.unwrap();
}

#[tokio::test]
async fn only_loopback_is_served() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let message = refusal(Options { listen: address.parse().unwrap(), ..options() }).await;
        assert!(message.contains("loopback"), "{message}");
    }
}

#[tokio::test]
async fn bad_options_name_their_field() {
    let mut price = demo_price();
    price.currency = "Euro".to_owned();
    let hook = SeedWebhook {
        url: "http://192.0.2.1/hook".to_owned(),
        secret: "whsec_123456".to_owned(),
        enabled_events: vec!["*".to_owned()],
    };
    for (field, options) in [
        ("prices", Options { prices: vec![price], ..options() }),
        ("api_version", Options { api_version: "newest".to_owned(), ..options() }),
        ("api_key", Options { api_key: Some("sk_live_1".to_owned()), ..options() }),
        ("default_card", Options { default_card: Some("pm_1".to_owned()), ..options() }),
        ("loopback", Options { webhooks: vec![hook], ..options() }),
    ] {
        let message = refusal(options).await;
        assert!(message.contains(field), "{field}: {message}");
    }
}

#[tokio::test]
async fn webhooks_go_to_loopback_only_and_need_a_secret() {
    let (_emulator, api) = start(options()).await;
    for url in ["https://example.org/hook", "http://192.0.2.1/", "ftp://127.0.0.1/", "nonsense"] {
        let form = [("url", url), ("enabled_events[]", "*")];
        let error = api.post("/v1/webhook_endpoints", &form).await.refused(400);
        assert_eq!(error["param"], "url", "{url}");
    }
    let body = serde_json::json!({ "url": "http://127.0.0.1:1/", "secret": "" });
    let reply = api.http.post(format!("{}/_emulator/webhook_endpoints", api.base)).json(&body).send().await.unwrap();
    assert_eq!(reply.status(), 400);
}

#[tokio::test]
async fn a_test_key_is_needed() {
    let (_emulator, api) = start(Options { api_key: Some("sk_test_right".to_owned()), ..options() }).await;
    let ask = async |header: Option<(&str, &str)>| {
        let mut request = api.http.get(format!("{}/v1/customers", api.base));
        if let Some((scheme, value)) = header {
            request = request.header("authorization", format!("{scheme} {value}"));
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(None).await, 401);
    assert_eq!(ask(Some(("Bearer", "sk_test_wrong"))).await, 401);
    assert_eq!(ask(Some(("Bearer", "sk_live_right"))).await, 401);
    assert_eq!(ask(Some(("Digest", "sk_test_right"))).await, 401);
    assert_eq!(ask(Some(("Bearer", "sk_test_right"))).await, 200);
    // base64("sk_test_right:")
    assert_eq!(ask(Some(("Basic", "c2tfdGVzdF9yaWdodDo="))).await, 200);
    assert_eq!(ask(Some(("Basic", "!!"))).await, 401);
}

#[tokio::test]
async fn shutdown_frees_the_port_and_lets_held_requests_go() {
    let (emulator, api) = start(options()).await;
    api.control("faults", serde_json::json!({ "kind": "timeout" })).await;
    let held = tokio::spawn({
        let api: Api = api.clone();
        async move { api.call("GET", "/v1/customers", &[], None).await.is_err() }
    });
    crate::support::eventually(&api, "requests", |seen| seen["total"] == 1).await;
    let address = emulator.address();
    emulator.shutdown().await;
    assert!(held.await.unwrap(), "the held request is reset");
    tokio::net::TcpListener::bind(address).await.expect("the port is free again");
}
