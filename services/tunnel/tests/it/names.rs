//! Which tunnel an agent gets, and what the public is told where there is none.

use agent::{Options, TunnelError};
use contracts::tunnels::close;

use crate::harness::{SOON, admitted, token, tunnel_id, world, world_with};

#[tokio::test]
async fn an_agent_gets_its_own_tunnel_again_and_another_one_another() {
    let world = world().await;
    let first = world.agent("laptop").await;
    let id = tunnel_id(&first);
    first.stop().await;
    let (again, other) = (world.agent("laptop").await, world.agent("desktop").await);
    assert_eq!(tunnel_id(&again), id);
    assert_ne!(tunnel_id(&other), id);
    let by_id = world.http.get(format!("http://{}/t/{id}/", world.edge)).send().await.unwrap();
    assert_eq!(by_id.text().await.unwrap(), "hello");
    again.stop().await;
    other.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_agent_that_opens_anew_takes_the_place_of_its_earlier_self() {
    let world = world().await;
    let first = world.blue().await;
    let second = world.blue().await;
    for _ in 0..4 {
        assert_eq!(world.get("/").send().await.unwrap().status(), 200);
    }
    // It does not come back: the two would take the tunnel from each other for ever.
    let ended = tokio::time::timeout(SOON, first.ended()).await.expect("the earlier one ends");
    assert!(matches!(ended, Some(TunnelError::Closed(close::TAKEN_OVER, _))), "{ended:?}");
    assert_eq!(world.get("/").send().await.unwrap().status(), 200);
    second.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_name_has_one_owner_and_stays_theirs_for_a_while() {
    let world = world_with(&[("name_grace_ms", "2000")]).await;
    let ada = world.blue().await;
    let bobs = || Options { name: Some("blue".into()), token: token("bob"), ..world.options("bobs") };
    let refused = |error: TunnelError| match error {
        TunnelError::Refused(problem) => problem.code,
        other => panic!("{other}"),
    };
    assert_eq!(refused(agent::start(bobs()).await.err().unwrap()), "conflict");
    ada.stop().await;
    assert_eq!(refused(agent::start(bobs()).await.err().unwrap()), "conflict", "the grace");
    let bob = admitted(&bobs()).await;
    assert_eq!(world.get("/").send().await.unwrap().status(), 200);
    bob.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_bad_name_is_refused_by_its_rule() {
    let world = world().await;
    for (name, rule) in [("ab", "3 to 32"), ("a_b_c", "a-z, 0-9"), ("www", "reserved"), ("-abc", "begin and end")] {
        let error = agent::start(Options { name: Some(name.into()), ..world.options("laptop") }).await.err().unwrap();
        let TunnelError::Refused(problem) = error else { panic!("{error}") };
        assert_eq!(problem.status, 400);
        assert!(problem.violations[0].field == "name" && problem.violations[0].message.contains(rule), "{problem:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn unknown_and_absent_are_told_apart_for_people_and_programs() {
    let world = world().await;
    let unknown = world.http.get(format!("http://{}/t/nowhere/x", world.edge)).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = unknown.json().await.unwrap();
    assert_eq!(problem["code"], "tunnel_unknown");
    world.blue().await.stop().await;
    let absent = world.answers("/", 502).await;
    assert_eq!(absent.headers()["x-error-code"], "agent_offline");
    let page = absent.text().await.unwrap();
    assert!(page.contains("<h1>The other end of the tunnel is not connected</h1>"), "{page}");
    assert!(!page.contains('{') || page.contains("{ color-scheme"), "a placeholder was left: {page}");
    world.stop().await;
}

#[tokio::test]
async fn an_origin_that_is_down_or_slow_is_told_from_an_agent_that_is() {
    let world = world_with(&[("answer_within_ms", "300")]).await;
    let agent = world.blue().await;
    let slow = world.get("/slow").send().await.unwrap();
    assert_eq!((slow.status().as_u16(), slow.headers()["x-error-code"].to_str().unwrap()), (504, "origin_timeout"));
    let nobody = agent::Origin::try_new(&format!("127.0.0.1:{}", testkit::free_port())).unwrap();
    let other = Options { origin: nobody, ..world.options("other") };
    let other = agent::start(other).await.unwrap();
    let down = world.http.get(format!("http://{}/t/{}/", world.edge, tunnel_id(&other))).send().await.unwrap();
    assert_eq!((down.status().as_u16(), down.headers()["x-error-code"].to_str().unwrap()), (502, "origin_unreachable"));
    agent.stop().await;
    other.stop().await;
    world.stop().await;
}
