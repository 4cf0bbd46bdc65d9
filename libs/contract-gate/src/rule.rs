//! What the gate refuses, by name.

use std::fmt;

/// Who can't read whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Today's reader fails on yesterday's data.
    Backward,
    /// Yesterday's reader fails on today's data.
    Forward,
    /// Everybody parses, and somebody reads something else than was meant.
    Meaning,
}

/// A rule of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A field is gone.
    FieldRemoved,
    /// A new field is required.
    RequiredAdded,
    /// A field that yesterday's reader requires is gone.
    RequiredRemoved,
    /// An optional field became required.
    MadeRequired,
    /// A required field became optional.
    MadeOptional,
    /// A field was added to an object whose reader denies unknown fields.
    AddedToClosed,
    /// An object began to deny unknown fields.
    ObjectClosed,
    /// Another JSON type.
    Retyped,
    /// `null` is allowed now.
    NullAdded,
    /// `null` is refused now.
    NullRemoved,
    /// A closed enum has a new value.
    ValueAdded,
    /// An enum lost a value.
    ValueRemoved,
    /// An open enum (`x-unknown`) was closed.
    EnumClosed,
    /// A closed tagged enum has a new variant.
    VariantAdded,
    /// A tagged enum lost a variant.
    VariantRemoved,
    /// A limit became narrower.
    Tightened,
    /// A limit became wider.
    Loosened,
    /// Another pattern or format for text.
    PatternChanged,
    /// A missing field means something else.
    DefaultChanged,
    /// Numbers keep fewer digits than the other side writes.
    PrecisionChanged,
    /// A list became a set, or a set a list.
    UniquenessChanged,
    /// A keyword changed that the gate can't judge.
    Unjudged,
}

impl Rule {
    /// The rule's stable name.
    pub fn id(self) -> &'static str {
        match self {
            Self::FieldRemoved => "field-removed",
            Self::RequiredAdded => "required-added",
            Self::RequiredRemoved => "required-removed",
            Self::MadeRequired => "optional-made-required",
            Self::MadeOptional => "required-made-optional",
            Self::AddedToClosed => "field-added-to-closed",
            Self::ObjectClosed => "object-closed",
            Self::Retyped => "retyped",
            Self::NullAdded => "null-added",
            Self::NullRemoved => "null-removed",
            Self::ValueAdded => "enum-value-added",
            Self::ValueRemoved => "enum-value-removed",
            Self::EnumClosed => "enum-closed",
            Self::VariantAdded => "variant-added",
            Self::VariantRemoved => "variant-removed",
            Self::Tightened => "limit-tightened",
            Self::Loosened => "limit-loosened",
            Self::PatternChanged => "pattern-changed",
            Self::DefaultChanged => "default-changed",
            Self::PrecisionChanged => "precision-changed",
            Self::UniquenessChanged => "uniqueness-changed",
            Self::Unjudged => "unjudged",
        }
    }

    /// What to do instead, short of a new version.
    fn remedy(self) -> &'static str {
        match self {
            Self::FieldRemoved | Self::RequiredRemoved => "keep sending it",
            Self::RequiredAdded | Self::MadeRequired => {
                "make it optional: `#[serde(default, skip_serializing_if = \"Option::is_none\")]`"
            }
            Self::MadeOptional | Self::NullAdded => "keep sending it every time",
            Self::NullRemoved => "keep accepting it",
            Self::AddedToClosed => "put it elsewhere; messages must not deny unknown fields",
            Self::ObjectClosed => "drop `deny_unknown_fields`",
            Self::Retyped | Self::PatternChanged | Self::PrecisionChanged | Self::UniquenessChanged => {
                "add a new optional field of the new type beside it"
            }
            Self::ValueAdded | Self::VariantAdded => {
                "only an enum born with `#[serde(other)]` and `x-unknown` can grow"
            }
            Self::ValueRemoved | Self::VariantRemoved => "keep it, and stop sending it",
            Self::EnumClosed => "keep the `#[serde(other)]` variant",
            Self::Tightened | Self::Loosened => "keep the limit; enforce a narrower one where the command is checked",
            Self::DefaultChanged => "keep the default, and send the value",
            Self::Unjudged => "use plain serde shapes, or teach the gate this keyword",
        }
    }
}

/// One reason why a schema may not replace another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where, as a JSON path: `$.peers[].status`, `$<type=offer>.sdp`, `$.metadata.*`.
    pub path: String,
    /// Which rule.
    pub rule: Rule,
    /// Who can't read whom.
    pub direction: Direction,
    /// What happened, in words.
    pub sentence: String,
}

impl Violation {
    /// A violation; its sentence says what happened.
    pub fn new(path: &str, rule: Rule, direction: Direction, sentence: String) -> Self {
        Self { path: path.to_owned(), rule, direction, sentence }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.direction {
            Direction::Backward => "today's readers can't read yesterday's data",
            Direction::Forward => "yesterday's readers can't read today's data",
            Direction::Meaning => "everybody parses it, and somebody loses what they relied on",
        };
        let Self { path, rule, sentence, .. } = self;
        write!(out, "{path}: [{}] {sentence}; {who}. Instead: {}", rule.id(), rule.remedy())
    }
}
