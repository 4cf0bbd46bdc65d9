//! What texts in frames may be. Each rule has its own words, and a text that breaks several is told all of them.

use contracts::frames::{MAX_ACTION_CHARS, MAX_MESSAGE_CHARS};
use contracts::requests::presence::MAX_LABEL_CHARS;

/// A rule for a text: how long, of which characters.
pub(super) struct Rule {
    max_chars: usize,
    /// `None`: any.
    allowed: Option<Characters>,
}

/// Which characters, and how to say so.
type Characters = (fn(u8) -> bool, &'static str);

/// Names of frames, peers, users, sessions and rooms.
pub(super) const ID: Rule = Rule { max_chars: 100, allowed: Some((is_id, "A-Z, a-z, 0-9, '_' and '-'")) };
/// Tags and capabilities.
pub(super) const LABEL: Rule =
    Rule { max_chars: MAX_LABEL_CHARS, allowed: Some((is_label, "A-Z, a-z, 0-9, '_', '-', '.' and ':'")) };
/// What a message is to do.
pub(super) const ACTION: Rule = Rule { max_chars: MAX_ACTION_CHARS, allowed: Some((is_word, "A-Z, a-z, 0-9 and '_'")) };
/// What a message says.
pub(super) const MESSAGE: Rule = Rule { max_chars: MAX_MESSAGE_CHARS, allowed: None };
/// Tokens and proofs.
pub(super) const TOKEN: Rule = Rule { max_chars: 10_000, allowed: Some((is_token, "A-Z, a-z, 0-9, '.', '_' and '-'")) };
/// Tickets.
pub(super) const TICKET: Rule = Rule { max_chars: 200, allowed: Some((is_token, "A-Z, a-z, 0-9, '.', '_' and '-'")) };
/// Epochs.
pub(super) const EPOCH: Rule = Rule { max_chars: 150, allowed: Some((is_token, "A-Z, a-z, 0-9, '.', '_' and '-'")) };
/// The `next` of an earlier page.
pub(super) const PAGE: Rule = Rule { max_chars: 2_000, allowed: None };

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_id(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn is_token(byte: u8) -> bool {
    is_id(byte) || byte == b'.'
}

fn is_label(byte: u8) -> bool {
    is_token(byte) || byte == b':'
}

impl Rule {
    pub(super) fn holds(&self, text: &str) -> bool {
        self.violations(text).is_empty()
    }

    /// The rule in words.
    pub(super) fn whole(&self) -> String {
        match self.allowed {
            Some((_, characters)) => format!("it has 1 to {} characters of {characters}", self.max_chars),
            None => format!("it has 1 to {} characters", self.max_chars),
        }
    }

    /// What of the rule the text breaks.
    pub(super) fn violations(&self, text: &str) -> Vec<String> {
        if text.is_empty() {
            return vec![format!("is empty; {}", self.whole())];
        }
        let mut found = Vec::new();
        // No text has more characters than bytes.
        let chars = if text.len() > self.max_chars { text.chars().count() } else { 1 };
        if chars > self.max_chars {
            found.push(format!("has {chars} characters; it has at most {}", self.max_chars));
        }
        if let Some((allowed, characters)) = self.allowed
            && !text.bytes().all(allowed)
        {
            found.push(format!("has other characters than {characters}"));
        }
        found
    }
}
