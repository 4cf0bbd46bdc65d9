//! The document and the router say the same, and the pages show it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::client::Answer;
use crate::harness::{World, run};

type Methods = BTreeMap<String, BTreeSet<String>>;

/// Path by path, the methods that the document has.
fn documented() -> Methods {
    let document = gateway::openapi::document();
    let paths = document["paths"].as_object().unwrap();
    let methods = |path: &Value| path.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    paths.iter().map(|(path, value)| (path.clone(), methods(value))).collect()
}

/// The paths of a router, as it prints itself: every text that begins with a slash, without those of its fallback.
fn paths_of(router: &str) -> BTreeSet<String> {
    let is_path = |text: &&str| text.starts_with('/') && *text != "/" && !text.contains("__private");
    router.split('"').filter(is_path).map(str::to_owned).collect()
}

/// The methods that a path takes: what it answers to one that nobody has.
async fn routed(world: &World, paths: impl Iterator<Item = &String>) -> Methods {
    let mut routed = Methods::new();
    for path in paths {
        let answer = world.http_as(&format!("BREW {}", path.replace("{id}", "x")), "", "").await;
        assert_eq!(answer.status, 405, "{path}: {answer:?}");
        let allowed = answer.header("allow").unwrap().split(',').map(|method| method.trim().to_owned());
        // Whoever answers GET answers HEAD.
        routed.insert(path.clone(), allowed.filter(|method| method != "HEAD").collect());
    }
    routed
}

#[tokio::test]
async fn every_route_is_in_the_document_and_everything_in_it_is_a_route() {
    run(async |world| {
        let paths = paths_of(&world.router);
        assert!(paths.contains("/v1/ws") && paths.len() > 15, "the router prints its paths: {paths:?}");
        assert_eq!(routed(world, paths.iter()).await, documented());
    })
    .await;
}

#[tokio::test]
async fn every_operation_is_complete() {
    let document = gateway::openapi::document();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with(['1', '2'])), "{id}");
            assert!(["400", "429", "500", "503"].iter().all(|status| responses.contains_key(*status)), "{id}");
            let secured = !operation["security"].as_array().unwrap().is_empty();
            assert_eq!(secured, responses.contains_key("401"), "{id}");
            let key = "#/components/parameters/IdempotencyKey";
            let keyed = operation["parameters"].as_array().unwrap().iter().any(|parameter| parameter["$ref"] == key);
            assert_eq!(keyed, responses.contains_key("422") && method == "post", "{method} {path}");
            if method == "post" && !keyed {
                let about = operation["description"].as_str().unwrap();
                assert!(
                    about.contains("Idempotency-Key") || id == "checkPlans",
                    "{id} says why it needs no key: {about}"
                );
            }
        }
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}

fn is_file(answer: &Answer, media_type: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)), "{}", answer.head);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn the_document_and_its_pages_are_served_and_load_nothing_from_elsewhere() {
    run(async |world| {
        let get = async |path: &str| world.http_as(&format!("GET {path}"), "", "").await;
        let document = get("/openapi.json").await;
        is_file(&document, "application/json");
        assert_eq!(serde_json::from_str::<Value>(&document.body).unwrap(), gateway::openapi::document());
        for path in ["/docs", "/docs/errors"] {
            let page = get(path).await;
            is_file(&page, "text/html; charset=utf-8");
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert!(!page.body.contains("http://") && !page.body.contains("https://"), "{path}");
        }
        is_file(&get("/docs/page.css").await, "text/css; charset=utf-8");
        let script = get("/docs/page.js").await;
        is_file(&script, "text/javascript; charset=utf-8");
        assert!(!script.body.contains("innerHTML"), "texts become text");
    })
    .await;
}
