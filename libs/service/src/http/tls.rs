//! TLS of the public listener. The files are read again while it runs: a renewed certificate is in use without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;

/// Largest certificate or key file, bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A certificate with its key, in files.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    /// What the files held when `config` was made.
    read: Mutex<(Vec<u8>, Vec<u8>)>,
}

/// Why a certificate can't be used. Never shows the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{}: can't be read: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what it should be.
        what: String,
    },
    /// Certificate and key don't go together, or can't be used at all.
    #[error("the certificate can't be used with this key: {0}")]
    Pair(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// Reads a certificate chain (PEM, the server's own first) and its private key (PEM: PKCS #8, SEC 1 or PKCS #1).
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let read = (read(&certificate)?, read(&key)?);
        let config = config((&certificate, &read.0), (&key, &read.1))?;
        Ok(Self { certificate, key, config: ArcSwap::from_pointee(config), read: Mutex::new(read) })
    }

    /// Reads the files again. Says whether there is something new, which connections from now on get.
    ///
    /// # Errors
    /// What is wrong with the files; the last good certificate stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let now = (read(&self.certificate)?, read(&self.key)?);
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return Ok(false);
        }
        self.config.store(Arc::new(config((&self.certificate, &now.0), (&self.key, &now.1))?));
        *known = now;
        Ok(true)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        let what = format!("is over {MAX_FILE_BYTES} bytes; give a PEM file");
        return Err(TlsError::Content { path: path.to_owned(), what });
    }
    std::fs::read(path).map_err(failed)
}

fn config(certificate: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<ServerConfig, TlsError> {
    let content = |path: &Path, what: String| TlsError::Content { path: path.to_owned(), what };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.1).collect();
    let chain = chain.map_err(|error| content(certificate.0, format!("is no PEM file: {error:?}")))?;
    if chain.is_empty() {
        return Err(content(certificate.0, "has no certificate (-----BEGIN CERTIFICATE-----)".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(key.1);
    let private = private.map_err(|_| content(key.0, "has no private key (-----BEGIN PRIVATE KEY-----)".into()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets more than double what an idle connection costs.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
