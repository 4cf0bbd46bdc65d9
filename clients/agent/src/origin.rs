//! The local program: where it listens, how it is asked, what it sees.

use http::HeaderValue;
use http::uri::{Authority, Scheme};

/// The local program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Host and port: `127.0.0.1:3000`.
    pub address: Authority,
    /// What it sees as its own host.
    pub host: HostHeader,
    /// Whether it speaks TLS, and whose certificates are believed then.
    pub tls: Option<Trust>,
    /// Whether it is asked by HTTP/2: h2c with prior knowledge (RFC 9113 §3.3), or ALPN under TLS. Requests to switch
    /// protocols get HTTP/1.1 all the same.
    pub http2: bool,
}

/// What the program gets as `Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// What the public asked for.
    #[default]
    Public,
    /// The origin's own address: for development servers that answer to no other name.
    Origin,
    /// Always this.
    Fixed(HeaderValue),
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// What this machine believes.
    System,
    /// Certificates of this PEM file's text and no others.
    Ca(Vec<u8>),
    /// Any: whoever answers at the address is the program. Nothing is checked.
    Anything,
}

impl Origin {
    /// A program at `address` without TLS, which sees the public host.
    ///
    /// # Errors
    /// When it is no host and port.
    pub fn try_new(address: &str) -> Result<Self, http::uri::InvalidUri> {
        Ok(Self { address: address.parse()?, host: HostHeader::Public, tls: None, http2: false })
    }

    /// Its address as people write it: `https://localhost:3000`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// What it should see as its host when the public asked for `public`.
    pub(crate) fn host(&self, public: Option<&Authority>) -> Option<HeaderValue> {
        let host = match &self.host {
            HostHeader::Public => public.and_then(|public| HeaderValue::from_str(public.as_str()).ok()),
            HostHeader::Origin => None,
            HostHeader::Fixed(host) => Some(host.clone()),
        };
        host.or_else(|| HeaderValue::from_str(self.address.as_str()).ok())
    }
}

/// An error with its causes: the outermost of hyper's says little.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}
