use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::{Server, http, lifecycle, program};

/// Moto's server: SQS (and more of AWS) in memory. Any region and credentials do.
///
/// Its queues live as long as its process: a restart begins empty. FIFO deduplication forgets an id once its message
/// is deleted, and stale receipt handles still delete; real SQS does neither.
#[derive(Debug)]
pub struct Moto {
    server: Server,
}

impl Moto {
    /// Starts a server without queues. Takes about two seconds.
    ///
    /// # Panics
    /// When the program is missing or does not answer.
    pub fn start() -> Self {
        let mut moto = Self { server: Server::new("moto") };
        moto.restart();
        moto
    }

    /// Starts it again on the same port, without queues.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn restart(&mut self) {
        let mut command = Command::new(program("moto", "bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &self.server.port.to_string()]);
        self.server.start(&command, |address| ok("GET /moto-api/data.json", address));
    }

    /// Drops every queue without a restart.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn reset(&self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.server.port));
        ok("POST /moto-api/reset", address).unwrap_or_else(|seen| panic!("moto did not reset: {seen}"));
    }

    /// The endpoint for AWS clients: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }
}

lifecycle!(Moto);

fn ok(request: &str, address: SocketAddr) -> Result<(), String> {
    let answer = http(address, request)?;
    let status = answer.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(()) } else { Err(format!("{request} gave {status:?}")) }
}
