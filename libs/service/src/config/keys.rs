use std::collections::BTreeMap;

use toml::Table;

use super::layers;

/// What may be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key (`http.drain_ms`).
    pub key: String,
    /// The environment variable that sets it.
    pub variable: String,
    /// Its default, as TOML.
    pub default: String,
    /// What the comment above it says.
    pub help: String,
}

/// Every key of a service, from its layers of defaults, sorted. Texts that aren't TOML list nothing: [`super::load`]
/// refuses them at start.
pub fn keys(service: &str, defaults: &[&str]) -> Vec<KeyInfo> {
    let mut found = BTreeMap::new();
    for text in defaults {
        let Ok(table) = text.parse::<Table>() else { continue };
        let help = comments(text);
        for (key, value) in layers::leaves(&table, &[]) {
            let variable =
                format!("SYNAPSE_{service}__{}", key.replace('.', "__")).to_ascii_uppercase().replace('-', "_");
            let help = help.get(&key).cloned();
            let help = help.or_else(|| found.get(&key).map(|known: &KeyInfo| known.help.clone())).unwrap_or_default();
            let default = value.to_string();
            found.insert(key.clone(), KeyInfo { key, variable, default, help });
        }
    }
    found.into_values().collect()
}

/// The comment lines directly above each key.
fn comments(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let (mut section, mut lines) = (String::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix('#') {
            lines.push(comment.trim());
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((name, _)) = line.split_once('=')
            && !lines.is_empty()
        {
            found.insert(format!("{section}{}", name.trim()), lines.join(" "));
        }
        lines.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_common_key_has_a_variable_a_default_and_help() {
        let keys = keys("presence", &[super::super::COMMON_DEFAULTS, "[admin]\nlisten = \"127.0.0.1:9000\""]);
        let admin = keys.iter().find(|info| info.key == "admin.listen").expect("listed");
        assert_eq!(admin.variable, "SYNAPSE_PRESENCE__ADMIN__LISTEN");
        assert_eq!(admin.default, "\"127.0.0.1:9000\"");
        for info in &keys {
            assert!(!info.help.is_empty(), "{} has no comment", info.key);
        }
        assert!(keys.len() >= 7);
    }
}
