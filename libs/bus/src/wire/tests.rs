use proptest::prelude::*;

use super::*;

fn sample() -> Envelope {
    Envelope {
        id: "0190a1b2-0000-7000-8000-000000000001".parse().expect("an id"),
        source: "/synapse/presence".to_owned(),
        kind: "presence.peer_went_offline.v1".to_owned(),
        tenant: "acme".parse().expect("a tenant"),
        key: "acme/peer/alice".to_owned(),
        sequence: 7,
        time_ms: 1_767_225_599_999,
        trail: Trail {
            correlation_id: "c-1".to_owned(),
            causation_id: Some("e-0".to_owned()),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            tracestate: Some("vendor=a b".to_owned()),
        },
        expires_at_ms: Some(1_767_225_600_000),
        data: Bytes::from_static(b"{\"reason\":\"timeout\"}"),
    }
}

fn header<'a>(headers: &'a async_nats::HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", async_nats::HeaderValue::as_str)
}

#[test]
fn binary_mode_has_the_published_names_and_encodes_values() {
    let mut envelope = sample();
    envelope.key = "acme/peer/\"zoë 100%\"".to_owned();
    let headers = to_headers(&envelope).expect("it is valid");
    assert_eq!(header(&headers, "ce-specversion"), "1.0");
    assert_eq!(header(&headers, "ce-type"), "synapse.presence.peer_went_offline.v1");
    assert_eq!(header(&headers, "ce-time"), "2025-12-31T23:59:59.999Z");
    assert_eq!(header(&headers, "ce-partitionkey"), "acme/peer/%22zo%C3%AB%20100%25%22");
    assert_eq!(header(&headers, "ce-sequence"), "7");
    assert_eq!(header(&headers, "ce-expirytime"), "2026-01-01T00:00:00.000Z");
    assert_eq!(header(&headers, "ce-datacontenttype"), "application/json");
    // Not under its plain name, which costs the server a copy of all headers.
    assert!(header(&headers, "ce-traceparent").ends_with("-01"));
    assert!(headers.get("traceparent").is_none() && headers.get("tracestate").is_none());
    assert_eq!(from_headers(&headers, envelope.data.clone()), Ok(envelope));
}

#[test]
fn header_names_are_read_in_any_case() {
    let mut upper = async_nats::HeaderMap::new();
    for (name, values) in to_headers(&sample()).expect("it is valid").iter() {
        upper.insert(name.to_string().to_ascii_uppercase(), values[0].clone());
    }
    assert_eq!(from_headers(&upper, sample().data), Ok(sample()));
}

#[test]
fn structured_mode_comes_back_and_is_read_from_nats_too() {
    let text = to_json(&sample()).expect("it is valid");
    assert_eq!(from_json(text.clone()), Ok(sample()));
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Content-Type", "application/cloudevents+json; charset=utf-8");
    assert_eq!(from_headers(&headers, text), Ok(sample()));
}

#[test]
fn structured_mode_is_a_tolerant_reader() {
    let text = br#"{"specversion":"1.0","id":"e1","source":"/x","type":"synapse.a.b.v1","time":"2026-01-01T00:00:00Z",
        "tenant":"t","partitionkey":"k\u00e9","sequence":3,"subject":null,"unknown":{"a":[1]},"data":{"a": 1}}"#;
    let envelope = from_json(Bytes::from_static(text)).expect("it is a CloudEvent");
    assert_eq!((envelope.sequence, envelope.key.as_str(), &envelope.data[..]), (3, "ké", &br#"{"a": 1}"#[..]));
}

#[test]
fn a_payload_that_is_no_json_goes_as_base64() {
    let envelope = Envelope { data: Bytes::from_static(b"\xff\x00"), ..sample() };
    let text = to_json(&envelope).expect("it is valid");
    assert!(String::from_utf8_lossy(&text).contains("data_base64"));
    assert_eq!(from_json(text), Ok(envelope));
}

#[test]
fn each_broken_attribute_is_named_with_its_rule() {
    for (name, value, expected) in [
        ("ce-id", None, "id: it is missing"),
        ("ce-id", Some("a b"), "id: event: "),
        ("ce-source", None, "source: it is missing"),
        ("ce-source", Some(""), "source: it is empty"),
        ("ce-specversion", None, "specversion: it is missing"),
        ("ce-specversion", Some("0.3"), "specversion: \"0.3\"; only \"1.0\""),
        ("ce-type", Some("com.example.x"), "type: \"com.example.x\" does not begin"),
        ("ce-type", Some("synapse.nonsense"), "type: kind: "),
        ("ce-time", Some("yesterday"), "time: \"yesterday\" is not an RFC 3339 time"),
        ("ce-time", None, "time: it is missing"),
        ("ce-tenant", Some("a/b"), "tenant: tenant: "),
        ("ce-tenant", None, "tenant: it is missing"),
        ("ce-partitionkey", None, "partitionkey: it is missing"),
        ("ce-partitionkey", Some("a%00b"), "partitionkey: the character U+0000"),
        ("ce-partitionkey", Some("a%FFb"), "ce-partitionkey: percent-decoded it is not UTF-8"),
        ("ce-sequence", Some("-1"), "sequence: \"-1\" is not a whole number"),
        ("ce-expirytime", Some("soon"), "expirytime: \"soon\""),
        ("ce-datacontenttype", Some("text/xml"), "datacontenttype: \"text/xml\""),
        ("ce-dataref", Some("somewhere"), "datasha256: it is missing"),
    ] {
        let mut headers: async_nats::HeaderMap = async_nats::HeaderMap::new();
        for (other, values) in to_headers(&sample()).expect("it is valid").iter() {
            if other.to_string() != name {
                headers.insert(other.clone(), values[0].clone());
            }
        }
        if let Some(value) = value {
            headers.insert(name, value);
        }
        let reason = from_headers(&headers, Bytes::new()).expect_err(name).reason;
        assert!(reason.starts_with(expected), "{name} {value:?}: {reason}");
    }
}

#[test]
fn what_receivers_would_refuse_is_not_sent() {
    let long = "x".repeat(MAX_TEXT + 1);
    type Change = fn(&mut Envelope, String);
    let broken: [(&str, Change); 4] = [
        ("source: it is empty", |envelope, _| envelope.source = String::new()),
        ("type: kind: ", |envelope, _| envelope.kind = "nonsense".to_owned()),
        ("partitionkey: 513 bytes", |envelope, long| envelope.key = long),
        ("time: ", |envelope, _| envelope.time_ms = u64::MAX),
    ];
    for (expected, change) in broken {
        let mut envelope = sample();
        change(&mut envelope, long.clone());
        let error = to_headers(&envelope).expect_err(expected);
        assert_eq!(error.kind(), BusErrorKind::Invalid);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(to_json(&envelope).is_err());
    }
}

#[test]
fn a_broken_trace_context_is_left_out_and_breaks_nothing() {
    let mut envelope = sample();
    envelope.trail.traceparent = Some("00-zz".to_owned());
    let headers = to_headers(&envelope).expect("it is still valid");
    assert!(headers.get("ce-traceparent").is_none());
    let mut headers = to_headers(&sample()).expect("it is valid");
    headers.insert("ce-traceparent", "garbage");
    let read = from_headers(&headers, sample().data).expect("it is still read");
    assert_eq!(read.trail.traceparent, None);
}

#[test]
fn a_trace_context_under_its_plain_name_is_read_too() {
    let mut envelope = sample();
    let (parent, state) = (envelope.trail.traceparent.take().unwrap(), envelope.trail.tracestate.take());
    let mut headers = to_headers(&envelope).expect("it is valid");
    headers.insert("traceparent", parent.as_str());
    let read = from_headers(&headers, sample().data).expect("it is read");
    assert_eq!(
        (read.trail.traceparent.as_ref(), state.is_some()),
        (Some(&parent), sample().trail.tracestate.is_some())
    );
}

fn envelopes() -> impl Strategy<Value = Envelope> {
    let text = || "[^\\p{Cc}]{1,60}";
    let ids = (text(), "[a-z_0-9]{1,20}", text(), any::<u64>(), 0..=time::MAX_MS);
    let rest = (text(), proptest::option::of(text()), proptest::option::of(0..=time::MAX_MS), any::<Vec<u8>>());
    (ids, rest).prop_map(|((source, name, key, sequence, time_ms), (correlation, causation, expires, data))| Envelope {
        source,
        kind: format!("owner.{name}.v3"),
        key,
        sequence,
        time_ms,
        trail: Trail { correlation_id: correlation, causation_id: causation, ..sample().trail },
        expires_at_ms: expires,
        data: data.into(),
        ..sample()
    })
}

proptest! {
    #[test]
    fn every_valid_envelope_comes_back_in_both_modes(envelope in envelopes()) {
        prop_assume!(check(&envelope).is_ok());
        let headers = to_headers(&envelope).expect("it is valid");
        prop_assert_eq!(from_headers(&headers, envelope.data.clone()), Ok(envelope.clone()));
        let text = to_json(&envelope).expect("it is valid");
        prop_assert_eq!(from_json(text), Ok(envelope));
    }

    #[test]
    fn garbage_never_panics(
        names in proptest::collection::vec(("([cC][eE]-([iI]d|source|type|[tT]ime|tenant|sequence|partitionkey|dataref|datasha256|specversion)|[cC]ontent-[tT]ype|[a-zA-Z-]{1,9})", "[^\\r\\n]{0,30}"), 0..14),
        body in any::<Vec<u8>>(),
    ) {
        let headers = names.into_iter().map(|(name, value)| {
            (name.parse::<async_nats::HeaderName>().expect("a header name"), async_nats::HeaderValue::from(value))
        }).collect();
        let _ = from_headers(&headers, body.clone().into());
        let _ = from_json(body.into());
    }

    #[test]
    fn garbage_json_never_panics(text in "[\\[\\]{}\",:a-z0-9.\\\\u-]{0,80}") {
        let _ = from_json(Bytes::from(text));
    }
}
