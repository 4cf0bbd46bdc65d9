use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use super::{ANSWER, Server, lifecycle, program};

/// The NATS servers that the bus supports: the oldest and the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatsVersion {
    /// Debian 12's. Silently ignores what newer servers offer.
    V2_9_10,
    /// With atomic batches, per-message TTL, pinned clients.
    V2_15_1,
}

impl NatsVersion {
    /// Both, for suites that run on each.
    pub const ALL: [Self; 2] = [Self::V2_9_10, Self::V2_15_1];

    /// As the server reports it.
    pub fn number(self) -> &'static str {
        match self {
            Self::V2_9_10 => "2.9.10",
            Self::V2_15_1 => "2.15.1",
        }
    }
}

/// A nats-server with JetStream, its streams in a temporary folder that lasts until this is dropped.
#[derive(Debug)]
pub struct Nats {
    server: Server,
    version: NatsVersion,
    jetstream: bool,
    settings: String,
}

impl Nats {
    /// Starts a server that takes anonymous clients.
    ///
    /// # Panics
    /// When the program is missing or does not answer.
    pub fn start(version: NatsVersion) -> Self {
        Self::start_with(version, "")
    }

    /// Starts a server with more lines of its configuration file, such as `max_payload: 1KB`. `listen`, `server_name`
    /// and `jetstream` are set already.
    ///
    /// # Panics
    /// When the program is missing, refuses the settings or does not answer.
    pub fn start_with(version: NatsVersion, settings: &str) -> Self {
        Self::launch(version, true, settings)
    }

    /// Starts a server without JetStream: core NATS and nothing else.
    ///
    /// # Panics
    /// As [`Nats::start`].
    pub fn start_core(version: NatsVersion) -> Self {
        Self::launch(version, false, "")
    }

    fn launch(version: NatsVersion, jetstream: bool, settings: &str) -> Self {
        let mut nats = Self { server: Server::new("nats-server"), version, jetstream, settings: settings.to_owned() };
        nats.restart();
        nats
    }

    /// Starts it again, after `stop()`, `kill9()` or while it runs (then it is killed first): same port, same data.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn restart(&mut self) {
        let (home, port, number) = (self.server.home.path(), self.server.port, self.version.number());
        let name = format!("testkit-{}-{port}", std::process::id());
        let jetstream = self.jetstream;
        let streams =
            if jetstream { format!("jetstream {{ store_dir: {:?} }}", home.join("jetstream")) } else { String::new() };
        let configuration =
            format!("listen: \"127.0.0.1:{port}\"\nserver_name: {name}\n{streams}\n{}\n", self.settings);
        let file = home.join("nats.conf");
        fs::write(&file, configuration).expect("the temporary folder takes a file");
        let mut command = Command::new(program(&format!("nats-{number}"), "bin/nats-server"));
        command.arg("--config").arg(&file);
        self.server.start(&command, |address| answers(address, &name, number, jetstream));
    }

    /// For clients: `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.server.port)
    }

    /// Which server this is.
    pub fn version(&self) -> NatsVersion {
        self.version
    }
}

lifecycle!(Nats);

// The server speaks first: `INFO {…}`. Its name proves that it is ours and not a stranger on the same port.
fn answers(address: SocketAddr, name: &str, number: &str, jetstream: bool) -> Result<(), String> {
    let greeting = || -> std::io::Result<String> {
        let stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    };
    let line = greeting().map_err(|error| error.to_string())?;
    let info: serde_json::Value =
        serde_json::from_str(line.trim_start_matches("INFO ")).map_err(|error| format!("{error} in {line:?}"))?;
    let fits = info["server_name"] == name
        && info["version"] == number
        && info["jetstream"].as_bool().unwrap_or(false) == jetstream;
    if fits { Ok(()) } else { Err(format!("another server: {line}")) }
}
