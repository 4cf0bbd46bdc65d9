use clock::Entropy;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An object id in Stripe's style: `sub_` and 24 base62 characters.
pub(crate) fn object(entropy: &Entropy, prefix: &str) -> String {
    format!("{prefix}_{}", base62(entropy, 24))
}

/// A request id in Stripe's style: `req_` and 14 base62 characters.
pub(crate) fn request(entropy: &Entropy) -> String {
    format!("req_{}", base62(entropy, 14))
}

/// A webhook signing secret in Stripe's style: `whsec_` and 32 base62 characters.
pub(crate) fn webhook_secret(entropy: &Entropy) -> String {
    format!("whsec_{}", base62(entropy, 32))
}

/// What a payer's client holds to act on a payment intent.
pub(crate) fn client_secret(entropy: &Entropy, intent: &str) -> String {
    format!("{intent}_secret_{}", base62(entropy, 25))
}

// The modulo's bias does not matter: these ids have to differ, not to be unguessable.
fn base62(entropy: &Entropy, length: usize) -> String {
    let mut bytes = vec![0; length];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(BASE62[usize::from(*byte) % BASE62.len()])).collect()
}
