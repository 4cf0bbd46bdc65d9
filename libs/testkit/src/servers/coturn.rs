use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use super::{ANSWER, Server, lifecycle, program};
use crate::{Process, free_port};

/// coturn: a STUN and TURN server with time-limited credentials (`use-auth-secret`), listening on UDP and TCP.
#[derive(Debug)]
pub struct Coturn {
    server: Server,
    secrets: Vec<String>,
    settings: Vec<String>,
}

impl Coturn {
    /// Starts a server that takes credentials of any of these secrets, with more options of its command line, such as
    /// `--denied-peer-ip=10.0.0.0-10.255.255.255`.
    ///
    /// # Panics
    /// When the program is missing or does not answer.
    pub fn start(secrets: &[&str], settings: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let mut coturn = Self { server: Server::new("coturn"), secrets: owned(secrets), settings: owned(settings) };
        coturn.restart();
        coturn
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn restart(&mut self) {
        let mut command = tool("turnserver");
        command.args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--verbose", "--use-auth-secret", "--realm=synapse"]);
        command.args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--log-file=stdout", "--simple-log"]);
        command.arg(format!("--listening-port={}", self.server.port));
        command.arg(format!("--pidfile={}", self.server.home.path().join("pid").display()));
        command.args(self.secrets.iter().map(|secret| format!("--static-auth-secret={secret}")));
        command.args(&self.settings);
        self.server.start(&command, binds);
    }

    /// Runs coturn's own client against it with these credentials and options (`-e <peer>`: whom to reach; `-y`: another
    /// client); gives what it printed.
    ///
    /// # Panics
    /// When the client is missing or does not end within a minute.
    pub fn client(&self, username: &str, password: &str, options: &[&str]) -> String {
        let mut command = tool("turnutils_uclient");
        command.args(["-v", "-c", "-X", "-n", "1", "-L", "127.0.0.1", "-u", username, "-w", password]);
        command.arg("-p").arg(self.server.port.to_string()).args(options).arg("127.0.0.1");
        let log = self.server.home.path().join(format!("client-{}", free_port()));
        let mut client = Process::spawn(&command, &log);
        client.wait(Duration::from_secs(60));
        client.output()
    }
}

lifecycle!(Coturn);

/// A program of the package, started as its `bin/turnserver` starts the server: with the libraries that came with it.
fn tool(name: &str) -> Command {
    let server = program("coturn", "bin/turnserver");
    if name == "turnserver" {
        return Command::new(server);
    }
    let script = std::fs::read_to_string(&server).expect("it is a script");
    let other = script.replace("/turnserver", &format!("/{name}"));
    // The script finds its libraries from its own place.
    let mut command = Command::new("sh");
    command.arg("-c").arg(other).arg(server);
    command
}

// A STUN binding request (RFC 8489 §5), which needs no credentials.
fn binds(address: SocketAddr) -> Result<(), String> {
    let request: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let exchange = || -> std::io::Result<[u8; 20]> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.send_to(&request, address)?;
        let mut answer = [0; 576];
        let (length, _) = socket.recv_from(&mut answer)?;
        let mut head = [0; 20];
        head[..length.min(20)].copy_from_slice(&answer[..length.min(20)]);
        Ok(head)
    };
    let head = exchange().map_err(|error| error.to_string())?;
    if head[..2] == [1, 1] && head[4..] == request[4..] { Ok(()) } else { Err(format!("answered {head:?}")) }
}
