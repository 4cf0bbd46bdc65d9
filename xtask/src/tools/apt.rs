//! Programs out of Debian packages, unpacked without installing them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::output;

const HINT: &str = "on a machine without Debian's packages put the program at the path named above yourself \
                    (for NATS: `GOBIN=… go install github.com/nats-io/nats-server/v2@v2.9.10`)";

/// Downloads `package`, takes `file` out of it into `home/bin/` and makes sure it reports `version`.
pub(super) fn install(home: &Path, package: &str, file: &str, version: &str) -> Result<()> {
    let bin = home.join("bin");
    let download = home.join("download");
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(&download)?;
    let name = Path::new(file).file_name().context("the packaged file has a name")?;
    let program = bin.join(name);
    let failed = || format!("can't get {package} {version} for {}: {HINT}", program.display());

    get(&download, package).with_context(failed)?;
    let package_file = fs::read_dir(&download)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("`apt-get download {package}` left no .deb file"))
        .with_context(failed)?;
    output(Command::new("dpkg").arg("-x").arg(&package_file).arg(download.join("unpacked"))).with_context(failed)?;
    fs::copy(download.join("unpacked").join(file), &program).with_context(failed)?;
    fs::remove_dir_all(&download)?;

    let reported = output(Command::new(&program).arg("--version"))?;
    let fits = reported.trim().ends_with(&format!("v{version}"));
    if !fits {
        fs::remove_file(&program)?;
    }
    ensure!(fits, "the package mirror offers `{}`, the tests need {version}; {}", reported.trim(), failed());
    Ok(())
}

/// Downloads `package` and what it needs and this machine lacks, unpacks all of it into `home/root`, and writes
/// `home/bin/<name>`, which starts `program` with these libraries. Installs nothing; where the program is installed, that
/// one is started.
pub(super) fn unpack(home: &Path, package: &str, program: &str) -> Result<()> {
    let failed = || format!("can't get {package}; on a machine without Debian's packages install it at /{program}");
    let (bin, root, download) = (home.join("bin"), home.join("root"), home.join("download"));
    for folder in [&bin, &root, &download] {
        fs::create_dir_all(folder)?;
    }
    let start = if Path::new("/").join(program).exists() {
        format!("exec '/{program}' \"$@\"\n")
    } else {
        with_fresh_lists(|| get_with_needs(&download, package)).with_context(failed)?;
        for entry in fs::read_dir(&download)? {
            output(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(&root)).with_context(failed)?;
        }
        let own = root.join(program);
        let mut libraries = Vec::new();
        library_folders(&root, own.parent().context("a program lies in a folder")?, &mut libraries)?;
        let path: Vec<String> = libraries.iter().map(|folder| format!("$root/{}", folder.display())).collect();
        let find = "root=$(dirname \"$(readlink -f \"$0\")\")/../root\n";
        format!("{find}export LD_LIBRARY_PATH=\"{}\"\nexec \"$root/{program}\" \"$@\"\n", path.join(":"))
    };
    fs::remove_dir_all(&download)?;
    let script = bin.join(Path::new(program).file_name().context("the program has a name")?);
    fs::write(&script, format!("#!/bin/sh\n{start}"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    output(Command::new(&script).arg("--version")).with_context(failed).map(|_| ())
}

fn get_with_needs(folder: &Path, package: &str) -> Result<()> {
    let mut list = Command::new("apt-get");
    list.args(["install", "--print-uris", "--quiet=2", "--yes", "--no-install-recommends", package]);
    let listed = output(&mut list)?;
    output(Command::new("apt-get").arg("download").args(names(&listed)).current_dir(folder)).map(|_| ())
}

/// The packages of a list whose lines are `'https://…' name_version_architecture.deb size hash`.
fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.split_whitespace().nth(1)?.split('_').next())
}

/// The folders below `root`, relative to it, that hold shared libraries; not the program's own, which it knows.
fn library_folders(root: &Path, own: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let is_library = entry.file_name().to_string_lossy().contains(".so");
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if is_library && folder != own {
                let relative = folder.strip_prefix(root).context("a folder below the root")?.to_owned();
                if !found.contains(&relative) {
                    found.push(relative);
                }
            }
        }
    }
    found.sort();
    Ok(())
}

fn get(folder: &Path, package: &str) -> Result<()> {
    with_fresh_lists(|| output(Command::new("apt-get").args(["download", package]).current_dir(folder)).map(|_| ()))
}

// A machine that has never fetched its package lists fails the first time.
fn with_fresh_lists(get: impl Fn() -> Result<()>) -> Result<()> {
    if get().is_ok() {
        return Ok(());
    }
    output(Command::new("apt-get").args(["update", "--quiet"])).context("the package lists can't be fetched")?;
    get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_without_version_and_architecture() {
        let listed = "'http://deb.example/o/libogg0_1.3.5-3_amd64.deb' libogg0_1.3.5-3_amd64.deb 23412 SHA256:00\n\
                      'http://deb.example/c/chromium_1%7edeb12_amd64.deb' chromium_1~deb12_amd64.deb 1 SHA256:00\n";
        assert_eq!(names(listed).collect::<Vec<_>>(), ["libogg0", "chromium"]);
    }

    #[test]
    fn libraries_are_looked_for_where_they_lie() {
        let root = tempfile::tempdir().unwrap();
        for file in ["usr/lib/a/libone.so.1", "usr/lib/a/b/libtwo.so", "usr/lib/prog/libown.so", "usr/share/doc/notes"]
        {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mut found = Vec::new();
        library_folders(root.path(), &root.path().join("usr/lib/prog"), &mut found).unwrap();
        assert_eq!(found, ["usr/lib/a", "usr/lib/a/b"].map(PathBuf::from));
    }
}
