//! An API key and its rules: pure, without its secret.

use auth::{ApiKeyHash, Principal, Role};
use contracts::http::{ApiKeyRole, ApiKeyScope, ApiKeyStatus, ApiKeyView};
use contracts::{TenantId, UserId};
use serde::{Deserialize, Serialize};

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) key_id: String,
    pub(crate) tenant: TenantId,
    pub(crate) user_id: UserId,
    pub(crate) name: String,
    pub(crate) hint: String,
    pub(crate) role: ApiKeyRole,
    pub(crate) scopes: Vec<ApiKeyScope>,
    pub(crate) created_at_ms: u64,
    pub(crate) created_by: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_minute: Option<u32>,
    /// Of its secret.
    pub(crate) hash: String,
    /// The secret before the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Previous>,
}

/// A secret that was replaced and is good for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Previous {
    pub(crate) hash: String,
    pub(crate) until_ms: u64,
}

/// Why a key is not good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOver {
    Expired,
    Revoked,
    /// The secret was replaced.
    Replaced,
}

impl KeyRecord {
    pub(crate) fn status(&self, now_ms: u64) -> ApiKeyStatus {
        if self.revoked_at_ms.is_some() {
            ApiKeyStatus::Revoked
        } else if self.expires_at_ms.is_some_and(|at| at <= now_ms) {
            ApiKeyStatus::Expired
        } else {
            ApiKeyStatus::Active
        }
    }

    /// Whether the secret of this hash is good for it now.
    pub(crate) fn accepts(&self, hash: &ApiKeyHash, now_ms: u64) -> Result<(), KeyOver> {
        match self.status(now_ms) {
            ApiKeyStatus::Revoked => return Err(KeyOver::Revoked),
            ApiKeyStatus::Expired => return Err(KeyOver::Expired),
            ApiKeyStatus::Active => {}
        }
        let text = hash.text();
        let is_previous = |previous: &Previous| previous.hash == text && now_ms < previous.until_ms;
        if self.hash == text || self.previous.as_ref().is_some_and(is_previous) {
            Ok(())
        } else {
            Err(KeyOver::Replaced)
        }
    }

    /// The same key with another secret; the one before is good until `until_ms`.
    pub(crate) fn rotated(&self, hash: &ApiKeyHash, hint: String, now_ms: u64, until_ms: u64) -> Self {
        let previous = Previous { hash: self.hash.clone(), until_ms };
        let previous = (until_ms > now_ms).then_some(previous);
        Self { hash: hash.text(), hint, previous, ..self.clone() }
    }

    /// Whom it speaks for.
    pub(crate) fn principal(&self) -> Principal {
        let role = match self.role {
            ApiKeyRole::Admin => Role::Admin,
            ApiKeyRole::User => Role::User,
            ApiKeyRole::ReadOnly => Role::ReadOnly,
        };
        Principal {
            tenant: self.tenant.clone(),
            user: self.user_id.clone(),
            role,
            expires_at_ms: self.expires_at_ms.unwrap_or(u64::MAX),
            token_id: None,
        }
    }

    pub(crate) fn view(&self, now_ms: u64, last_used_at_ms: Option<u64>) -> ApiKeyView {
        let previous = self.previous.as_ref().map(|previous| previous.until_ms);
        ApiKeyView {
            key_id: self.key_id.clone(),
            name: self.name.clone(),
            hint: self.hint.clone(),
            status: self.status(now_ms),
            scopes: self.scopes.clone(),
            role: self.role,
            user_id: self.user_id.clone(),
            created_at_ms: self.created_at_ms,
            created_by: self.created_by.clone(),
            expires_at_ms: self.expires_at_ms,
            revoked_at_ms: self.revoked_at_ms,
            last_used_at_ms,
            previous_until_ms: previous.filter(|until_ms| *until_ms > now_ms),
            requests_per_minute: self.requests_per_minute,
        }
    }
}

#[cfg(test)]
mod tests {
    use auth::{ApiKey, KeyKind};
    use clock::Entropy;

    use super::*;

    fn key(seed: u64) -> ApiKey {
        ApiKey::generate(KeyKind::Test, &Entropy::seeded(seed))
    }

    fn record() -> KeyRecord {
        KeyRecord {
            key_id: "key_1".into(),
            tenant: "acme".parse().unwrap(),
            user_id: "ada".parse().unwrap(),
            name: "ci".into(),
            hint: key(1).hint(),
            role: ApiKeyRole::User,
            scopes: vec![ApiKeyScope::PeersRead],
            created_at_ms: 0,
            created_by: "root".parse().unwrap(),
            expires_at_ms: Some(1_000),
            revoked_at_ms: None,
            requests_per_minute: None,
            hash: key(1).hash().text(),
            previous: None,
        }
    }

    #[test]
    fn a_key_is_good_until_it_ends_or_is_revoked() {
        let (record, hash) = (record(), key(1).hash());
        assert_eq!(record.accepts(&hash, 999), Ok(()));
        assert_eq!(record.accepts(&hash, 1_000), Err(KeyOver::Expired));
        assert_eq!(record.accepts(&key(2).hash(), 0), Err(KeyOver::Replaced));
        let revoked = KeyRecord { revoked_at_ms: Some(1), ..record };
        assert_eq!(revoked.accepts(&hash, 0), Err(KeyOver::Revoked));
        assert_eq!(revoked.status(2_000), ApiKeyStatus::Revoked);
    }

    #[test]
    fn after_a_rotation_both_secrets_are_good_for_a_while_and_never_three() {
        let first = record();
        let second = first.rotated(&key(2).hash(), key(2).hint(), 100, 500);
        assert_eq!(second.accepts(&key(1).hash(), 499), Ok(()));
        assert_eq!(second.accepts(&key(1).hash(), 500), Err(KeyOver::Replaced));
        assert_eq!((second.accepts(&key(2).hash(), 500), second.hint.clone()), (Ok(()), key(2).hint()));
        let third = second.rotated(&key(3).hash(), key(3).hint(), 200, 600);
        assert_eq!(third.accepts(&key(1).hash(), 200), Err(KeyOver::Replaced));
        assert_eq!(third.accepts(&key(2).hash(), 200), Ok(()));
        let at_once = second.rotated(&key(3).hash(), key(3).hint(), 200, 200);
        assert_eq!(at_once.accepts(&key(2).hash(), 200), Err(KeyOver::Replaced));
        assert_eq!(at_once.view(200, None).previous_until_ms, None);
    }
}
