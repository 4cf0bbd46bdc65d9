use std::fmt;

use str0m::config::DtlsCert;
use str0m::crypto::{Fingerprint, from_feature_flags};

/// A DTLS certificate with its key, made before the connection so that its fingerprint can be bound into the session
/// at signaling first. Without one in [`super::Options::identity`] each connection makes its own.
#[derive(Clone)]
pub struct Identity {
    certificate: DtlsCert,
    fingerprint: String,
}

impl Identity {
    /// Makes a self-signed certificate.
    pub fn generate() -> Self {
        let crypto = from_feature_flags();
        let certificate = crypto.dtls_provider.generate_certificate().expect("aws-lc-rs generates certificates");
        let digest = crypto.sha256_provider.sha256(&certificate.certificate);
        let fingerprint = Fingerprint { hash_func: "sha-256".to_owned(), bytes: digest.to_vec() };
        Self { certificate, fingerprint: fingerprint.to_string() }
    }

    /// The certificate's fingerprint as the session description writes it: `sha-256 AB:CD:…` (RFC 8122 §5).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn certificate(&self) -> DtlsCert {
        self.certificate.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
