//! Stripe's form encoding: `items[0][price]=price_1&metadata[order]=7&expand[]=customer`.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// Pairs accepted in one request.
const MAX_PAIRS: usize = 1_000;
/// Brackets accepted in one key.
const MAX_DEPTH: usize = 8;

/// Decoded parameters: text leaves, objects, and lists (objects whose keys are numbers).
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    path: String,
    fields: Map<String, Value>,
}

impl Params {
    /// Decodes the query string and the form body together.
    ///
    /// # Errors
    /// 400 on a malformed key, a key used both as a value and as an object, or too many pairs or levels.
    pub(crate) fn parse(query: &[u8], body: &[u8]) -> Result<Self, ApiError> {
        let pairs = url::form_urlencoded::parse(query).chain(url::form_urlencoded::parse(body));
        let mut fields = Map::new();
        for (count, (key, value)) in pairs.enumerate() {
            if count >= MAX_PAIRS {
                return Err(ApiError::parameter(None, key, format!("More than {MAX_PAIRS} parameters.")));
            }
            let segments = segments(&key)?;
            if !insert(&mut fields, &segments, &value) {
                let message = format!("Invalid parameter {key}: it is used both as a value and as an object.");
                return Err(ApiError::parameter(None, key, message));
            }
        }
        Ok(Self { path: String::new(), fields })
    }

    /// Parameters that come from inside: an object whose leaves are texts.
    pub(crate) fn of(fields: Value) -> Self {
        match fields {
            Value::Object(fields) => Self { path: String::new(), fields },
            _ => Self::default(),
        }
    }

    /// Decodes a query string and a JSON body, as the second API takes them.
    ///
    /// # Errors
    /// 400 when the body is no JSON object, or too deep.
    pub(crate) fn parse_json(query: &[u8], body: &[u8]) -> Result<Self, ApiError> {
        let mut params = Self::parse(query, b"")?;
        if body.is_empty() {
            return Ok(params);
        }
        let bad = |message: String| ApiError::parameter(None, "body", message);
        let value: Value = serde_json::from_slice(body).map_err(|error| bad(format!("Invalid JSON: {error}")))?;
        match Some(value).filter(Value::is_object).and_then(|value| texts(value, MAX_DEPTH)) {
            Some(Value::Object(fields)) => params.fields.extend(fields),
            _ => return Err(bad(format!("The body has to be a JSON object of at most {MAX_DEPTH} levels."))),
        }
        Ok(params)
    }

    /// The parameters with their full names.
    pub(crate) fn flat(&self) -> Vec<(String, String)> {
        let mut flat = Vec::new();
        for (name, value) in &self.fields {
            match value {
                Value::String(text) => flat.push((self.name(name), text.clone())),
                Value::Object(fields) => {
                    flat.extend(Self { path: self.name(name), fields: fields.clone() }.flat());
                }
                _ => {}
            }
        }
        flat
    }

    /// The parameters as they can be given to [`Params::of`] again.
    pub(crate) fn to_value(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    /// The parameters as one canonical text: two requests are the same when this is.
    pub(crate) fn canonical(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }

    /// Refuses parameters outside `allowed`; `expand` is always allowed.
    pub(crate) fn only(&self, allowed: &[&str]) -> Result<(), ApiError> {
        match self.fields.keys().find(|key| *key != "expand" && !allowed.contains(&key.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let name = self.name(unknown);
                let message = format!("Received unknown parameter: {name} (or one the emulator does not implement).");
                Err(ApiError::parameter(Some("parameter_unknown"), name, message))
            }
        }
    }

    /// The full name of a field, as error messages spell it: `items[0][price]`.
    pub(crate) fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}[{field}]", self.path) }
    }

    /// Whether the field was sent at all, even empty.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Whether the field was sent empty, which unsets it.
    pub(crate) fn is_unset(&self, field: &str) -> bool {
        self.fields.get(field).and_then(Value::as_str) == Some("")
    }

    /// A text; `None` when absent or empty.
    pub(crate) fn text(&self, field: &str) -> Result<Option<String>, ApiError> {
        match self.fields.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if text.len() > 5_000 => {
                let name = self.name(field);
                Err(ApiError::parameter(Some("parameter_invalid_string"), name, "Longer than 5000 characters."))
            }
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => {
                let message = format!("Invalid string: {other}");
                Err(ApiError::parameter(Some("parameter_invalid_string"), self.name(field), message))
            }
        }
    }

    /// A text that has to be there.
    pub(crate) fn required(&self, field: &str) -> Result<String, ApiError> {
        self.text(field)?.ok_or_else(|| {
            let name = self.name(field);
            let message = format!("Missing required param: {name}.");
            ApiError::parameter(Some("parameter_missing"), name, message)
        })
    }

    /// A whole number.
    pub(crate) fn integer(&self, field: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let message = format!("Invalid integer: {text}");
            ApiError::parameter(Some("parameter_invalid_integer"), self.name(field), message)
        })
    }

    /// A whole number within `range`.
    pub(crate) fn integer_in(
        &self,
        field: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        match self.integer(field)? {
            Some(number) if !range.contains(&number) => {
                let message = format!("Invalid integer: {number} is not in {}..={}.", range.start(), range.end());
                Err(ApiError::parameter(Some("parameter_invalid_integer"), self.name(field), message))
            }
            other => Ok(other),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, field: &str) -> Result<Option<bool>, ApiError> {
        match self.text(field)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(ApiError::parameter(None, self.name(field), format!("Invalid boolean: {other}"))),
        }
    }

    /// One of `choices`.
    pub(crate) fn choice(&self, field: &str, choices: &[&str]) -> Result<Option<String>, ApiError> {
        match self.text(field)? {
            Some(text) if !choices.contains(&text.as_str()) => {
                let name = self.name(field);
                let message = format!("Invalid {name}: must be one of {}", choices.join(", "));
                Err(ApiError::parameter(None, name, message))
            }
            other => Ok(other),
        }
    }

    /// An object's own parameters; empty when it was not sent.
    pub(crate) fn nested(&self, field: &str) -> Result<Self, ApiError> {
        let path = self.name(field);
        match self.fields.get(field) {
            None => Ok(Self { path, fields: Map::new() }),
            Some(Value::Object(fields)) => Ok(Self { path, fields: fields.clone() }),
            Some(Value::String(text)) if text.is_empty() => Ok(Self { path, fields: Map::new() }),
            Some(_) => Err(ApiError::parameter(None, path, "Invalid object")),
        }
    }

    /// A list of objects, in the order of their numbers.
    pub(crate) fn list(&self, field: &str) -> Result<Vec<Self>, ApiError> {
        let holder = self.nested(field)?;
        holder.in_order()?.into_iter().map(|key| holder.nested(&key)).collect()
    }

    /// A list of texts, in the order of their numbers.
    pub(crate) fn texts(&self, field: &str) -> Result<Vec<String>, ApiError> {
        let holder = self.nested(field)?;
        holder.in_order()?.into_iter().map(|key| holder.required(&key)).collect()
    }

    /// Refuses a list that was not sent or is empty.
    pub(crate) fn required_list(&self, field: &str) -> Result<(), ApiError> {
        if self.nested(field)?.fields.is_empty() { self.required(field).map(drop) } else { Ok(()) }
    }

    /// The text fields with their names, for metadata.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.fields.iter()
    }

    fn in_order(&self) -> Result<Vec<String>, ApiError> {
        let mut keys = Vec::with_capacity(self.fields.len());
        for key in self.fields.keys() {
            let index: u32 = key.parse().map_err(|_| ApiError::parameter(None, self.path.clone(), "Invalid array"))?;
            keys.push((index, key.clone()));
        }
        keys.sort();
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    }
}

/// JSON in the form of decoded parameters: texts, objects, and lists as objects whose keys are numbers.
fn texts(value: Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    Some(match value {
        Value::Null => Value::String(String::new()),
        Value::Bool(flag) => Value::String(flag.to_string()),
        Value::Number(number) => Value::String(number.to_string()),
        Value::String(text) => Value::String(text),
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            Value::Object(items.map(|(at, item)| Some((at.to_string(), texts(item, depth)?))).collect::<Option<_>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, field)| Some((name, texts(field, depth)?))).collect::<Option<_>>()?,
        ),
    })
}

fn segments(key: &str) -> Result<Vec<&str>, ApiError> {
    let malformed = || ApiError::parameter(None, key, format!("Invalid parameter name: {key}"));
    let Some((root, rest)) = key.split_once('[') else { return Ok(vec![key]) };
    let inner = rest.strip_suffix(']').ok_or_else(malformed)?;
    let mut segments = vec![root];
    segments.extend(inner.split("]["));
    if segments.len() > MAX_DEPTH || segments.iter().any(|part| part.contains(['[', ']'])) {
        return Err(malformed());
    }
    Ok(segments)
}

fn insert(fields: &mut Map<String, Value>, segments: &[&str], value: &str) -> bool {
    let Some((first, rest)) = segments.split_first() else { return true };
    let key = if first.is_empty() { fields.len().to_string() } else { (*first).to_owned() };
    if rest.is_empty() {
        let clash = fields.get(&key).is_some_and(Value::is_object);
        fields.insert(key, Value::String(value.to_owned()));
        return !clash;
    }
    match fields.entry(key).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => insert(inner, rest, value),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Params {
        Params::parse(b"", body.as_bytes()).unwrap()
    }

    #[test]
    fn brackets_nest_and_lists_keep_their_order() {
        let params = parse("items[10][price]=b&items[2][price]=a&expand[]=x&expand[]=y&metadata[k]=v%26w");
        let prices: Vec<_> = params.list("items").unwrap().iter().map(|item| item.required("price").unwrap()).collect();
        assert_eq!(prices, ["a", "b"]);
        assert_eq!(params.texts("expand").unwrap(), ["x", "y"]);
        assert_eq!(params.nested("metadata").unwrap().required("k").unwrap(), "v&w");
    }

    #[test]
    fn bad_keys_are_refused_not_guessed() {
        for body in ["a[b=1", "a=1&a[b]=2", "a[b]=2&a=1", "a[b]c]=1", "a[1][2][3][4][5][6][7][8]=1"] {
            assert!(Params::parse(b"", body.as_bytes()).is_err(), "{body}");
        }
        let many = "a[]=1&".repeat(MAX_PAIRS + 1);
        assert!(Params::parse(b"", many.as_bytes()).is_err());
    }

    #[test]
    fn json_bodies_become_the_same_parameters() {
        let body = br#"{"a":[{"b":1},{"b":true}],"c":null,"d":"x"}"#;
        let params = Params::parse_json(b"limit=2", body).unwrap();
        assert_eq!(params.list("a").unwrap()[1].boolean("b").unwrap(), Some(true));
        assert!(params.is_unset("c"));
        let flat: Vec<_> = params.flat().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(flat, ["a[0][b]=1", "a[1][b]=true", "c=", "d=x", "limit=2"]);
        let deep = format!("{}1{}", "{\"a\":".repeat(9), "}".repeat(9));
        for bad in ["[]", "1", "{", deep.as_str()] {
            assert!(Params::parse_json(b"", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_of_the_wrong_form_name_their_field() {
        let params = parse("items[0][quantity]=two&flag=yes");
        let error = params.list("items").unwrap()[0].integer("quantity").unwrap_err();
        assert_eq!(error.body()["error"]["param"], "items[0][quantity]");
        assert!(params.boolean("flag").is_err());
        assert!(params.only(&["items"]).is_err());
    }
}
