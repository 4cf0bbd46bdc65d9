//! Who an agent is when nobody says: the same for the same user, machine and origin, so that it gets its address again.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use aws_lc_rs::digest;
use clock::Entropy;
use contracts::PeerId;

/// Bytes of a seed.
const SEED_BYTES: usize = 16;

/// An id made of a random seed that is kept in the user's home folder, the machine's id (a home may be shared by
/// several), and the origin.
///
/// # Errors
/// When the user has no home folder, or the seed can't be kept there: the message says to give `--agent-id`.
pub(crate) fn agent_id(origin: &str) -> anyhow::Result<PeerId> {
    let home = std::env::home_dir().context("there is no home folder to keep this agent's identity in");
    let seed = home.and_then(|home| seed(&home)).context("who is this agent? Give --agent-id")?;
    // Only Linux has this file; elsewhere the seed alone tells machines apart.
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    derived(&seed, &machine, origin)
}

fn derived(seed: &[u8], machine: &str, origin: &str) -> anyhow::Result<PeerId> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [seed, machine.trim().as_bytes(), origin.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let text: String = context.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("agent-{text}").parse().map_err(|error| anyhow::anyhow!("{error}"))
}

/// Reads the seed; makes it at the first call.
fn seed(home: &Path) -> anyhow::Result<Vec<u8>> {
    let folder = home.join(".synapse");
    let file = folder.join("agent-seed");
    if !file.exists() {
        std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
        make(&folder, &file)?;
    }
    let mut seed = Vec::new();
    let read = std::fs::File::open(&file).and_then(|open| open.take(1_024).read_to_end(&mut seed));
    read.with_context(|| format!("{} can't be read", file.display()))?;
    ensure!(seed.len() == SEED_BYTES, "{} has {} bytes instead of {SEED_BYTES}; remove it", file.display(), seed.len());
    Ok(seed)
}

/// Appears whole or not at all, and never replaces what another process made meanwhile.
fn make(folder: &Path, file: &PathBuf) -> anyhow::Result<()> {
    let mut seed = [0; SEED_BYTES];
    let entropy = Entropy::system();
    entropy.fill(&mut seed);
    let whole = folder.join(format!("agent-seed.{:016x}", entropy.next_u64()));
    let written = OpenOptions::new().write(true).create_new(true).open(&whole).and_then(|mut open| {
        open.write_all(&seed)?;
        open.sync_all()
    });
    let linked = written.and_then(|()| match std::fs::hard_link(&whole, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let _ = std::fs::remove_file(&whole);
    linked.with_context(|| format!("{} can't be written", file.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_same_home_machine_and_origin_are_the_same_agent() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = |home: &Path, machine, origin| derived(&seed(home).unwrap(), machine, origin).unwrap();
        let first = id(home.path(), "m\n", "127.0.0.1:3000");
        assert_eq!(first, id(home.path(), "m", "127.0.0.1:3000"), "after a restart");
        assert_ne!(first, id(home.path(), "m", "127.0.0.1:4000"), "another origin");
        assert_ne!(first, id(home.path(), "n", "127.0.0.1:3000"), "another machine with the same home");
        assert_ne!(first, id(other.path(), "m", "127.0.0.1:3000"), "another user");
        assert_eq!(std::fs::read_dir(home.path().join(".synapse")).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn agents_that_start_at_once_agree_on_a_seed() {
        let home = tempfile::tempdir().unwrap();
        let ids = std::thread::scope(|scope| {
            let started: Vec<_> = (0..8).map(|_| scope.spawn(|| seed(home.path()).unwrap())).collect();
            started.into_iter().map(|agent| agent.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }

    #[test]
    fn a_seed_that_is_cut_off_is_told_by_its_file() {
        let home = tempfile::tempdir().unwrap();
        seed(home.path()).unwrap();
        let file = home.path().join(".synapse/agent-seed");
        std::fs::write(&file, "short").unwrap();
        let error = seed(home.path()).unwrap_err().to_string();
        assert!(error.contains("agent-seed has 5 bytes instead of 16; remove it"), "{error}");
    }
}
