use aws_lc_rs::digest;
use http::HeaderMap;
use http::request::Parts;

use crate::error::ApiError;
use crate::options::is_test_key;
use crate::params::Params;
use crate::version::ApiVersion;

/// The longest path looked at; ids are far shorter.
const MAX_PATH_BYTES: usize = 500;
/// Stripe's limit on idempotency keys.
const MAX_KEY_CHARS: usize = 255;

/// One API request, read and checked.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) params: Params,
    pub(crate) expand: Vec<String>,
    pub(crate) version: ApiVersion,
    pub(crate) request_id: String,
    /// The connected account it acts on, as `Stripe-Account` or `Stripe-Context` says.
    pub(crate) account: Option<String>,
    /// Only on POST: other methods are idempotent by themselves and ignore the header, as Stripe does.
    pub(crate) idempotency_key: Option<String>,
}

impl Call {
    /// # Errors
    /// 400, 401 or 404 in Stripe's envelope.
    pub(crate) fn parse(
        parts: &Parts,
        body: &[u8],
        request_id: String,
        api_key: Option<&str>,
        account: &ApiVersion,
    ) -> Result<Self, ApiError> {
        let path = parts.uri.path();
        authorize(&parts.headers, api_key)?;
        if path.len() > MAX_PATH_BYTES {
            return Err(ApiError::unknown_url(parts.method.as_str(), "(longer than 500 bytes)"));
        }
        let version = match header(&parts.headers, "stripe-version") {
            None => account.clone(),
            Some(text) => ApiVersion::parse(text).ok_or_else(|| {
                ApiError::parameter(None, "Stripe-Version", format!("Invalid Stripe API version: {text}"))
            })?,
        };
        let key = header(&parts.headers, "idempotency-key").filter(|_| parts.method == http::Method::POST);
        if key.is_some_and(|key| key.is_empty() || key.chars().count() > MAX_KEY_CHARS) {
            let message = format!("Idempotency keys must have 1 to {MAX_KEY_CHARS} characters.");
            return Err(ApiError::parameter(None, "Idempotency-Key", message));
        }
        let kind = header(&parts.headers, "content-type").and_then(|kind| kind.split(';').next()).map(str::trim);
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let params = match kind {
            Some("application/json") if path.starts_with("/v2/") => Params::parse_json(query, body)?,
            None | Some("application/x-www-form-urlencoded") => Params::parse(query, body)?,
            Some(_) if body.is_empty() => Params::parse(query, body)?,
            Some(_) => {
                let message = "Invalid request: send parameters as application/x-www-form-urlencoded (as \
                               application/json to /v2/).";
                return Err(ApiError::parameter(None, "Content-Type", message));
            }
        };
        Ok(Self {
            method: parts.method.as_str().to_owned(),
            path: path.to_owned(),
            expand: params.texts("expand")?,
            params,
            version,
            request_id,
            account: ["stripe-account", "stripe-context"]
                .iter()
                .find_map(|name| header(&parts.headers, name))
                .map(str::to_owned),
            idempotency_key: key.map(str::to_owned),
        })
    }

    /// What has to be the same for a key to be used again: method, path and parameters.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let text = format!("{} {}\n{}", self.method, self.path, self.params.canonical());
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        hash
    }
}

/// A header as text; absent when it is not ASCII.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn authorize(headers: &HeaderMap, only: Option<&str>) -> Result<(), ApiError> {
    let missing = || {
        ApiError::unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using \
             Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    };
    let (scheme, credentials) =
        header(headers, "authorization").and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    let key = if scheme.eq_ignore_ascii_case("bearer") {
        credentials.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = decode_base64(credentials.trim()).ok_or_else(missing)?;
        decoded.split(':').next().unwrap_or_default().to_owned()
    } else {
        return Err(missing());
    };
    if key.is_empty() {
        return Err(missing());
    }
    if only.is_some_and(|only| only != key) || !is_test_key(&key) {
        // Never the whole key: it may be a live one sent here by mistake.
        let shown: String = key.chars().take(8).collect();
        return Err(ApiError::unauthorized(format!("Invalid API Key provided: {shown}****")));
    }
    Ok(())
}

fn decode_base64(text: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    String::from_utf8(bytes).ok()
}
