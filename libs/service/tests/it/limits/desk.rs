//! What operators see and do.

use service::limits::{LimiterSettings, limits_desk};

use super::{POLICY, passes, stores};
use crate::client::{Answer, Server, production};

async fn json(server: &Server, line: &str) -> serde_json::Value {
    let Answer { status, body, head } = server.send(line, "", "").await;
    assert_eq!(status, 200, "{head}\n{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn operators_see_what_was_refused_and_fill_a_bucket() {
    let bench = stores::sqlite();
    let (here, there) = (bench.replica(LimiterSettings::default()), bench.replica(LimiterSettings::default()));
    let desk = production(limits_desk(here.clone(), vec![POLICY], bench.clock.clone())).await;
    while passes(here.take(&POLICY, "acme/ada").await) {}
    assert!(!passes(there.take(&POLICY, "acme/ada").await));
    let all = json(&desk, "GET /limits").await;
    assert_eq!((&all["policies"][0]["policy"], &all["policies"][0]["calls"]["blocked"]), (&"calls".into(), &1.into()));
    assert_eq!(all["policies"][0]["quota"], 100);
    let one = json(&desk, "GET /limits/calls?hours=720").await;
    assert_eq!(one["hours"][0]["allowed"], one["calls"]["allowed"], "{one}");
    assert_eq!(json(&desk, "GET /limits/calls/bucket?key=acme/ada").await["left"], 0);
    json(&desk, "POST /limits/calls/reset?key=acme/ada").await;
    assert_eq!(json(&desk, "GET /limits/calls/bucket?key=acme/ada").await["left"], 100);
    assert!(passes(here.take(&POLICY, "acme/ada").await), "here at once");
    bench.hand.advance(std::time::Duration::from_secs(1));
    assert!(passes(there.take(&POLICY, "acme/ada").await), "elsewhere within a second");
    json(&desk, "POST /limits/calls/reset-statistics").await;
    let left = json(&desk, "GET /limits/calls").await;
    assert_eq!(left["calls"]["blocked"], 0, "{left}");
}

#[tokio::test]
async fn what_makes_no_sense_is_told() {
    let bench = stores::sqlite();
    let limiter = bench.replica(LimiterSettings::default());
    let desk = production(limits_desk(limiter, vec![POLICY], bench.clock.clone())).await;
    let cases = [
        ("GET /limits?hours=0", 400, "1 to 720"),
        ("GET /limits/calls?hours=721", 400, "1 to 720"),
        ("GET /limits/others", 404, "calls"),
        ("GET /limits/calls/bucket", 400, "<tenant>/<user>"),
        ("POST /limits/calls/reset?key=", 400, "<tenant>/<user>"),
        ("POST /limits/others/reset-statistics", 404, "calls"),
    ];
    for (line, status, words) in cases {
        let answer = desk.send(line, "", "").await;
        assert!(answer.status == status && answer.body.contains(words), "{line}: {answer:?}");
    }
}
