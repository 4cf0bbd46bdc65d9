//! Programs behind TLS, behind HTTP/2, and behind a password.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use agent::{BasicAuth, HostHeader, Options, Origin, Redaction, Trace, Trust};
use axum::Router;
use axum::extract::Request;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clock::Clock;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{World, world};

/// Says by which protocol it was asked, and under which host.
async fn said(request: Request) -> String {
    let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
    let authority = request.uri().authority().map(ToString::to_string);
    let authorization = request.headers().contains_key("authorization");
    format!("{:?} {} authorization={authorization}", request.version(), host.or(authority).unwrap_or_default())
}

async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
        .into_response()
}

/// A program by HTTP/1.1 and HTTP/2, with TLS where there is an acceptor. `only_http2` serves nothing else.
async fn program(tls: Option<TlsAcceptor>, only_http2: bool) -> SocketAddr {
    let routes = Router::new().route("/", any(said)).route("/ws", get(socket));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, tls) = (TowerToHyperService::new(routes.clone()), tls.clone());
            tokio::spawn(async move {
                let mut server = Builder::new(TokioExecutor::new());
                if only_http2 {
                    server = server.http2_only();
                }
                // A client that goes away is not this program's matter.
                let _ = match tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => server.serve_connection_with_upgrades(TokioIo::new(stream), service).await,
                        Err(_) => Ok(()),
                    },
                    None => server.serve_connection_with_upgrades(TokioIo::new(stream), service).await,
                };
            });
        }
    });
    address
}

/// An authority's certificate as PEM, and a server with one that it signed for `localhost`.
fn authority() -> (Vec<u8>, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let pem = STANDARD.encode(issuer.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
    (pem.into_bytes(), TlsAcceptor::from(Arc::new(config)))
}

fn behind_tls(address: SocketAddr, trust: Trust) -> Origin {
    Origin { tls: Some(trust), ..Origin::try_new(&format!("localhost:{}", address.port())).unwrap() }
}

async fn agent_for(world: &World, origin: Origin) -> agent::Agent {
    agent::start(Options { origin, name: Some("blue".into()), ..world.options("laptop") }).await.unwrap()
}

async fn text(world: &World) -> String {
    let answer = world.get("/").send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_program_behind_tls_is_asked_with_its_authority() {
    let world = world().await;
    let (pem, tls) = authority();
    let address = program(Some(tls), false).await;
    let agent = agent_for(&world, behind_tls(address, Trust::Ca(pem))).await;
    assert_eq!(text(&world).await, format!("HTTP/1.1 {} authorization=false", world.edge));
    let (mut socket, _) = connect_async(format!("ws://{}/t/blue/ws", world.edge)).await.unwrap();
    socket.send(Message::text("through TLS")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("through TLS"));
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_unless_one_insists() {
    let world = world().await;
    let (_, tls) = authority();
    let (other, _) = authority();
    let address = program(Some(tls), false).await;
    for trust in [Trust::Ca(other), Trust::System] {
        let agent = agent_for(&world, behind_tls(address, trust)).await;
        let answer = world.get("/").send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["x-error-code"].to_str().unwrap()),
            (502, "origin_unreachable")
        );
        let said = answer.text().await.unwrap();
        assert!(said.contains("certificate"), "{said}");
        agent.stop().await;
    }
    let agent = agent_for(&world, behind_tls(address, Trust::Anything)).await;
    assert!(text(&world).await.starts_with("HTTP/1.1"));
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_before_the_tunnel_opens() {
    let world = world().await;
    for (pem, hint) in
        [(&b""[..], "no certificate"), (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "of no use")]
    {
        let origin = behind_tls(world.origin, Trust::Ca(pem.to_vec()));
        let error = agent::start(Options { origin, ..world.options("laptop") }).await.err().unwrap().to_string();
        assert!(error.starts_with("origin: ") && error.contains(hint), "{error}");
    }
    world.stop().await;
}

#[tokio::test]
async fn http2_is_spoken_to_a_program_that_wants_it_with_and_without_tls() {
    let world = world().await;
    let (pem, tls) = authority();
    let plain = Origin::try_new(&program(None, true).await.to_string()).unwrap();
    let secure = behind_tls(program(Some(tls), false).await, Trust::Ca(pem));
    for origin in [plain, secure] {
        let agent = agent_for(&world, Origin { http2: true, ..origin.clone() }).await;
        assert_eq!(text(&world).await, format!("HTTP/2.0 {} authorization=false", world.edge));
        let all = (0..50).map(|_| text(&world));
        for said in futures::future::join_all(all).await {
            assert!(said.starts_with("HTTP/2.0"), "{said}");
        }
        agent.stop().await;
        let fixed = Origin { http2: true, host: HostHeader::Fixed("app.test".parse().unwrap()), ..origin };
        let agent = agent_for(&world, fixed).await;
        assert_eq!(text(&world).await, "HTTP/2.0 app.test authorization=false");
        agent.stop().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_password_is_asked_before_the_program_is_and_stays_here() {
    let world = world().await;
    let origin = Origin::try_new(&program(None, false).await.to_string()).unwrap();
    let auth = Some(BasicAuth::try_new("ada:s3cret").unwrap());
    let options = Options { origin, auth, name: Some("blue".into()), ..world.options("laptop") };
    let agent = agent::start(options).await.unwrap();
    for request in [world.get("/"), world.get("/").basic_auth("ada", Some("wrong")), world.get("/").bearer_auth("x")] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"tunnel\", charset=\"UTF-8\"");
        assert!(!answer.text().await.unwrap().contains("HTTP/"), "the program was asked");
    }
    let refused = connect_async(format!("ws://{}/t/blue/ws", world.edge)).await;
    assert!(refused.unwrap_err().to_string().contains("401"));
    let answer = world.get("/").basic_auth("ada", Some("s3cret")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().ends_with("authorization=false"), "the credentials were for the agent");
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn frames_and_requests_are_told_in_lines_without_secrets() {
    let world = world().await;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    let trace =
        Trace::new(Clock::system(), Redaction::default(), move |line| told.lock().unwrap().push(line.to_owned()));
    let options = Options { trace: Some(trace), name: Some("blue".into()), ..world.options("laptop") };
    let agent = agent::start(options).await.unwrap();
    world.http.post(world.url("/hash")).bearer_auth("s3cret").body("abc").send().await.unwrap().bytes().await.unwrap();
    agent.stop().await;
    let lines = lines.lock().unwrap().join("\n");
    for part in [
        "carrier ← DATA ",
        "carrier → DATA ",
        "h2 ← PREFACE",
        "h2 → SETTINGS stream 0",
        "h2 ← HEADERS stream 1",
        "h2 ← DATA stream 1, 3 bytes",
        "http #1 → POST /hash",
        "    authorization: Bearer [redacted]",
        "http #1 ← 200 OK after",
    ] {
        assert!(lines.contains(part), "{part} in\n{lines}");
    }
    assert!(!lines.contains("s3cret"), "{lines}");
    world.stop().await;
}
