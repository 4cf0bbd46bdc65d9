//! Tables as sets of dotted keys, and how one layer changes another.

use toml::{Table, Value};

/// Every key of `table` with its value. A table is a key of its own only where it is empty or open.
pub(super) fn leaves(table: &Table, open: &[&str]) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect(table, "", open, &mut found);
    found
}

fn collect(table: &Table, prefix: &str, open: &[&str], found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if !inner.is_empty() && !open.contains(&key.as_str()) => {
                collect(inner, &key, open, found);
            }
            other => found.push((key, other.clone())),
        }
    }
}

/// Sets `key`, making the tables on the way.
pub(super) fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((name, rest)) => {
            let inner = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// An environment variable's text as a value of the same type as `like`; the error says what the text should be.
pub(super) fn typed(text: &str, like: &Value) -> Result<Value, &'static str> {
    let text_or = |expected| move |_| expected;
    match like {
        Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Integer(_) => text.replace('_', "").parse().map(Value::Integer).map_err(text_or("a whole number")),
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_: std::num::ParseFloatError| "a number"),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| "true or false"),
        Value::Datetime(_) => text.parse().map(Value::Datetime).map_err(|_| "a date and time (RFC 3339)"),
        Value::Array(_) if text.trim_start().starts_with('[') => toml_value(text, "a list"),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        Value::Table(_) => toml_value(text, "an inline table like { a = 1 }"),
    }
}

fn toml_value(text: &str, expected: &'static str) -> Result<Value, &'static str> {
    let mut table: Table = format!("v = {text}").parse().map_err(|_| expected)?;
    // More than one key means the text broke out of its line.
    if table.len() == 1 { table.remove("v").ok_or(expected) } else { Err(expected) }
}

/// Whether `value` may stand where `like` stood. A whole number is good for a fraction.
pub(super) fn same_type(value: &Value, like: &Value) -> bool {
    value.same_type(like) || (like.is_float() && value.is_integer())
}

/// The known key that `key` was probably meant to be.
pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.map(|known| (distance(key, known), known)).min().map(|(_, known)| known)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_with_the_fewest_typos() {
        let known = ["http.listen", "http.drain_ms", "mode"];
        assert_eq!(nearest("http.drain", known.into_iter()), Some("http.drain_ms"));
        assert_eq!(nearest("htp.listen", known.into_iter()), Some("http.listen"));
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }

    #[test]
    fn a_text_becomes_what_the_default_is() {
        let like = |text: &str| -> Value { format!("v = {text}").parse::<Table>().expect("toml")["v"].clone() };
        assert_eq!(typed("12", &like("\"\"")), Ok(Value::String("12".into())));
        assert_eq!(typed("10_000", &like("1")), Ok(Value::Integer(10_000)));
        assert_eq!(typed("1", &like("0.5")), Ok(Value::Float(1.0)));
        assert_eq!(typed("ten", &like("1")), Err("a whole number"));
        assert_eq!(typed("yes", &like("true")), Err("true or false"));
        let list = Value::Array(vec!["a".into(), "b".into()]);
        assert_eq!(typed("a, b", &like("[]")), Ok(list.clone()));
        assert_eq!(typed("[\"a\", \"b\"]", &like("[]")), Ok(list));
        assert_eq!(typed("[1]\nx = 2", &like("[]")), Err("a list"));
    }

    #[test]
    fn keys_are_dotted_paths() {
        let mut table = Table::new();
        set(&mut table, "a.b", Value::Integer(1));
        set(&mut table, "a.c", Value::Integer(2));
        let keys: Vec<String> = leaves(&table, &[]).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a.b", "a.c"]);
        assert_eq!(leaves(&table, &["a"]).len(), 1);
    }
}
