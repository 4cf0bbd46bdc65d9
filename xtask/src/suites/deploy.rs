//! Deployment files, checked without a cluster or a container engine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::Tally;
use super::manifests::{self, Manifests, Setting};
use crate::process::output;
use crate::tools;

pub(super) fn run(root: &Path) -> Result<Tally> {
    let found = manifests::find(root)?;
    let mut tally = Tally::default();
    tally.record("deploy/ has compose files, kustomizations and a Dockerfile", complete(&found));
    for path in &found.compose {
        tally.record(&format!("{} fits the compose schema", path.display()), compose(root, path));
    }
    for path in &found.kustomizations {
        tally.record(&format!("{} builds into valid Kubernetes objects", path.display()), kustomization(root, path));
    }
    for path in &found.dockerfiles {
        tally.record(&format!("{} passes hadolint", path.display()), dockerfile(root, path));
    }
    for (service, settings) in found.settings() {
        let what = format!("{} settings exist in the configuration of `{service}`", settings.len());
        tally.record(&what, known_settings(root, &service, &settings));
    }
    Ok(tally)
}

fn complete(found: &Manifests) -> Result<()> {
    ensure!(!found.compose.is_empty(), "there is no compose file under deploy/ or services/*/deploy/");
    ensure!(!found.kustomizations.is_empty(), "there is no kustomization under deploy/ or services/*/deploy/");
    ensure!(!found.dockerfiles.is_empty(), "there is no Dockerfile at the root, under deploy/ or services/*/deploy/");
    Ok(())
}

fn validator(root: &Path, name: &str) -> Command {
    let mut command = Command::new(tools::home(root, "validators").join("bin").join(name));
    command.current_dir(root);
    command
}

fn compose(root: &Path, path: &Path) -> Result<()> {
    let mut check = validator(root, "check-jsonschema");
    output(check.args(["--builtin-schema", "vendor.compose-spec"]).arg(path)).map(|_| ())
}

fn dockerfile(root: &Path, path: &Path) -> Result<()> {
    output(validator(root, "hadolint").arg(path)).map(|_| ())
}

fn kustomization(root: &Path, folder: &Path) -> Result<()> {
    let built = output(Command::new("kubectl").arg("kustomize").arg(folder).current_dir(root))
        .context("kubectl builds kustomizations; when it is missing, install it (Kubernetes' own package `kubectl`)")?;
    ensure!(!built.trim().is_empty(), "it builds into nothing");
    let objects = tools::folder(root).join("kustomized.yaml");
    fs::write(&objects, built).with_context(|| format!("can't write {}", objects.display()))?;
    output(validator(root, "kubernetes-validate").args(["--strict", "--quiet"]).arg(&objects)).map(|_| ())
}

fn known_settings(root: &Path, service: &str, settings: &[Setting]) -> Result<()> {
    let known = if service.is_empty() { Vec::new() } else { configuration_keys(root, service)? };
    let unknown = manifests::unknown(settings, &known);
    let places: String =
        unknown.iter().map(|Setting { key, path, line }| format!("\n  {}:{line}: {key}", path.display())).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    bail!("no configuration has these keys (`synapsed config-keys --service NAME` lists the real ones):{places}")
}

/// The environment keys a service's configuration has, from the program itself: one `SYNAPSE_<SERVICE>__…` a line, a
/// table with free keys as `…__*`.
fn configuration_keys(root: &Path, service: &str) -> Result<Vec<String>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--package", "synapsed", "--", "config-keys", "--service", service]);
    let keys: Vec<String> = output(cargo.current_dir(root))?.lines().map(|line| line.trim().to_owned()).collect();
    ensure!(keys.iter().any(|key| key.starts_with("SYNAPSE_")), "`synapsed config-keys` names no key for `{service}`");
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_without_deployment_files_fails() {
        assert!(complete(&Manifests::default()).unwrap_err().to_string().contains("no compose file"));
        let found = Manifests { compose: vec!["compose.yaml".into()], ..Manifests::default() };
        assert!(complete(&found).unwrap_err().to_string().contains("no kustomization"));
    }

    const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers: [{name: a, image: a}]
";

    // A tree with these files and this workspace's validators.
    fn planted(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let fetched = tools::folder(&crate::workspace_root());
        assert!(fetched.join("validators").exists(), "run `cargo xtask tools validators`, which fetches them");
        fs::create_dir_all(root.path().join(".tools")).unwrap();
        std::os::unix::fs::symlink(fetched.join("validators"), root.path().join(".tools/validators")).unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(root.path().join("services")).unwrap();
        root
    }

    #[test]
    fn a_sound_tree_passes() {
        let root = planted(&[
            ("Dockerfile", "FROM debian:12\n"),
            ("deploy/compose/compose.yaml", "services: {a: {image: a}}\n"),
            ("deploy/k8s/base/kustomization.yaml", "resources: [deployment.yaml]\n"),
            ("deploy/k8s/base/deployment.yaml", DEPLOYMENT),
        ]);
        assert_eq!(run(root.path()).unwrap(), Tally { passed: 4, failed: 0 });
    }

    #[test]
    fn every_validator_refuses_its_planted_mistake() {
        let misspelt = DEPLOYMENT.replace("image:", "imgae:");
        let root = planted(&[
            ("Dockerfile", "FROM debian\nRUN cd /tmp\n"),
            ("deploy/compose/compose.yaml", "services: {a: {image: a, prots: []}}\n"),
            ("deploy/k8s/base/kustomization.yaml", "resources: [deployment.yaml]\n"),
            ("deploy/k8s/base/deployment.yaml", &misspelt),
            ("services/a/deploy/kustomization.yaml", "resources: [missing.yaml]\n"),
        ]);
        let path = root.path();
        let text = |result: Result<()>| format!("{:#}", result.unwrap_err());
        assert!(text(dockerfile(path, Path::new("Dockerfile"))).contains("DL3006"));
        assert!(text(compose(path, Path::new("deploy/compose/compose.yaml"))).contains("prots"));
        assert!(text(kustomization(path, Path::new("deploy/k8s/base"))).contains("'imgae' was unexpected"));
        assert!(text(kustomization(path, Path::new("services/a/deploy"))).contains("missing.yaml"));
        assert_eq!(run(path).unwrap(), Tally { passed: 1, failed: 4 });
    }

    #[test]
    fn a_key_without_a_service_is_refused_with_its_place() {
        let setting = Setting { key: "SYNAPSE_LOG".into(), path: "deploy/a.yaml".into(), line: 7 };
        let error = known_settings(Path::new("."), "", &[setting]).unwrap_err().to_string();
        assert!(error.contains("\n  deploy/a.yaml:7: SYNAPSE_LOG"), "{error}");
    }
}
