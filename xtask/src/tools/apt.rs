//! Programs out of Debian packages, unpacked without installing them.

use std::fs;
use std::path::Path;
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

/// Downloads `package` and what it depends on and this machine does not have, unpacks all of it into `home`, and makes
/// sure that `program` there reports `version`. Its libraries are looked for below `home` first.
pub(super) fn install_tree(home: &Path, package: &str, program: &str, version: &str) -> Result<()> {
    let failed = || format!("can't get {package} {version} for {}: {HINT}", home.join(program).display());
    let download = home.join("download");
    fs::create_dir_all(&download)?;
    get(&download, package).with_context(failed)?;
    for missing in missing(package).with_context(failed)?.iter().filter(|missing| *missing != package) {
        get(&download, missing).with_context(failed)?;
    }
    for entry in fs::read_dir(&download)? {
        output(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(home)).with_context(failed)?;
    }
    fs::remove_dir_all(&download)?;
    let libraries = home.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let reported = output(Command::new(home.join(program)).arg("--version").env("LD_LIBRARY_PATH", &libraries))
        .with_context(failed)?;
    let fits = reported.lines().any(|line| line.trim() == version);
    ensure!(fits, "the package mirror offers `{}`, the tests need {version}; {}", reported.trim(), failed());
    Ok(())
}

// What apt would install with the package: it says so without doing it, and without being root.
fn missing(package: &str) -> Result<Vec<String>> {
    let plan = output(Command::new("apt-get").args(["install", "--simulate", "--no-install-recommends", package]))?;
    let names = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

// A machine that has never fetched its package lists fails the first time.
fn get(folder: &Path, package: &str) -> Result<()> {
    let download = || output(Command::new("apt-get").args(["download", package]).current_dir(folder));
    if download().is_ok() {
        return Ok(());
    }
    output(Command::new("apt-get").args(["update", "--quiet"])).context("the package lists can't be fetched")?;
    download().map(|_| ())
}
