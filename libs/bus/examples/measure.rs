use std::time::Instant;
fn main() {
    let e = bus::Envelope { id: "0190a1b2-0000-7000-8000-000000000001".parse().unwrap(), source: "/synapse/presence".into(), kind: "presence.peer_went_offline.v1".into(), tenant: "acme".parse().unwrap(), key: "acme/peer/alice".into(), sequence: 7, time_ms: 1_767_225_599_999, trail: bus::Trail { correlation_id: "0190a1b2-0000-7000-8000-000000000001".into(), causation_id: Some("0190a1b2-0000-7000-8000-000000000002".into()), traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()), tracestate: None }, expires_at_ms: None, data: format!("{{\"x\":\"{}\"}}", "y".repeat(1000)).into() };
    for _ in 0..5 { let n = 200_000; let t = Instant::now(); for _ in 0..n { let h = bus::wire::to_headers(&e).unwrap(); let d = bus::wire::from_headers(&h, e.data.clone()).unwrap(); assert!(d.sequence == 7); } println!("binary {:.2} us", t.elapsed().as_secs_f64() * 1e6 / n as f64); 
    let t = Instant::now(); for _ in 0..n { let h = bus::wire::to_json(&e).unwrap(); let d = bus::wire::from_json(h).unwrap(); assert!(d.sequence == 7); } println!("json {:.2} us", t.elapsed().as_secs_f64() * 1e6 / n as f64); }
}
