//! Typed ids. Each is a checked string of its own type, so that one can't be passed for another:
//!
//! ```compile_fail,E0308
//! fn disconnect(peer: &contracts::PeerId) {}
//! let session: contracts::SessionId = "s-1".parse().unwrap();
//! disconnect(&session);
//! ```

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a string is not an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdError {
    field: &'static str,
    value: String,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:?} is not valid; use 1 to {MAX_LEN} characters of A-Z, a-z, 0-9, '_' and '-'",
            self.field, self.value
        )
    }
}

impl std::error::Error for IdError {}

/// Longest id in bytes. Small enough for every subject, key and log line that carries several.
const MAX_LEN: usize = 100;

fn is_valid(value: &str) -> bool {
    (1..=MAX_LEN).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 100 characters of `[A-Za-z0-9_-]`.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$"})
            }
        }

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(value: &str) -> Result<Self, IdError> {
                Self::try_from(value.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(value: String) -> Result<Self, IdError> {
                if is_valid(&value) {
                    return Ok(Self(value));
                }
                Err(IdError { field: $field, value: value.chars().take(MAX_LEN).collect() })
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A customer of the platform; everything belongs to one and none sees another's.
    TenantId, "tenant"
);
id!(
    /// Who a token speaks for inside a tenant.
    UserId, "user"
);
id!(
    /// An endpoint that connects to others.
    PeerId, "peer"
);
id!(
    /// A WebRTC session between peers.
    SessionId, "session"
);
id!(
    /// One signal between peers.
    SignalId, "signal"
);
id!(
    /// A subscription, as we name it (Stripe's own id is kept beside it).
    SubscriptionId, "subscription"
);
id!(
    /// A tunnel from a public URL to somebody's machine.
    TunnelId, "tunnel"
);
id!(
    /// One event; also its message id and its idempotency key.
    EventId, "event"
);
id!(
    /// One WebSocket connection at one gateway.
    ConnectionId, "connection"
);
id!(
    /// One running process of a service.
    NodeId, "node"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_rule_are_refused_with_field_rule_and_value() {
        for bad in ["", "a b", "a.b", "é", &"x".repeat(101)] {
            let error = bad.parse::<PeerId>().expect_err("the id breaks the rule").to_string();
            assert!(error.starts_with("peer: "), "{error}");
            assert!(error.contains("1 to 100 characters"), "{error}");
        }
    }

    #[test]
    fn a_bad_id_inside_json_is_refused() {
        assert!(serde_json::from_str::<PeerId>("\"a/b\"").is_err());
        assert_eq!(serde_json::from_str::<PeerId>("\"alice\"").expect("a good id").as_str(), "alice");
    }
}
