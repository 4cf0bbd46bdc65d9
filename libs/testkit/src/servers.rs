//! The real servers that services talk to, as child processes on free loopback ports with data in a temporary folder.
//!
//! `cargo xtask tools` fetches the programs; `cargo xtask test` does that by itself. Starting blocks until the server
//! answers, in tests with and without a runtime. A server can be stopped or killed and started again on the same port
//! with the same data.

mod coturn;
mod dynoxide;
mod moto;
mod nats;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

pub use self::coturn::Coturn;
pub use self::dynoxide::Dynoxide;
pub use self::moto::Moto;
pub use self::nats::{Nats, NatsVersion};
use crate::{Process, eventually_blocking, free_port};

// Moto is Python and takes two seconds on an idle machine; two cores full of tests can stretch that a lot.
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(2);

/// The program `program` (relative to the tool's folder) of the tool that `cargo xtask tools` calls `tool`.
///
/// # Panics
/// When it is not there, with the command that fetches it.
pub fn program(tool: &str, program: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("testkit lies two folders deep");
    let path = root.join(".tools").join(tool).join(program);
    assert!(path.exists(), "{} is not there: run `cargo xtask tools {tool}`, which fetches it", path.display());
    path
}

// What every server shares: one port and one folder for its life, and a process that comes and goes.
#[derive(Debug)]
struct Server {
    name: &'static str,
    port: u16,
    home: TempDir,
    process: Option<Process>,
}

impl Server {
    fn new(name: &'static str) -> Self {
        let home = tempfile::Builder::new().prefix(name).tempdir().expect("a temporary folder");
        Self { name, port: free_port(), home, process: None }
    }

    fn start(&mut self, command: &Command, answers: impl Fn(SocketAddr) -> Result<(), String>) {
        self.kill();
        let mut process = Process::spawn(command, &self.home.path().join("log"));
        let what = format!("{} to answer on port {}", self.name, self.port);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        eventually_blocking(START, &what, || {
            if let Some(status) = process.exited() {
                panic!("{} ended at its start ({status}):\n{}", self.name, process.output());
            }
            answers(address).map_err(|seen| format!("{seen}\n{}", process.output()))
        });
        self.process = Some(process);
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("TERM");
            process.wait(STOP);
        }
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("{} is stopped: restart() it first", self.name))
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.home.path().join("log")).unwrap_or_default()).into_owned()
    }
}

// One HTTP/1.0 exchange: enough to see whether a server answers, without a client library.
fn http(address: SocketAddr, head: &str) -> Result<String, String> {
    let exchange = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(format!("{head} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    exchange().map_err(|error| error.to_string())
}

// The calls every server offers, so that a test reads the same whichever it kills.
macro_rules! lifecycle {
    ($server:ident) => {
        impl $server {
            /// The loopback port, the same for its whole life.
            pub fn port(&self) -> u16 {
                self.server.port
            }

            /// Its process id. Panics while it is stopped.
            pub fn pid(&mut self) -> u32 {
                self.server.running().pid()
            }

            /// Asks it to end (SIGTERM) and waits until it did. Nothing happens when it is stopped already.
            pub fn stop(&mut self) {
                self.server.stop();
            }

            /// Kills it (SIGKILL), as a crash would. Nothing happens when it is stopped already.
            pub fn kill9(&mut self) {
                self.server.kill();
            }

            /// Freezes it (SIGSTOP): its port still accepts, nothing answers. Panics while it is stopped.
            pub fn freeze(&mut self) {
                self.server.running().freeze();
            }

            /// Ends a freeze (SIGCONT). Panics while it is stopped.
            pub fn thaw(&mut self) {
                self.server.running().thaw();
            }

            /// What this run of it printed.
            pub fn output(&self) -> String {
                self.server.output()
            }
        }
    };
}
use lifecycle;
