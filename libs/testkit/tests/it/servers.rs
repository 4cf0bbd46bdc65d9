use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::Value;
use testkit::servers::{Dynoxide, Moto, Nats, NatsVersion, program};

/// A NATS client of a few lines: one request, one reply.
fn nats_request(nats: &Nats, subject: &str, payload: &str) -> Value {
    let stream = TcpStream::connect(("127.0.0.1", nats.port())).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let connect = r#"CONNECT {"verbose":false}"#;
    write!(writer, "{connect}\r\nSUB reply 1\r\nPUB {subject} reply {}\r\n{payload}\r\n", payload.len()).unwrap();
    let mut line = String::new();
    while !line.starts_with("MSG reply") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the server hung up");
    }
    let size: usize = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let mut body = vec![0; size];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn messages(nats: &Nats) -> Value {
    nats_request(nats, "$JS.API.STREAM.INFO.facts", "")["state"]["messages"].clone()
}

fn post(port: u16, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    let head = format!("POST / HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn dynamo(server: &Dynoxide, operation: &str, body: &str) -> String {
    let credential = "Credential=test/20260101/us-east-1/dynamodb/aws4_request";
    let headers = format!(
        "X-Amz-Target: DynamoDB_20120810.{operation}\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Date: 20260101T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=00\r\n"
    );
    post(server.port(), &headers, body)
}

fn sqs(server: &Moto, operation: &str, body: &str) -> String {
    let credential = "Credential=test/20260101/us-east-1/sqs/aws4_request";
    let headers = format!(
        "X-Amz-Target: AmazonSQS.{operation}\r\nContent-Type: application/x-amz-json-1.0\r\n\
         Authorization: AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=00\r\n"
    );
    post(server.port(), &headers, body)
}

#[test]
fn nats_keeps_its_streams_through_kill_and_restart_on_the_same_port() {
    for version in NatsVersion::ALL {
        let mut nats = Nats::start(version);
        let created = nats_request(&nats, "$JS.API.STREAM.CREATE.facts", r#"{"name":"facts","subjects":["fact.>"]}"#);
        assert_eq!(created["error"], Value::Null, "{created}");
        assert_eq!(nats_request(&nats, "fact.one", "hello")["seq"], 1);

        let (port, pid) = (nats.port(), nats.pid());
        nats.kill9();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens after kill -9");
        nats.restart();
        assert_eq!(nats.port(), port);
        assert_ne!(nats.pid(), pid);
        assert_eq!(messages(&nats), 1, "{version:?}");

        nats.stop();
        nats.restart();
        assert_eq!(messages(&nats), 1, "{version:?}");
    }
}

#[test]
fn nats_takes_more_settings_and_refuses_wrong_ones() {
    let nats = Nats::start_with(NatsVersion::V2_9_10, "max_payload: 1024");
    let stream = TcpStream::connect(("127.0.0.1", nats.port())).unwrap();
    let mut info = String::new();
    BufReader::new(stream).read_line(&mut info).unwrap();
    assert!(info.contains("\"max_payload\":1024"), "{info}");

    let wrong = std::panic::catch_unwind(|| Nats::start_with(NatsVersion::V2_9_10, "max_payload: [")).unwrap_err();
    let message = wrong.downcast_ref::<String>().unwrap();
    assert!(message.contains("nats-server ended at its start"), "{message}");
}

#[test]
fn a_frozen_server_answers_after_the_thaw() {
    let mut nats = Nats::start(NatsVersion::V2_15_1);
    nats.freeze();
    let stream = TcpStream::connect(("127.0.0.1", nats.port())).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let mut line = String::new();
    assert!(BufReader::new(&stream).read_line(&mut line).is_err(), "a frozen server said {line:?}");
    nats.thaw();
    stream.set_read_timeout(None).unwrap();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("INFO "));
}

#[test]
fn dynoxide_keeps_its_tables_through_kill_and_restart() {
    let mut server = Dynoxide::start();
    let table = r#"{"TableName":"things","BillingMode":"PAY_PER_REQUEST",
        "AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"k","KeyType":"HASH"}]}"#;
    let created = dynamo(&server, "CreateTable", table);
    assert!(created.contains(" 200 OK"), "{created}");
    let put = dynamo(&server, "PutItem", r#"{"TableName":"things","Item":{"k":{"S":"one"}}}"#);
    assert!(put.contains(" 200 OK"), "{put}");
    server.kill9();
    server.restart();
    let got = dynamo(&server, "GetItem", r#"{"TableName":"things","Key":{"k":{"S":"one"}}}"#);
    assert!(got.contains(r#""one""#), "{got}");
}

#[test]
fn moto_has_queues_until_its_reset() {
    let server = Moto::start();
    let body = r#"{"QueueName":"q.fifo","Attributes":{"FifoQueue":"true"}}"#;
    let created = sqs(&server, "CreateQueue", body);
    assert!(created.contains("q.fifo"), "{created}");
    assert!(sqs(&server, "ListQueues", "{}").contains("q.fifo"));
    server.reset();
    assert!(!sqs(&server, "ListQueues", "{}").contains("q.fifo"));
}

#[test]
fn a_dropped_server_leaves_no_process_and_no_files() {
    let mut nats = Nats::start(NatsVersion::V2_15_1);
    let (pid, output) = (nats.pid(), nats.output());
    let store = output.lines().find_map(|line| line.split("Store Directory: \"").nth(1)).unwrap();
    let store = Path::new(store.trim_end_matches('"')).to_owned();
    assert!(store.exists());
    drop(nats);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!store.exists(), "{}", store.display());
}

#[test]
#[should_panic(expected = "run `cargo xtask tools natz`")]
fn a_missing_program_names_the_command_that_fetches_it() {
    program("natz", "bin/natz");
}
