use super::*;

#[test]
fn what_is_no_event_says_why() {
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"id":"evt_1"}"#,
        r#"{"id":"evt_1","object":"charge","type":"x","created":1,"livemode":false}"#,
        r#"{"id":"","object":"event","type":"x","created":1,"livemode":false}"#,
        r#"{"id":"evt_1","object":"event","type":"x","created":1,"livemode":"false"}"#,
        r#"{"id":"evt_1","object":"event","type":"x","created":-1,"livemode":false}"#,
        r#"{"id":"evt_1","id":"evt_2","object":"event","type":"x","created":1,"livemode":false}"#,
    ] {
        assert!(!Event::parse(body.as_bytes()).unwrap_err().is_empty(), "{body}");
    }
    assert!(Event::parse(b"\xff\xfe").is_err());
}
