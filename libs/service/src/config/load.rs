use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::secret::{NOT_SET, REDACTED, read};
use super::{ConfigErrors, ConfigProblem, Validate, layers};

/// Where a configuration comes from.
pub struct Sources<'a, E> {
    /// The service's name; `presence` reads the variables that begin with `SYNAPSE_PRESENCE__`.
    pub service: &'a str,
    /// TOML texts that together list every key, later ones over earlier ones.
    pub defaults: &'a [&'a str],
    /// A TOML file over the defaults.
    pub file: Option<&'a Path>,
    /// Variables over the file; see [`process_env`].
    pub env: E,
}

/// The process's environment variables. A text that is not UTF-8 comes with U+FFFD in it, which [`load`] refuses.
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// The file that `SYNAPSE_<SERVICE>_CONFIG` names, where it is set.
#[allow(clippy::disallowed_methods)] // this module is where the environment is read
pub fn process_file(service: &str) -> Option<PathBuf> {
    std::env::var_os(format!("SYNAPSE_{}_CONFIG", service.to_ascii_uppercase())).map(PathBuf::from)
}

/// Reads, merges and checks a configuration.
///
/// # Errors
/// Everything that is wrong with it: unknown keys (with the nearest known one), wrong types, unreadable files, and every
/// rule of `T` that is broken.
pub fn load<T: DeserializeOwned + Serialize + Validate>(
    sources: Sources<'_, impl Iterator<Item = (String, String)>>,
) -> Result<T, ConfigErrors> {
    let service = sources.service;
    let mut loader = Loader::<T>::try_new(sources.defaults).map_err(|problem| errors(service, vec![problem]))?;
    if let Some(file) = sources.file {
        loader.add_file(file);
    }
    let prefix = format!("SYNAPSE_{}__", service.to_ascii_uppercase().replace('-', "_"));
    for (name, text) in sources.env {
        if let Some(rest) = name.strip_prefix(&prefix) {
            loader.add_variable(&name, &rest.to_ascii_lowercase().replace("__", "."), &text);
        }
    }
    loader.finish().map_err(|problems| errors(service, problems))
}

/// The configuration as TOML, with secrets and passwords inside URLs redacted: safe to log and to show.
pub fn dump<T: Serialize>(config: &T) -> String {
    let Ok(mut table) = Table::try_from(config) else { return "# not representable as TOML\n".into() };
    table.iter_mut().for_each(|(_, value)| hide_passwords(value));
    toml::to_string_pretty(&table).unwrap_or_else(|_| "# not representable as TOML\n".into())
}

fn hide_passwords(value: &mut Value) {
    match value {
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| hide_passwords(value)),
        Value::Array(items) => items.iter_mut().for_each(hide_passwords),
        Value::String(text) => {
            if let Ok(mut url) = url::Url::parse(text)
                && url.password().is_some()
                && url.set_password(Some("redacted")).is_ok()
            {
                *text = url.into();
            }
        }
        _ => {}
    }
}

fn errors(service: &str, mut problems: Vec<ConfigProblem>) -> ConfigErrors {
    problems.sort();
    problems.dedup();
    ConfigErrors { service: service.to_owned(), problems }
}

struct Loader<T> {
    defaults: Table,
    /// Every key that may be set, with its default.
    known: BTreeMap<String, Value>,
    secrets: Vec<String>,
    /// What is set over the defaults, and by whom.
    overrides: BTreeMap<String, (Value, String)>,
    problems: Vec<ConfigProblem>,
    config: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Serialize + Validate> Loader<T> {
    fn try_new(texts: &[&str]) -> Result<Self, ConfigProblem> {
        let broken =
            |error: String| ConfigProblem::new("compiled defaults", error, "correct the service's config.toml");
        let mut defaults = Table::new();
        for text in texts {
            let layer: Table = text.parse().map_err(|error: toml::de::Error| broken(error.to_string()))?;
            for (key, value) in layers::leaves(&layer, T::open_tables()) {
                layers::set(&mut defaults, &key, value);
            }
        }
        let config: T = parse(&defaults).map_err(broken)?;
        let shown = Table::try_from(&config).map_err(|error| broken(error.to_string()))?;
        let shown: BTreeMap<_, _> = layers::leaves(&shown, T::open_tables()).into_iter().collect();
        let known: BTreeMap<_, _> = layers::leaves(&defaults, T::open_tables()).into_iter().collect();
        // Both directions, so that config.toml is the complete list of keys and lists nothing that has no effect.
        if let Some(key) = known.keys().find(|key| !shown.contains_key(*key)) {
            return Err(broken(format!("{key} is not a setting of this service")));
        }
        if let Some(key) = shown.keys().find(|key| !known.contains_key(*key)) {
            return Err(broken(format!("{key} has no default")));
        }
        let is_secret = |value: &Value| matches!(value.as_str(), Some(REDACTED | NOT_SET));
        let secrets = shown.into_iter().filter(|(_, value)| is_secret(value)).map(|(key, _)| key).collect();
        let config = std::marker::PhantomData;
        Ok(Self { defaults, known, secrets, overrides: BTreeMap::new(), problems: Vec::new(), config })
    }

    fn problem(&mut self, key: &str, rule: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(ConfigProblem::new(key, rule, fix));
    }

    fn add_file(&mut self, file: &Path) {
        let name = file.display().to_string();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                return self.problem(&name, format!("can't be read ({error})"), "correct the path or its rights");
            }
        };
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                // The error's own text would show the line, and the line may hold a secret.
                let error: toml::de::Error = error;
                let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count()) + 1;
                return self.problem(&name, format!("line {line} is not TOML ({})", error.message()), "correct it");
            }
        };
        for (key, value) in layers::leaves(&table, T::open_tables()) {
            let Some(like) = self.default_of(&key, &name) else { continue };
            if like.as_ref().is_none_or(|like| layers::same_type(&value, like)) {
                self.overrides.insert(key, (value, name.clone()));
            } else if let Some(like) = like {
                let rule = format!("is a {} in {name}", value.type_str());
                self.problem(&key, rule, format!("give a {}", like.type_str()));
            }
        }
    }

    fn add_variable(&mut self, name: &str, key: &str, text: &str) {
        if text.contains('\u{FFFD}') {
            return self.problem(key, format!("{name} is not UTF-8"), "set it to valid text");
        }
        let Some(like) = self.default_of(key, name) else { return };
        match layers::typed(text, &like.unwrap_or_else(|| Value::String(String::new()))) {
            Ok(value) => {
                self.overrides.insert(key.to_owned(), (value, name.to_owned()));
            }
            Err(expected) => self.problem(key, format!("{name} is not {expected}"), format!("set it to {expected}")),
        }
    }

    /// The default of a known key (inner `None`: inside an open table, any type); a problem and `None` for an unknown one.
    fn default_of(&mut self, key: &str, source: &str) -> Option<Option<Value>> {
        if let Some(value) = self.known.get(key) {
            return Some(Some(value.clone()));
        }
        if key.strip_suffix("_file").is_some_and(|secret| self.secrets.iter().any(|known| known == secret)) {
            return Some(Some(Value::String(String::new())));
        }
        if T::open_tables().iter().any(|open| key.strip_prefix(open).is_some_and(|rest| rest.starts_with('.'))) {
            return Some(None);
        }
        let nearest = layers::nearest(key, self.known.keys().map(String::as_str)).unwrap_or("nothing").to_owned();
        self.problem(key, format!("unknown key in {source}"), format!("remove it, or did you mean {nearest}?"));
        None
    }

    fn finish(mut self) -> Result<T, Vec<ConfigProblem>> {
        self.read_secret_files();
        // One by one: so every bad value is named, and the good ones are still checked against T's rules.
        let mut merged = self.defaults.clone();
        for (key, (value, source)) in std::mem::take(&mut self.overrides) {
            let mut next = merged.clone();
            layers::set(&mut next, &key, value);
            match parse::<T>(&next) {
                Ok(_) => merged = next,
                Err(error) => {
                    let rule = if self.secrets.contains(&key) { "is not a valid secret".into() } else { error };
                    self.problem(&key, format!("{rule} (from {source})"), "give a value that fits");
                }
            }
        }
        match parse::<T>(&merged) {
            Err(error) => self.problem("configuration", error, "give values that fit together"),
            Ok(config) => {
                self.problems.extend(config.problems());
                if self.problems.is_empty() {
                    return Ok(config);
                }
            }
        }
        Err(self.problems)
    }

    /// Puts the content of each `x_file` in place of `x`.
    fn read_secret_files(&mut self) {
        for key in self.secrets.clone() {
            let file_key = format!("{key}_file");
            let Some((path, source)) = self.overrides.remove(&file_key) else { continue };
            let path = path.as_str().unwrap_or_default().to_owned();
            if path.is_empty() {
                continue;
            }
            if self.overrides.contains_key(&key) {
                self.problem(&file_key, format!("{key} is set as well"), "keep one of the two");
                continue;
            }
            match read(Path::new(&path)) {
                Ok(secret) => {
                    let mut form = Table::new();
                    form.insert("value".into(), Value::String(secret.expose_secret().into()));
                    form.insert("file".into(), Value::String(path));
                    self.overrides.insert(key, (Value::Table(form), source));
                }
                Err(error) => {
                    self.problem(&file_key, format!("{path}: {error}"), "correct the path, its rights or content")
                }
            }
        }
    }
}

fn parse<T: DeserializeOwned>(table: &Table) -> Result<T, String> {
    Value::Table(table.clone()).try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}
