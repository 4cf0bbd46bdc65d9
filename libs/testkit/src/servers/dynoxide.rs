use std::process::Command;

use super::{Server, http, lifecycle, program};

/// Dynoxide: DynamoDB on a SQLite file in a temporary folder that lasts until this is dropped. Any region and
/// credentials do.
#[derive(Debug)]
pub struct Dynoxide {
    server: Server,
}

impl Dynoxide {
    /// Starts a server without tables.
    ///
    /// # Panics
    /// When the program is missing or does not answer.
    pub fn start() -> Self {
        let mut dynoxide = Self { server: Server::new("dynoxide") };
        dynoxide.restart();
        dynoxide
    }

    /// Starts it again, after `stop()`, `kill9()` or while it runs (then it is killed first): same port, same tables.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn restart(&mut self) {
        let mut command = Command::new(program("dynoxide", "bin/dynoxide"));
        command.args(["serve", "--host", "127.0.0.1", "--port", &self.server.port.to_string()]);
        command.arg("--db-path").arg(self.server.home.path().join("tables.sqlite"));
        self.server.start(&command, |address| {
            // Any answer shows that it serves: a request without an operation is an error by DynamoDB's protocol.
            let answer = http(address, "POST /")?;
            if answer.starts_with("HTTP/1.") { Ok(()) } else { Err(format!("answered {answer:?}")) }
        });
    }

    /// The endpoint for AWS clients: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }
}

lifecycle!(Dynoxide);
