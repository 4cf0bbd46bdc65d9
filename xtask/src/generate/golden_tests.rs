use std::collections::BTreeMap;

use contracts::reads::{Field, Reads};
use contracts::{Class, Deprecation};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Serialize, Deserialize, JsonSchema)]
struct First {
    /// A name.
    title: String,
}

/// The same with other words.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Reworded {
    /// What it is called.
    title: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Grown {
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Retyped {
    title: u64,
}

#[derive(Serialize, JsonSchema)]
struct Lying {
    title: String,
}

impl<'de> Deserialize<'de> for Lying {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = First::deserialize(deserializer)?.title;
        if text.is_empty() { Err(serde::de::Error::custom("title: is empty")) } else { Ok(Self { title: text }) }
    }
}

fn reparse<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, String> {
    let parsed: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(parsed).map_err(|error| error.to_string())
}

fn entry<T: Serialize + DeserializeOwned + JsonSchema>() -> Entry {
    Entry {
        kind: "house.sold.v1",
        class: Class::Event,
        deprecation: None,
        schema: || schemars::schema_for!(T),
        samples: || vec![json!({"title": "ada"})],
        reparse: reparse::<T>,
        aggregate: None,
    }
}

// Somebody who reads everything of `house.sold.v1`.
fn everybody() -> Readers {
    reader(&["title", "note"])
}

fn reader(paths: &[&str]) -> Readers {
    let fields = paths.iter().map(|path| ((*path).to_owned(), Field { required: true, ..Field::default() })).collect();
    let reads = BTreeMap::from([("house.sold.v1".to_owned(), fields)]);
    Readers::from_list(vec![("agency".into(), Reads { service: "agency".into(), reads })])
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn bless(entries: &[Entry], history: &History) -> Result<Vec<String>> {
    let files = goldens(entries, history, &everybody(), day("2026-11-20"))?;
    Ok(files.iter().map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned()).collect())
}

fn committed(entries: &[Entry], history: &History) -> History {
    committed_by(entries, history, &everybody())
}

// What the history is after these files were committed on top of it.
fn committed_by(entries: &[Entry], history: &History, readers: &Readers) -> History {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &std::path::Path, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (name, record) in history {
        for (revision, schema) in (1..).zip(&record.schemas) {
            write(format!("{GOLDEN}/{name}/schema.{revision}.json").as_ref(), &pretty(schema));
        }
        for ((revision, number), sample) in &record.samples {
            write(format!("{GOLDEN}/{name}/sample.{revision}.{number}.json").as_ref(), &pretty(sample));
        }
    }
    for file in goldens(entries, history, readers, day("2026-11-20")).unwrap() {
        write(&file.path, &file.text);
    }
    super::super::history::read(&root.path().join(GOLDEN)).unwrap()
}

#[test]
fn a_new_kind_begins_at_revision_1_and_stays_there() {
    let first = committed(&[entry::<First>()], &History::new());
    assert_eq!(first["house.sold.v1"].schemas.len(), 1);
    assert_eq!(bless(&[entry::<First>()], &first).unwrap(), ["schema.1.json", "sample.1.1.json"]);
    assert_eq!(committed(&[entry::<Reworded>()], &first), first, "prose is no revision");
    let properties = &first["house.sold.v1"].schemas[0]["properties"];
    assert_eq!(properties["title"]["type"], "string", "a field called title is not prose");
    assert_eq!(properties["title"].get("description"), None);
}

#[test]
fn a_compatible_change_appends_a_revision() {
    let first = committed(&[entry::<First>()], &History::new());
    let grown = committed(&[entry::<Grown>()], &first);
    assert_eq!(grown["house.sold.v1"].schemas.len(), 2);
    assert_eq!(grown["house.sold.v1"].schemas[0], first["house.sold.v1"].schemas[0]);
    assert_eq!(committed(&[entry::<Grown>()], &grown), grown);
}

#[test]
fn a_breaking_change_is_refused_with_kind_path_rule_and_remedy() {
    let first = committed(&[entry::<First>()], &History::new());
    let error = bless(&[entry::<Retyped>()], &first).unwrap_err().to_string();
    for part in ["house.sold.v1: the change breaks revision 1", "$.title: [retyped]", "make `house.sold.v2` beside it"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn every_earlier_revision_counts_not_only_the_last() {
    let first = committed(&[entry::<First>()], &History::new());
    let grown = committed(&[entry::<Grown>()], &first);
    // Going back to the first form drops the field that revision 2 told.
    let error = bless(&[entry::<First>()], &grown).unwrap_err().to_string();
    assert!(error.contains("breaks revision 2") && error.contains("$.note: [field-removed]"), "{error}");
    // `note` was a number once, then gone: text is fine beside the newest revision and breaks the first.
    let mut planted = first.clone();
    let record = planted.get_mut("house.sold.v1").unwrap();
    record.schemas.insert(0, json!({"type": "object", "properties": {"note": {"type": "integer"}}}));
    let error = bless(&[entry::<Grown>()], &planted).unwrap_err().to_string();
    assert!(error.contains("breaks revision 1"), "{error}");
}

#[test]
fn a_type_whose_parser_refuses_what_its_schema_allows_is_refused() {
    let error = bless(&[entry::<Lying>()], &History::new()).unwrap_err().to_string();
    assert!(error.contains("the schema does not describe the type") && error.contains("title: is empty"), "{error}");
}

#[test]
fn samples_are_appended_never_replaced() {
    let first = committed(&[entry::<First>()], &History::new());
    let other = Entry { samples: || vec![json!({"title": "bob"})], ..entry::<First>() };
    let both = committed(&[other], &first);
    let samples: Vec<&Value> = both["house.sold.v1"].samples.values().collect();
    assert_eq!(samples, [&json!({"title": "ada"}), &json!({"title": "bob"})]);
}

#[test]
fn a_kind_leaves_after_its_announced_end_and_never_returns() {
    let ending = Deprecation { since: "2026-11-20", sunset: "2027-02-18", successor: "house.sold.v2" };
    let history = committed(&[Entry { deprecation: Some(ending), ..entry::<First>() }], &History::new());

    let early = goldens(&[], &history, &Readers::default(), day("2027-02-18")).unwrap_err().to_string();
    assert!(early.contains("restore it until 2027-02-18"), "{early}");
    let left = goldens(&[], &history, &Readers::default(), day("2027-02-19")).unwrap();
    assert!(left[0].path.ends_with("house.sold.v1/retired.json") && left[0].text.contains("house.sold.v2"));

    let never_announced = committed(&[entry::<First>()], &History::new());
    let error = goldens(&[], &never_announced, &Readers::default(), day("2099-01-01")).unwrap_err().to_string();
    assert!(error.contains("its end was never announced"), "{error}");

    let mut retired = history.clone();
    retired.get_mut("house.sold.v1").unwrap().retired = Some(json!({}));
    let error = bless(&[entry::<First>()], &retired).unwrap_err().to_string();
    assert!(error.contains("its name is not used again"), "{error}");
}

#[test]
fn an_announced_end_can_move_later_only() {
    let ending = Deprecation { since: "2026-11-20", sunset: "2027-02-18", successor: "house.sold.v2" };
    let history = committed(&[Entry { deprecation: Some(ending), ..entry::<First>() }], &History::new());
    let later = Deprecation { sunset: "2027-03-01", ..ending };
    assert!(bless(&[Entry { deprecation: Some(later), ..entry::<First>() }], &history).is_ok());
    let earlier = Deprecation { sunset: "2027-01-01", ..ending };
    let error = bless(&[Entry { deprecation: Some(earlier), ..entry::<First>() }], &history).unwrap_err().to_string();
    assert!(error.contains("can't come earlier"), "{error}");
    let error = bless(&[entry::<First>()], &history).unwrap_err().to_string();
    assert!(error.contains("deprecation.json"), "{error}");
}

#[test]
fn a_gap_in_the_history_is_named() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("house.sold.v1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("schema.2.json"), "{}").unwrap();
    let error = format!("{:#}", super::super::history::read(root.path()).unwrap_err());
    assert!(error.contains("`house.sold.v1`") && error.contains("schema.1.json is missing"), "{error}");
}

#[test]
fn a_field_goes_when_nobody_reads_it_and_stays_while_somebody_does() {
    let first = committed(&[entry::<First>()], &History::new());
    let grown = committed(&[entry::<Grown>()], &first);
    let today = day("2026-11-20");
    // The optional `note`, back to the first form.
    let error = goldens(&[entry::<First>()], &grown, &reader(&["note"]), today).unwrap_err().to_string();
    assert!(error.contains("$.note: [field-removed]") && error.contains("agency reads `note`"), "{error}");
    assert!(goldens(&[entry::<First>()], &grown, &reader(&["title"]), today).is_ok());
    // The required `title`.
    let error = goldens(&[entry::<Untitled>()], &grown, &reader(&["title"]), today).unwrap_err().to_string();
    assert!(error.contains("$.title: [required-removed]") && error.contains("agency reads `title`"), "{error}");
    let left = goldens(&[entry::<Untitled>()], &grown, &reader(&["note"]), today).unwrap();
    assert!(left.iter().any(|file| file.path.ends_with("schema.3.json")), "{left:?}");
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Untitled {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[test]
fn a_retyped_field_is_refused_even_unread_because_goldens_parse_for_ever() {
    let first = committed(&[entry::<First>()], &History::new());
    let error = goldens(&[entry::<Retyped>()], &first, &reader(&[]), day("2026-11-20")).unwrap_err().to_string();
    assert!(error.contains("$.title: [retyped]") && !error.contains("agency"), "{error}");
    // Nor can its name come back with another type once it is gone.
    let gone = committed_by(&[entry::<Untitled>()], &first, &reader(&[]));
    assert_eq!(gone["house.sold.v1"].schemas.len(), 2);
    let error = goldens(&[entry::<Retyped>()], &gone, &reader(&[]), day("2026-11-20")).unwrap_err().to_string();
    assert!(error.contains("breaks revision 1") && error.contains("$.title: [retyped]"), "{error}");
}

#[test]
fn a_kind_stays_while_somebody_reads_it() {
    let ending = Deprecation { since: "2026-11-20", sunset: "2027-02-18", successor: "house.sold.v2" };
    let history = committed(&[Entry { deprecation: Some(ending), ..entry::<First>() }], &History::new());
    let after = day("2027-02-19");
    let error = goldens(&[], &history, &reader(&["title"]), after).unwrap_err().to_string();
    assert!(error.contains("still read by agency"), "{error}");
    assert!(goldens(&[], &history, &Readers::default(), after).is_ok());
}
