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
    ("presence", &["action", "after", "status"]),
    ("session", &["to", "others"]),
    ("signal", &["session_id", "signal", "to", "binding"]),
    ("ice_servers", &[]),
    ("message", &["to", "action", "message", "session_id"]),
    ("broadcast", &["scope", "room", "user_id", "action", "message", "session_id"]),
    ("room", &["action", "room"]),
    ("ack", &["offset"]),
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
        self.action(&["list", "set_status", "subscribe", "unsubscribe"]);
        let action = self.fields.get("action").and_then(Value::as_str);
        if action == Some("set_status") {
            self.word("status", &["online", "away"]);
        } else if self.fields.contains_key("status") {
            self.refuse("status", "fits only the action set_status; leave it out");
        }
        if action == Some("list") {
            self.optional("after", &rules::PAGE);
        } else if self.fields.contains_key("after") {
            self.refuse("after", "fits only the action list; leave it out");
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
