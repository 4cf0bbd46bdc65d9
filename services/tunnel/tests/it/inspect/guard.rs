//! Who may not ask the page's server, and what nobody sees who only asks.

use agent::{InspectOptions, Redaction};

use super::{inspected, inspected_with, shown};

#[tokio::test]
async fn another_host_s_name_is_refused() {
    let page = inspected().await;
    let port = page.base.rsplit(':').next().unwrap().to_owned();
    for host in [format!("evil.test:{port}"), "127.0.0.1".to_owned(), format!("127.0.0.1.evil.test:{port}")] {
        let answer = page.ask("/api/exchanges").header("host", &host).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{host}");
        assert!(answer.text().await.unwrap().contains("host:"), "{host}");
    }
    let local = page.ask("/").header("host", format!("localhost:{port}")).send().await.unwrap();
    assert_eq!(local.status(), 200);
    page.stop().await;
}

#[tokio::test]
async fn another_origin_is_refused() {
    let page = inspected().await;
    for origin in ["https://evil.test", "null", "http://127.0.0.1:1"] {
        let answer = page.with_token(page.ask("/api/exchanges")).header("origin", origin).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{origin}");
        assert!(answer.headers().get("access-control-allow-origin").is_none());
    }
    let own = page.ask("/api/exchanges").header("origin", &page.base).send().await.unwrap();
    assert_eq!(own.status(), 200);
    page.stop().await;
}

#[tokio::test]
async fn a_request_that_another_site_makes_a_browser_send_is_refused() {
    let page = inspected().await;
    for site in ["cross-site", "same-site"] {
        let answer = page.ask("/api/exchanges.har").header("sec-fetch-site", site).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{site}");
    }
    let own = page.ask("/api/exchanges").header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(own.status(), 200);
    page.stop().await;
}

#[tokio::test]
async fn nothing_is_changed_without_the_page_s_token() {
    let page = inspected().await;
    page.world.get("/").send().await.unwrap().bytes().await.unwrap();
    let exchange = page.ended().await;
    let replay = format!("{}/api/exchanges/{}/replay", page.base, exchange["id"]);
    for token in ["", "wrong"] {
        let post = page.world.http.post(&replay).header("x-inspect-token", token).send().await.unwrap();
        let delete = page.world.http.delete(format!("{}/api/exchanges", page.base)).header("x-inspect-token", token);
        assert_eq!([post.status(), delete.send().await.unwrap().status()], [403, 403], "{token:?}");
    }
    assert_eq!(page.list("").await.len(), 1);
    let delete = page.with_token(page.world.http.delete(format!("{}/api/exchanges", page.base)));
    assert_eq!(delete.send().await.unwrap().status(), 204);
    assert!(page.list("").await.is_empty());
    page.stop().await;
}

#[tokio::test]
async fn secrets_are_hidden_unless_the_page_shows_them() {
    let redaction = Redaction::with(vec!["X-Own".into()]);
    let page = inspected_with(InspectOptions { redaction, ..InspectOptions::default() }).await;
    page.world.get("/echo").send().await.unwrap().bytes().await.unwrap();
    let exchange = page.ended().await;
    assert_eq!(shown(&exchange, "response", "set-cookie"), ["[redacted]", "[redacted]"]);
    let request = page.world.get("/status/200?access_token=s3cret&x-own=s3cret&open=1");
    let request =
        request.header("authorization", "Bearer s3cret").header("cookie", "id=s3cret").header("x-own", "s3cret");
    request.send().await.unwrap().bytes().await.unwrap();
    let exchange = page.newest(|exchange| exchange["id"] == 2 && !exchange["took_ms"].is_null()).await;
    assert_eq!(shown(&exchange, "request", "authorization"), ["Bearer [redacted]"]);
    for name in ["cookie", "x-own"] {
        assert_eq!(shown(&exchange, "request", name), ["[redacted]"], "{name}");
    }
    assert_eq!(exchange["path"], "/status/200?access_token=[redacted]&x-own=[redacted]&open=1");
    let id = &exchange["id"];
    for path in ["/api/exchanges".to_owned(), format!("/api/exchanges/{id}"), format!("/api/exchanges/{id}/har")] {
        assert!(!page.ask(&path).send().await.unwrap().text().await.unwrap().contains("s3cret"), "{path}");
        let reveal = format!("{path}?secrets=shown");
        assert_eq!(page.ask(&reveal).send().await.unwrap().status(), 403, "{path} without the token");
        let text = page.with_token(page.ask(&reveal)).send().await.unwrap().text().await.unwrap();
        assert!(text.contains("access_token=s3cret"), "{path}: {text}");
    }
    page.stop().await;
}

#[tokio::test]
async fn the_page_may_run_its_own_files_and_nothing_else() {
    let page = inspected().await;
    for path in ["/", "/page.css", "/page.js", "/detail.js", "/bodies.js", "/elements.js", "/api/exchanges", "/nothing"]
    {
        let answer = page.ask(path).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("<script>") && !text.contains("https://"), "{path} runs or fetches something else");
    }
    page.world.get("/").send().await.unwrap().bytes().await.unwrap();
    let exchange = page.ended().await;
    let body = page.ask(&format!("/api/exchanges/{}/body/response", exchange["id"])).send().await.unwrap();
    assert_eq!(body.headers()["content-type"], "application/octet-stream", "a tunnel's page must not run here");
    page.stop().await;
}
