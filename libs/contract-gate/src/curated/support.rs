//! What the curated types are made of: derives, collections and newtypes whose parsers enforce their limits.

pub use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use serde_json::Value;

macro_rules! checked {
    ($name:ident($inner:ty, $spelled:literal), $schema:tt, $check:expr) => {
        #[derive(Clone, Serialize, Deserialize)]
        #[serde(try_from = $spelled, into = $spelled)]
        pub struct $name($inner);

        impl TryFrom<$inner> for $name {
            type Error = String;

            fn try_from(value: $inner) -> Result<Self, String> {
                let check: fn(&$inner) -> bool = $check;
                check(&value).then_some(Self(value)).ok_or(concat!(stringify!($name), ": outside its rule").into())
            }
        }

        impl From<$name> for $inner {
            fn from($name(value): $name) -> Self {
                value
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

fn slug(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

checked!(Slug(String, "String"), {"type": "string", "pattern": "^[a-z]{1,8}$"}, |text| slug(text));
checked!(Handle(String, "String"), {"type": "string", "pattern": "^[a-z]{1,8}$"}, |text| slug(text));
checked!(Wide(String, "String"), {"type": "string", "pattern": "^[A-Za-z]{1,20}$"}, |text| {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
});
checked!(Percent(u8, "u8"), {"type": "integer", "format": "uint8", "minimum": 0, "maximum": 100}, |number| *number <= 100);
checked!(Digit(u8, "u8"), {"type": "integer", "format": "uint8", "minimum": 0, "maximum": 9}, |number| *number <= 9);
checked!(Short(String, "String"), {"type": "string", "maxLength": 5}, |text| text.chars().count() <= 5);
checked!(Filled(String, "String"), {"type": "string", "minLength": 1}, |text| !text.is_empty());
checked!(Pair(Vec<String>, "Vec<String>"), {"type": "array", "items": {"type": "string"}, "maxItems": 2}, |list| list.len() <= 2);
checked!(Even(u8, "u8"), {"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255, "multipleOf": 2}, |number| {
    number % 2 == 0
});

pub fn fifty() -> u32 {
    50
}

pub fn hundred() -> u32 {
    100
}
