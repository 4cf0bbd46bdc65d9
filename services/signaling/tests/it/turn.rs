//! The credentials that peers get, at a real coturn with the settings that `deploy/turn` recommends.

use clock::Clock;
use contracts::requests::signaling::{IceServer, IceServersRefusal, IceServersV1};
use testkit::servers::Coturn;

use crate::harness::{ACME, Setting, World, decided, id, run_with};

const SECRET: &str = "the-secret-of-today-0123456789";
const NEXT: &str = "the-secret-of-tomorrow-0123456789";
/// Loopback is denied in the recommended settings; the clients of a test have nothing else.
const HERE: &str = "--allow-loopback-peers";

/// The recommended settings as options: every `denied-peer-ip` but the loopback's own.
fn denied() -> Vec<String> {
    let conf = include_str!("../../../../deploy/turn/turnserver.conf");
    let lines = conf.lines().filter(|line| line.starts_with("denied-peer-ip=") && !line.contains("=127."));
    lines.map(|line| format!("--{line}")).collect()
}

async fn coturn(secrets: &'static [&'static str]) -> Coturn {
    let starting = tokio::task::spawn_blocking(move || {
        let denied = denied();
        let settings: Vec<&str> = denied.iter().map(String::as_str).chain([HERE]).collect();
        Coturn::start(secrets, &settings)
    });
    starting.await.unwrap()
}

fn setting(port: u16, secret: &str, next: &str) -> Setting {
    let turn = format!("[\"turn:127.0.0.1:{port}?transport=udp\"]");
    Setting::of(&[("TURN_URLS", &turn), ("TURN_SECRET", secret), ("TURN_SECRET_NEXT", next), ("TURN_TTL_S", "600")])
}

/// The entries with credentials that a peer is told. coturn goes by the machine's clock, so the world's is set to it first.
async fn turn_of(world: &World, peer: &str) -> Vec<(String, String)> {
    let ask = IceServersV1 { peer_id: id(peer), proof: world.proof(peer) };
    let told = decided(world.ask(ACME, &ask).await).unwrap();
    let entry = |server: IceServer| Some((server.username?, server.credential?));
    told.ice_servers.into_iter().filter_map(entry).collect()
}

async fn client(
    coturn: Coturn,
    (username, password): (String, String),
    options: &'static [&'static str],
) -> (Coturn, String) {
    let asking = tokio::task::spawn_blocking(move || {
        let printed = coturn.client(&username, &password, options);
        (coturn, printed)
    });
    asking.await.unwrap()
}

/// Whether the server has answered this user's request with 401.
fn is_unauthorized(server: &Coturn, user: &str) -> bool {
    let from = format!("user <{user}>");
    server.output().lines().any(|line| line.contains(&from) && line.contains("error 401"))
}

/// An allocation by somebody who reaches another client through it.
const REACH: &[&str] = &["-y"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coturn_takes_what_peers_are_told_until_it_ends() {
    let server = coturn(&[SECRET]).await;
    run_with(&setting(server.port(), SECRET, ""), async |world| {
        world.hand.set(Clock::system().now_ms());
        let good = turn_of(world, "alice").await.remove(0);
        let (server, printed) = client(server, good.clone(), REACH).await;
        assert!(printed.contains("Received relay addr") && printed.contains("tot_recv_msgs=2"), "{printed}");

        let user = good.0.clone();
        let wrong = (good.0.clone(), turn_of(world, "bob").await.remove(0).1);
        let (server, printed) = client(server, wrong, REACH).await;
        assert!(!printed.contains("Received relay addr"), "{printed}");
        assert!(is_unauthorized(&server, &user), "{}", server.output());

        // Somebody who writes a later end into the username has no signature for it.
        let later = (good.0.replacen("1", "2", 1), good.1.clone());
        let (server, printed) = client(server, later, REACH).await;
        assert!(!printed.contains("Received relay addr"), "{printed}");

        // Made long enough ago to have ended.
        world.hand.set(Clock::system().now_ms() - 601_000);
        let ended = turn_of(world, "alice").await.remove(0);
        let user = ended.0.clone();
        let (server, printed) = client(server, ended, REACH).await;
        assert!(!printed.contains("Received relay addr"), "{printed}");
        assert!(is_unauthorized(&server, &user), "{}", server.output());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_relayed_into_private_networks() {
    let mut server = coturn(&[SECRET]).await;
    run_with(&setting(server.port(), SECRET, ""), async |world| {
        world.hand.set(Clock::system().now_ms());
        let good = turn_of(world, "alice").await.remove(0);
        for peer in [
            &["-e", "10.1.2.3"][..],
            &["-e", "172.16.0.1"],
            &["-e", "192.168.1.1"],
            &["-e", "169.254.169.254"],
            &["-e", "100.64.0.1"],
        ] {
            let printed;
            (server, printed) = client(server, good.clone(), peer).await;
            assert!(printed.contains("Received relay addr"), "{peer:?}: {printed}");
            assert!(printed.contains("error 403 (Forbidden IP)"), "{peer:?}: {printed}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_secret_is_rotated_a_server_with_either_of_them_works() {
    for (secrets, works) in [(&[SECRET][..], [true, false]), (&[NEXT], [false, true]), (&[SECRET, NEXT], [true, true])]
    {
        let mut server = coturn(secrets).await;
        run_with(&setting(server.port(), SECRET, NEXT), async |world| {
            world.hand.set(Clock::system().now_ms());
            let told = turn_of(world, "alice").await;
            assert_eq!(told.len(), 2);
            for (credentials, works) in told.into_iter().zip(works) {
                let printed;
                (server, printed) = client(server, credentials, REACH).await;
                assert_eq!(printed.contains("Received relay addr"), works, "{secrets:?}: {printed}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn without_a_good_proof_nobody_is_told_anything() {
    run_with(&Setting::default(), async |world| {
        let ask = IceServersV1 { peer_id: id("alice"), proof: world.proof("bob") };
        let refused = decided(world.ask(ACME, &ask).await);
        assert!(matches!(refused, Err(IceServersRefusal::ProofRefused { .. })), "{refused:?}");
    })
    .await;
}
