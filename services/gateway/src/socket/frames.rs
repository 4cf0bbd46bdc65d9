//! Client frames: a parsed value in, a typed frame or every violation out.

use contracts::frames::ClientFrame;
use contracts::http::Violation;
use contracts::signals::signaling::PeerSignal;
use serde_json::{Map, Value};

use super::rules::{self, Rule};

/// A frame that was refused: its id, where one could be read, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    pub(crate) id: Option<String>,
    pub(crate) violations: Vec<Violation>,
}

impl BadFrame {
    /// Something that is no frame at all.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self { id: None, violations: vec![violation("frame", message)] }
    }
}

/// The fields of a frame while its violations are gathered.
struct Reader<'a> {
    fields: &'a Map<String, Value>,
    found: Vec<Violation>,
}

/// Frame types and the fields that each may have besides `type` and `id`.
const TYPES: [(&str, &[&str]); 11] = [
    ("auth", &["token", "ticket", "peer_id", "proof", "acks", "resume"]),
    ("refresh", &["token", "ticket", "proof"]),
    ("ping", &[]),
    ("presence", PRESENCE),
    ("session", &["to", "others"]),
    ("signal", &["session_id", "signal", "to", "binding"]),
    ("ice_servers", &[]),
    ("message", &["to", "action", "message", "session_id"]),
    ("broadcast", &["scope", "room", "user_id", "action", "message", "session_id"]),
    ("room", &["action", "room"]),
    ("ack", &["offset"]),
];

/// Fields of presence frames.
const PRESENCE: &[&str] = &[
    "action",
    "after",
    "status",
    "room",
    "tag",
    "capability",
    "same_network",
    "tags",
    "capabilities",
    "transports",
    "identity_keys",
];

/// What presence frames do, and the fields that each may have.
const PRESENCE_ACTIONS: [(&str, &[&str]); 6] = [
    ("list", &["after", "room", "tag", "capability", "same_network"]),
    ("count", &["room"]),
    ("set_status", &["status"]),
    ("describe", &["tags", "capabilities", "transports", "identity_keys"]),
    ("subscribe", &["room", "tag", "capability", "same_network"]),
    ("unsubscribe", &[]),
];

/// Reads a client frame.
///
/// # Errors
/// Every rule that it breaks.
pub(crate) fn parse(value: Value) -> Result<ClientFrame, BadFrame> {
    let Value::Object(fields) = &value else { return Err(BadFrame::whole("must be one object with a type and an id")) };
    let id = fields.get("id").and_then(Value::as_str).filter(|id| rules::ID.holds(id)).map(str::to_owned);
    let mut reader = Reader { fields, found: Vec::new() };
    if fields.contains_key("id") {
        reader.text("id", &rules::ID);
    } else {
        reader.refuse("id", "is missing; name each frame so that its outcome can name it");
    }
    let Some((kind, allowed)) = known_type(fields) else {
        let names = TYPES.map(|(name, _)| name).join(", ");
        reader.refuse("type", format!("must be one of: {names}"));
        return Err(BadFrame { id, violations: reader.found });
    };
    for name in fields.keys().filter(|name| !["type", "id"].contains(&name.as_str())) {
        if !allowed.contains(&name.as_str()) {
            reader.refuse(shorten(name), format!("a `{kind}` frame has no such field; leave it out"));
        }
    }
    reader.check(kind);
    if !reader.found.is_empty() {
        return Err(BadFrame { id, violations: reader.found });
    }
    // What is left are rules of nested parts (signals), which serde names by their own field.
    let refused =
        |field: &str, message: String| BadFrame { id: id.clone(), violations: vec![violation(field, message)] };
    let frame = serde_json::from_value(value).map_err(|error| refused(kind, error.to_string()))?;
    if matches!(frame, ClientFrame::Signal { signal: PeerSignal::Unknown, .. }) {
        return Err(refused("signal", SIGNAL_RULE.to_owned()));
    }
    Ok(frame)
}

/// More members than any signaling service takes; it has its own, smaller limit.
const MAX_OTHERS: usize = 63;

const SIGNAL_RULE: &str = "must be an object with a type: offer, answer, candidate, restart or bye";

fn known_type(fields: &Map<String, Value>) -> Option<(&'static str, &'static [&'static str])> {
    let kind = fields.get("type")?.as_str()?;
    TYPES.iter().find(|(name, _)| *name == kind).copied()
}

impl Reader<'_> {
    fn check(&mut self, kind: &str) {
        match kind {
            "auth" => self.auth(),
            "refresh" => self.refresh(),
            "presence" => self.presence(),
            "session" => {
                self.text("to", &rules::ID);
                self.others();
            }
            "signal" => {
                self.text("session_id", &rules::ID);
                self.optional("to", &rules::ID);
                self.binding();
                if !self.fields.get("signal").is_some_and(Value::is_object) {
                    self.refuse("signal", SIGNAL_RULE);
                }
            }
            "message" => {
                self.text("to", &rules::ID);
                self.note();
            }
            "broadcast" => self.broadcast(),
            "room" => {
                self.action(&["join", "leave"]);
                self.text("room", &rules::ID);
            }
            "ack" if !self.fields.get("offset").is_some_and(Value::is_u64) => {
                self.refuse("offset", "must be the offset of a frame that was pushed to this peer, a whole number");
            }
            _ => {}
        }
    }

    fn auth(&mut self) {
        self.credential();
        self.text("peer_id", &rules::ID);
        self.optional("proof", &rules::TOKEN);
        if self.fields.get("acks").is_some_and(|acks| !acks.is_boolean()) {
            self.refuse("acks", "must be true or false");
        }
        match self.fields.get("resume") {
            None | Some(Value::Null) => {}
            Some(Value::Object(resume)) => {
                let mut inner = Reader { fields: resume, found: Vec::new() };
                inner.text("epoch", &rules::EPOCH);
                if !resume.get("offset").is_some_and(Value::is_u64) {
                    inner.refuse("offset", "must be the offset of the last frame taken in, a whole number");
                }
                self.nested("resume", inner.found);
            }
            Some(_) => self.refuse("resume", "must be an object with epoch and offset"),
        }
    }

    fn refresh(&mut self) {
        self.credential();
        self.optional("proof", &rules::TOKEN);
        if !["token", "ticket", "proof"].into_iter().any(|name| self.given(name)) {
            self.refuse("token", "is missing; a `refresh` frame has a token, a ticket or a proof");
        }
    }

    /// A token or a ticket; whether one is needed depends on the handshake.
    fn credential(&mut self) {
        self.optional("token", &rules::TOKEN);
        self.optional("ticket", &rules::TICKET);
        if self.given("token") && self.given("ticket") {
            self.refuse("ticket", "stands for a token; send one of the two");
        }
    }

    fn presence(&mut self) {
        self.action(&PRESENCE_ACTIONS.map(|(name, _)| name));
        let action = self.fields.get("action").and_then(Value::as_str);
        let fits =
            PRESENCE_ACTIONS.iter().find(|(name, _)| Some(*name) == action).map_or(&[][..], |(_, fields)| fields);
        for name in PRESENCE.iter().filter(|name| **name != "action" && self.fields.contains_key(**name)) {
            if !fits.contains(name) {
                let users = PRESENCE_ACTIONS.iter().filter(|(_, fields)| fields.contains(name)).map(|(name, _)| *name);
                let users = users.collect::<Vec<_>>().join(" and ");
                self.refuse(*name, format!("fits only the action {users}; leave it out"));
            }
        }
        if action == Some("set_status") {
            self.word("status", &["online", "away"]);
        }
        for (name, rule) in
            [("after", &rules::PAGE), ("room", &rules::ID), ("tag", &rules::LABEL), ("capability", &rules::LABEL)]
        {
            if fits.contains(&name) {
                self.optional(name, rule);
            }
        }
        if fits.contains(&"same_network") && self.fields.get("same_network").is_some_and(|same| !same.is_boolean()) {
            self.refuse("same_network", "must be true or false");
        }
        if action == Some("describe") {
            self.description();
        }
    }

    /// Only the shapes: what may stand in them are presence's rules.
    fn description(&mut self) {
        let is_text = |value: &Value, name: &str| value.get(name).is_some_and(Value::is_string);
        let is_transport = |value: &Value| {
            is_text(value, "kind")
                && value.get("address").is_none_or(|address| address.is_string() || address.is_null())
        };
        let is_key = |value: &Value| is_text(value, "kind") && is_text(value, "key");
        self.list("tags", "a list of strings", Value::is_string);
        self.list("capabilities", "a list of strings", Value::is_string);
        self.list("transports", "a list of objects with a kind and perhaps an address, both strings", is_transport);
        self.list("identity_keys", "a list of objects with a kind and a key, both strings", is_key);
    }

    fn list(&mut self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) {
        let value = self.fields.get(name).filter(|value| !value.is_null());
        if value.is_some_and(|value| !value.as_array().is_some_and(|all| all.iter().all(&holds))) {
            self.refuse(name, format!("must be {what}"));
        }
    }

    fn broadcast(&mut self) {
        self.word("scope", &["tenant", "user", "room"]);
        let scope = self.fields.get("scope").and_then(Value::as_str);
        for (name, needed_by) in [("room", "room"), ("user_id", "user")] {
            if scope == Some(needed_by) {
                self.text(name, &rules::ID);
            } else if self.fields.contains_key(name) {
                self.refuse(name, format!("fits only the scope {needed_by}; leave it out"));
            }
        }
        self.note();
    }

    /// Further members of a session.
    fn others(&mut self) {
        match self.fields.get("others") {
            None => {}
            Some(Value::Array(others)) if others.iter().all(Value::is_string) => {
                for (number, other) in others.iter().enumerate().take(MAX_OTHERS) {
                    let broken = rules::ID.violations(other.as_str().unwrap_or_default());
                    broken.into_iter().for_each(|message| self.refuse(format!("others.{number}"), message));
                }
                if others.len() > MAX_OTHERS {
                    self.refuse("others", format!("has {} peers; at most {MAX_OTHERS} are taken", others.len()));
                }
            }
            Some(_) => self.refuse("others", "must be a list of peer ids"),
        }
    }

    /// A signature over a certificate.
    fn binding(&mut self) {
        match self.fields.get("binding") {
            None | Some(Value::Null) => {}
            Some(Value::Object(binding)) => {
                let mut inner = Reader { fields: binding, found: Vec::new() };
                inner.text("public_key", &rules::TOKEN);
                inner.text("signature", &rules::TOKEN);
                if !binding.get("issued_at_s").is_some_and(Value::is_u64) {
                    inner.refuse("issued_at_s", "must be the time of signing in Unix seconds, a whole number");
                }
                self.nested("binding", inner.found);
            }
            Some(_) => self.refuse("binding", "must be an object with public_key, issued_at_s and signature"),
        }
    }

    fn nested(&mut self, field: &str, found: Vec<Violation>) {
        for broken in found {
            self.refuse(format!("{field}.{}", broken.field), broken.message);
        }
    }

    fn note(&mut self) {
        self.text("action", &rules::ACTION);
        self.text("message", &rules::MESSAGE);
        self.optional("session_id", &rules::ID);
    }

    /// An action that must fit the frame's type.
    fn action(&mut self, known: &[&str]) {
        let before = self.found.len();
        self.text("action", &rules::ACTION);
        if self.found.len() == before {
            self.word("action", known);
        }
    }

    fn word(&mut self, name: &str, known: &[&str]) {
        match self.fields.get(name) {
            Some(Value::String(word)) if known.contains(&word.as_str()) => {}
            Some(_) => self.refuse(name, format!("must be one of: {}", known.join(", "))),
            None => self.refuse(name, format!("is missing; it is one of: {}", known.join(", "))),
        }
    }

    fn optional(&mut self, name: &str, rule: &Rule) {
        if self.given(name) {
            self.text(name, rule);
        }
    }

    fn given(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    fn text(&mut self, name: &str, rule: &Rule) {
        let found = match self.fields.get(name) {
            Some(Value::String(text)) => rule.violations(text),
            Some(_) => vec![format!("must be a string; {}", rule.whole())],
            None => vec![format!("is missing; {}", rule.whole())],
        };
        found.into_iter().for_each(|message| self.refuse(name, message));
    }

    fn refuse(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.found.push(Violation { field: field.into(), message: message.into() });
    }
}

/// A field's name as the client wrote it, cut to what an answer should carry.
fn shorten(name: &str) -> String {
    name.chars().take(100).collect()
}

fn violation(field: &str, message: impl Into<String>) -> Violation {
    Violation { field: field.to_owned(), message: message.into() }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
