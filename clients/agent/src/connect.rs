//! Connections to the local program: plain or TLS, HTTP/1.1 or HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tower::ServiceExt;

use crate::body::Sent;
use crate::origin::{Origin, Trust, chain};

/// How long a connection to the program may take, its TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Windows of HTTP/2 to the program, as towards the edge.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

pub(crate) type Connector = HttpsConnector<HttpConnector>;
pub(crate) type Connection = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connector for HTTP/1.1, or for HTTP/2.
pub(crate) fn connector(origin: &Origin, http2: bool) -> Result<Connector, String> {
    let mut tcp = HttpConnector::new();
    // An answer in two writes must not wait for a delayed ack (40 ms).
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls(origin.tls.as_ref())?).https_or_http();
    Ok(if http2 { builder.enable_http2().wrap_connector(tcp) } else { builder.enable_http1().wrap_connector(tcp) })
}

fn tls(trust: Option<&Trust>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(match trust {
        // Never asked for TLS.
        None => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        Some(Trust::System) => {
            let builder = builder.with_native_roots().map_err(|error| format!("the system's certificates: {error}"))?;
            builder.with_no_client_auth()
        }
        Some(Trust::Ca(pem)) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
        Some(Trust::Anything) => {
            let blind = Arc::new(Blind(provider));
            builder.dangerous().with_custom_certificate_verifier(blind).with_no_client_auth()
        }
    })
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("the origin's CA file is no PEM: {error}"))?;
        store
            .add(certificate)
            .map_err(|error| format!("a certificate in the origin's CA file is of no use: {error}"))?;
    }
    if store.is_empty() {
        return Err("there is no certificate in the origin's CA file; it must be PEM (BEGIN CERTIFICATE)".to_owned());
    }
    Ok(store)
}

/// Opens one connection.
pub(crate) async fn connect(connector: &Connector, origin: &Origin, clock: &Clock) -> Result<Connection, String> {
    let uri = Uri::builder().scheme(origin.scheme()).authority(origin.address.clone()).path_and_query("/").build();
    let uri = uri.map_err(|error| error.to_string())?;
    let connected = clock.timeout(CONNECT_TIMEOUT, connector.clone().oneshot(uri)).await;
    connected.ok_or("it took too long to connect")?.map_err(|error| chain(&*error))
}

/// The one HTTP/2 connection to the program; a new one when it ends.
pub(crate) struct Http2 {
    connector: Connector,
    current: Mutex<Option<SendRequest<Sent>>>,
}

impl Http2 {
    pub(crate) fn try_new(origin: &Origin) -> Result<Self, String> {
        Ok(Self { connector: connector(origin, true)?, current: Mutex::new(None) })
    }

    pub(crate) async fn send(
        &self,
        mut request: Request<Sent>,
        origin: &Origin,
        clock: &Clock,
    ) -> Result<Response<Incoming>, String> {
        let mut again = true;
        loop {
            let mut sender = self.sender(origin, clock).await?;
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
                Err(mut failed) => match failed.take_message() {
                    // It ended before the request was on its way: nothing is done twice.
                    Some(unsent) if again => (request, again) = (unsent, false),
                    _ => return Err(chain(failed.error())),
                },
            }
        }
    }

    async fn sender(&self, origin: &Origin, clock: &Clock) -> Result<SendRequest<Sent>, String> {
        let mut current = self.current.lock().await;
        if let Some(sender) = current.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = connect(&self.connector, origin, clock).await?;
        let mut client = http2::Builder::new(TokioExecutor::new());
        client
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let (sender, connection) = client.handshake(stream).await.map_err(|error| chain(&error))?;
        tokio::spawn(connection);
        *current = Some(sender.clone());
        Ok(sender)
    }
}

/// Takes every certificate; asked for by name (`--insecure-origin`), for origins on this machine.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
