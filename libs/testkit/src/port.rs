use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use clock::Entropy;

use crate::process::FORKING;

// Below Linux's range for outgoing connections (from 32768), so that no client's own port can take the port of a
// server that is down between kill and restart.
const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

static CLAIMED: Mutex<Option<HashMap<u16, Option<File>>>> = Mutex::new(None);

/// A loopback TCP port that nothing listens on and that no other test gets as long as this process lives: a lock file
/// in the temporary folder claims it across processes.
///
/// # Panics
/// When every port of the range is taken.
pub fn free_port() -> u16 {
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let claimed = claimed.get_or_insert_default();
    let start = Entropy::system().up_to(u64::from(COUNT) - 1) as u16;
    for step in 0..COUNT {
        let port = FIRST + (start + step) % COUNT;
        if claimed.contains_key(&port) {
            continue;
        }
        let Some(claim) = claim(port) else { continue };
        let _no_fork = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            claimed.insert(port, claim);
            return port;
        }
    }
    panic!("no free loopback port between {FIRST} and {}", FIRST + COUNT - 1);
}

// The outer `None`: another process has it. The inner: the lock folder belongs to another user, whose tests can only
// be kept apart by looking whether something listens.
fn claim(port: u16) -> Option<Option<File>> {
    let folder = std::env::temp_dir().join("testkit-ports");
    let Ok(file) = fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(port.to_string()))) else {
        return Some(None);
    };
    file.try_lock().ok().map(|()| Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_never_given_twice() {
        let ports: Vec<u16> = (0..50).map(|_| free_port()).collect();
        for (index, port) in ports.iter().enumerate() {
            assert!(!ports[..index].contains(port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap();
        }
    }

    #[test]
    fn a_port_another_process_claimed_is_not_given() {
        let port = free_port();
        assert!(claim(port).is_none(), "the claim of {port} is a lock that a second opener can't take");
    }
}
