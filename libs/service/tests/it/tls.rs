//! TLS of the public port.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clock::{Clock, Entropy};
use service::config::Mode;
use service::http::{HttpSettings, Secure, ServeOptions, Shell, Tls, serve_tls};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A certificate of its own authority, in files; the PEM text of the certificate.
fn write_certificate(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let certificate = pem("CERTIFICATE", made.cert.der());
    std::fs::write(folder.join("cert.pem"), &certificate).unwrap();
    std::fs::write(folder.join("key.pem"), pem("PRIVATE KEY", made.signing_key.serialized_der())).unwrap();
    certificate
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn load(folder: &Path) -> Tls {
    Tls::load(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap()
}

/// A client that trusts this certificate alone.
fn client(certificate: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([root]).build().unwrap()
}

async fn start(tls: Arc<Tls>) -> (u16, CancellationToken) {
    let secure = async |request: axum::extract::Request| request.extensions().get::<Secure>().is_some().to_string();
    let shell = Shell::of("test", Mode::Production, &HttpSettings::default(), Clock::system(), Entropy::system());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    let router = shell.wrap(Router::new().route("/", get(secure)));
    let options = ServeOptions { header_read_timeout_ms: 30_000, ..ServeOptions::default() };
    tokio::spawn(serve_tls(listener, router, tls, stop.clone(), options));
    (port, stop)
}

#[tokio::test]
async fn it_speaks_tls_and_tells_browsers_to_stay_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    let (port, _stop) = start(Arc::new(load(folder.path()))).await;
    let answer = client(&certificate).get(format!("https://localhost:{port}/")).send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2, "by ALPN");
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=63072000");
    assert_eq!(answer.text().await.unwrap(), "true");
    assert!(reqwest::get(format!("http://localhost:{port}/")).await.is_err(), "plain HTTP is no answer there");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let old = write_certificate(folder.path());
    let tls = Arc::new(load(folder.path()));
    let (port, _stop) = start(Arc::clone(&tls)).await;
    let reaches =
        async |certificate: &str| client(certificate).get(format!("https://localhost:{port}/")).send().await.is_ok();
    assert!(!tls.reload().unwrap(), "nothing is new");
    // A certificate without its key: the last good one stays.
    let key = std::fs::read(folder.path().join("key.pem")).unwrap();
    let new = write_certificate(folder.path());
    let new_key = std::fs::read(folder.path().join("key.pem")).unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    tls.reload().unwrap_err();
    assert!(reaches(&old).await && !reaches(&new).await);
    std::fs::write(folder.path().join("key.pem"), new_key).unwrap();
    assert!(tls.reload().unwrap());
    assert!(reaches(&new).await && !reaches(&old).await);
}

#[test]
fn files_that_are_no_certificate_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let error = |_: ()| Tls::load(&certificate, &key).err().unwrap().to_string();
    assert!(error(()).contains("cert.pem"), "{}", error(()));
    write_certificate(folder.path());
    std::fs::write(&certificate, "nothing").unwrap();
    assert!(error(()).contains("BEGIN CERTIFICATE"), "{}", error(()));
    write_certificate(folder.path());
    std::fs::write(&key, "nothing").unwrap();
    assert!(error(()).contains("BEGIN PRIVATE KEY"), "{}", error(()));
}
