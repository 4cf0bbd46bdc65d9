//! What lies in `deploy/` and every service's `deploy/`, and which settings those files set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Deployment files by their kind, relative to the workspace root.
#[derive(Default, Debug)]
pub(super) struct Manifests {
    pub(super) compose: Vec<PathBuf>,
    pub(super) dockerfiles: Vec<PathBuf>,
    /// Folders that `kubectl kustomize` can build. Components are built by what includes them.
    pub(super) kustomizations: Vec<PathBuf>,
    /// Every file of these folders that can set an environment variable.
    pub(super) texts: Vec<(PathBuf, String)>,
}

/// A place that sets an environment variable of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) path: PathBuf,
    pub(super) line: usize,
}

const PREFIX: &str = "SYNAPSE_";

/// Finds them.
pub(super) fn find(root: &Path) -> Result<Manifests> {
    let mut folders = vec![root.join("deploy")];
    for service in fs::read_dir(root.join("services")).context("can't read services/")? {
        folders.push(service?.path().join("deploy"));
    }
    let mut files: Vec<PathBuf> = fs::read_dir(root)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.is_file() && is_dockerfile(path));
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut found = Manifests::default();
    for file in files {
        let path = file.strip_prefix(root).context("a file below the root")?.to_owned();
        found.add(path, &file)?;
    }
    Ok(found)
}

fn is_dockerfile(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("Dockerfile") && !name.ends_with(".dockerignore")
}

impl Manifests {
    fn add(&mut self, path: PathBuf, file: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        if !yaml && !is_dockerfile(&path) && !name.ends_with(".env") {
            return Ok(());
        }
        let text = fs::read_to_string(file).with_context(|| format!("can't read {}", path.display()))?;
        if is_dockerfile(&path) {
            self.dockerfiles.push(path.clone());
        } else if name.starts_with("compose") && yaml {
            self.compose.push(path.clone());
        } else if name.starts_with("kustomization.") && !text.lines().any(|line| line.trim() == "kind: Component") {
            self.kustomizations.push(path.parent().unwrap_or(Path::new(".")).to_owned());
        }
        self.texts.push((path, text));
        Ok(())
    }

    /// The settings by the service whose configuration must know them: `SYNAPSE_<SERVICE>__…`. A key that names no
    /// service stands under an empty name.
    pub(super) fn settings(&self) -> BTreeMap<String, Vec<Setting>> {
        let mut settings: BTreeMap<String, Vec<Setting>> = BTreeMap::new();
        for (path, text) in &self.texts {
            for (index, line) in text.lines().enumerate() {
                for key in keys(line) {
                    let service = key[PREFIX.len()..].split_once("__").map_or("", |(service, _)| service);
                    let setting = Setting { key: key.to_owned(), path: path.clone(), line: index + 1 };
                    settings.entry(service.to_lowercase().replace('_', "-")).or_default().push(setting);
                }
            }
        }
        settings
    }
}

// Our environment keys in a line, without comments and without compose's own `${…}` variables.
fn keys(line: &str) -> Vec<&str> {
    let code = match line.find('#') {
        Some(at) if line[..at].ends_with([' ', '\t']) || at == 0 => &line[..at],
        _ => line,
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(PREFIX)
        .filter(|(at, _)| !code[..*at].ends_with(is_word) && !code[..*at].ends_with("${"))
        .map(|(at, _)| code[at..].split(|c| !is_word(c)).next().unwrap_or_default())
        .collect()
}

/// Which settings a service does not know. `known` are its environment keys; one that ends with `__*` stands for every
/// key of a table. A secret may also be given as a file (`…__TOKEN_SECRET_FILE`).
pub(super) fn unknown(settings: &[Setting], known: &[String]) -> Vec<Setting> {
    let exists = |key: &str| {
        known.iter().any(|known| known == key || known.strip_suffix('*').is_some_and(|start| key.starts_with(start)))
    };
    let is_secret_file = |key: &str| key.strip_suffix("_FILE").is_some_and(|key| key.contains("SECRET") && exists(key));
    let is_known = |setting: &&Setting| exists(&setting.key) || is_secret_file(&setting.key);
    settings.iter().filter(|setting| !is_known(setting)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(files: &[(&str, &str)]) -> (tempfile::TempDir, Manifests) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("services/empty")).unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = find(root.path()).unwrap();
        (root, found)
    }

    #[test]
    fn files_are_found_by_kind_in_both_places() {
        let (_root, found) = planted(&[
            ("Dockerfile", "FROM scratch\n"),
            ("deploy/Dockerfile.web", "FROM scratch\n"),
            ("deploy/compose/compose.yaml", "services: {}\n"),
            ("services/presence/deploy/compose.yaml", "services: {}\n"),
            ("services/presence/deploy/kustomization.yaml", "resources: []\n"),
            ("deploy/k8s/base/kustomization.yaml", "resources: []\n"),
            ("deploy/k8s/part/kustomization.yaml", "kind: Component\n"),
            ("deploy/README.md", "SYNAPSE_X__Y\n"),
            ("services/presence/src/compose.yaml", "not a manifest\n"),
        ]);
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(found.dockerfiles, paths(&["Dockerfile", "deploy/Dockerfile.web"]));
        assert_eq!(found.compose, paths(&["deploy/compose/compose.yaml", "services/presence/deploy/compose.yaml"]));
        assert_eq!(found.kustomizations, paths(&["deploy/k8s/base", "services/presence/deploy"]));
        assert!(found.settings().is_empty(), "documents set nothing");
    }

    #[test]
    fn settings_are_found_by_service() {
        let text = "# SYNAPSE_GATEWAY__OLD\n- name: SYNAPSE_GATEWAY__HTTP__PORT # SYNAPSE_GATEWAY__NOT\n\
                    image: x:${SYNAPSE_TAG:-1}\nA: {SYNAPSE_WEBHOOK__STRIPE__SECRET: a#b, SYNAPSE_LOG: info}\n";
        let (_root, found) = planted(&[("deploy/k8s/base/d.yaml", text)]);
        let settings = found.settings();
        let listed: Vec<(&str, &str, usize)> = settings
            .iter()
            .flat_map(|(service, settings)| settings.iter().map(|one| (service.as_str(), one.key.as_str(), one.line)))
            .collect();
        assert_eq!(
            listed,
            [
                ("", "SYNAPSE_LOG", 4),
                ("gateway", "SYNAPSE_GATEWAY__HTTP__PORT", 2),
                ("webhook", "SYNAPSE_WEBHOOK__STRIPE__SECRET", 4)
            ]
        );
    }

    #[test]
    fn a_key_the_service_does_not_have_is_unknown() {
        let setting = |key: &str| Setting { key: key.into(), path: "a.yaml".into(), line: 1 };
        let known = ["SYNAPSE_A__PORT".to_owned(), "SYNAPSE_A__KEYS__*".to_owned()];
        let settings = [setting("SYNAPSE_A__PORT"), setting("SYNAPSE_A__KEYS__ONE"), setting("SYNAPSE_A__PROT")];
        assert_eq!(unknown(&settings, &known), [setting("SYNAPSE_A__PROT")]);
    }

    #[test]
    fn only_a_secret_that_exists_has_a_file() {
        let setting = |key: &str| Setting { key: key.into(), path: "a.yaml".into(), line: 1 };
        let known = ["SYNAPSE_A__SECRET_KEY".to_owned(), "SYNAPSE_A__PORT".to_owned()];
        let files = ["SYNAPSE_A__SECRET_KEY_FILE", "SYNAPSE_A__PORT_FILE", "SYNAPSE_A__OTHER_SECRET_FILE"].map(setting);
        assert_eq!(unknown(&files, &known), files[1..]);
    }
}
