//! Who shares a network, without keeping where anybody is: a public address becomes a keyed hash. The key is random,
//! made once, kept in presence's own store and told to nobody; without it, trying all four billion IPv4 addresses tells
//! nothing. The tenant goes into the hash, so that names of two tenants can't be compared.

use std::net::IpAddr;

use aws_lc_rs::hmac;
use clock::Entropy;
use contracts::TenantId;
use store::{Condition, Item, Key, Store, StoreError};

/// Bytes of the key: the length of the hash.
const KEY_BYTES: usize = 32;
/// Bytes of a network's name: enough that two networks of a tenant never share one.
const NAME_BYTES: usize = 16;

/// Names networks.
pub(crate) struct Networks {
    key: hmac::Key,
}

impl Networks {
    /// With the store's key; the first process makes it.
    pub(crate) async fn open(store: &Store, entropy: &Entropy) -> Result<Self, StoreError> {
        let at = Key::new("network", "key");
        let mut fresh = [0; KEY_BYTES];
        entropy.fill(&mut fresh);
        let item = Item::new(at.clone(), 1, format!("\"{}\"", hex(&fresh)));
        match store.put(item, Condition::Absent).await {
            Ok(()) => return Ok(Self::with(&hex(&fresh))),
            Err(error) if error.conflict().is_some() => {}
            Err(error) => return Err(error),
        }
        let found = store.get(&at).await?.map(|item| item.body).unwrap_or_default();
        Ok(Self::with(found.trim_matches('"')))
    }

    fn with(key: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()) }
    }

    /// The name of the network behind a public address; `None` for a text that is no address.
    pub(crate) fn name(&self, tenant: &TenantId, address: &str) -> Option<String> {
        let address: IpAddr = address.parse().ok()?;
        let named = hmac::sign(&self.key, format!("{tenant}#{}", network(address)).as_bytes());
        Some(hex(&named.as_ref()[..NAME_BYTES]))
    }
}

/// What those who share a network have in common: behind IPv4 the address itself, for IPv6 its first 64 bits (RFC 4291
/// section 2.5.4).
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_named_by_its_network_tenant_and_key() {
        let (networks, acme, other) = (Networks::with("k1"), "acme".parse().unwrap(), "umbrella".parse().unwrap());
        let name = |address: &str| networks.name(&acme, address).unwrap();
        assert_eq!(name("203.0.113.9").len(), 32);
        assert_eq!(name("203.0.113.9"), name("::ffff:203.0.113.9"));
        assert_ne!(name("203.0.113.9"), name("203.0.113.10"));
        assert_eq!(name("2001:db8:1:2::1"), name("2001:db8:1:2:ffff::9"));
        assert_ne!(name("2001:db8:1:2::1"), name("2001:db8:1:3::1"));
        assert_ne!(name("203.0.113.9"), networks.name(&other, "203.0.113.9").unwrap());
        assert_ne!(name("203.0.113.9"), Networks::with("k2").name(&acme, "203.0.113.9").unwrap());
        assert_eq!(networks.name(&acme, "somewhere"), None);
    }
}
