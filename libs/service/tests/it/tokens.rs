//! Access tokens by keys that an identity provider publishes: a real HTTP server, under a clock that only the test moves.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::{Grant, Role, SigningKey, TokenError, TokenMinter};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bus::{Bus, EmbeddedOptions};
use clock::{Clock, Entropy, ManualClock};
use serde_json::{Value, json};
use service::config::{self, Mode, Secret, Sources};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, Platform, PlatformConfig, TokenSettings, Tokens, Unauthenticated};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const START_MS: u64 = 1_790_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// At least this lies between two fetches.
const INTERVAL: Duration = Duration::from_secs(30);

/// What the provider answers next.
#[derive(Clone)]
enum Says {
    Keys(Vec<Value>),
    Text(StatusCode, String),
    Elsewhere(String),
}

/// An identity provider.
struct Issuer {
    address: SocketAddr,
    says: Mutex<Says>,
    asked: AtomicUsize,
    /// A request is answered when it gets one of these.
    leave: Semaphore,
}

impl Issuer {
    async fn start(keys: &[&SigningKey]) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            says: Mutex::new(Says::Keys(keys.iter().map(|key| jwk(key)).collect())),
            asked: AtomicUsize::new(0),
            leave: Semaphore::new(1_000),
        });
        let router = Router::new().route("/keys", get(answer)).with_state(Arc::clone(&issuer));
        tokio::spawn(axum::serve(listener, router).into_future());
        issuer
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn publishes(&self, keys: &[&SigningKey]) {
        self.says(Says::Keys(keys.iter().map(|key| jwk(key)).collect()));
    }

    fn fails(&self) {
        self.says(Says::Text(StatusCode::INTERNAL_SERVER_ERROR, "down".into()));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(State(issuer): State<Arc<Issuer>>) -> Response {
    issuer.asked.fetch_add(1, Ordering::SeqCst);
    issuer.leave.acquire().await.unwrap().forget();
    let says = issuer.says.lock().unwrap().clone();
    match says {
        Says::Keys(keys) => json!({ "keys": keys }).to_string().into_response(),
        Says::Text(status, text) => (status, text).into_response(),
        Says::Elsewhere(url) => (StatusCode::FOUND, [(header::LOCATION, url)]).into_response(),
    }
}

fn key(kid: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(kid, &[seed; 32]).unwrap()
}

fn jwk(key: &SigningKey) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": key.kid(), "x": key.public_text()})
}

struct World {
    tokens: Arc<Tokens>,
    clock: Clock,
    hand: ManualClock,
    host: Host,
    _folder: TempDir,
}

fn settings(url: &str) -> TokenSettings {
    TokenSettings {
        token_secret: Secret::new(""),
        token_public_key: String::new(),
        token_secret_kid: "hs-1".into(),
        token_public_kid: "ed-1".into(),
        token_issuer: "https://login.example".into(),
        token_audience: "synapse".into(),
        token_jwks_url: url.into(),
        token_jwks_max_age_ms: 3_600_000,
        token_jwks_stale_ms: 7_200_000,
        token_jwks_min_interval_ms: 30_000,
        token_jwks_timeout_ms: 30_000,
        token_jwks_max_bytes: 4_096,
    }
}

async fn host(mode: &str) -> (Host, Clock, ManualClock, TempDir) {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let env = [
        ("SYNAPSE_PLATFORM__STORE".to_owned(), format!("sqlite:{}", folder.path().display())),
        ("SYNAPSE_PLATFORM__MODE".to_owned(), mode.to_owned()),
    ];
    let sources = Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() };
    let config: PlatformConfig = config::load(sources).unwrap();
    let bus = Bus::embedded(EmbeddedOptions::default(), clock.clone());
    (Host::on(config, bus, clock.clone(), Entropy::system()), clock, hand, folder)
}

async fn world(settings: TokenSettings) -> World {
    let (host, clock, hand, folder) = host("development").await;
    let platform: Platform = host.platform("test").await.unwrap();
    assert_eq!(platform.mode, Mode::Development);
    let tokens = Tokens::start(&platform, &settings).await.unwrap();
    World { tokens, clock, hand, host, _folder: folder }
}

impl World {
    fn token(&self, kid: &str, seed: u8) -> String {
        let minter = TokenMinter::eddsa("https://login.example", "synapse", key(kid, seed));
        let (tenant, user) = ("acme".parse().unwrap(), "ada".parse().unwrap());
        let grant = Grant { tenant, user, role: Role::User, ttl_ms: 86_400_000, token_id: "t-1".into() };
        minter.mint(&grant, self.clock.now_ms())
    }

    async fn verify(&self, token: &str) -> Result<(), Unauthenticated> {
        self.tokens.verify(token).await.map(|principal| assert_eq!(principal.user.as_str(), "ada"))
    }

    /// The time goes on, and whatever is due then is done.
    async fn pass(&self, time: Duration, issuer: &Issuer, asked: usize) {
        self.hand.advance(time);
        testkit::eventually(PATIENCE, "the provider to be asked", async || {
            let seen = issuer.asked();
            if seen >= asked { Ok(()) } else { Err(format!("{seen} times")) }
        })
        .await;
        assert_eq!(issuer.asked(), asked);
    }

    async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.host.drain()).await.expect("every task heeds the stop");
    }
}

#[tokio::test]
async fn published_keys_are_fetched_once_and_used() {
    let issuer = Issuer::start(&[&key("k-1", 1)]).await;
    let world = world(settings(&issuer.url())).await;
    for _ in 0..10 {
        world.verify(&world.token("k-1", 1)).await.unwrap();
    }
    // Somebody else's key of the same name.
    assert_eq!(world.verify(&world.token("k-1", 2)).await, Err(TokenError::BadSignature.into()));
    assert_eq!(issuer.asked(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_rotated_key_is_known_with_its_first_token_and_the_old_one_ends() {
    let issuer = Issuer::start(&[&key("k-1", 1)]).await;
    let world = world(settings(&issuer.url())).await;
    world.hand.advance(INTERVAL);
    issuer.publishes(&[&key("k-1", 1), &key("k-2", 2)]);
    world.verify(&world.token("k-2", 2)).await.unwrap();
    world.verify(&world.token("k-1", 1)).await.unwrap();
    assert_eq!(issuer.asked(), 2);
    issuer.publishes(&[&key("k-2", 2)]);
    world.pass(HOUR, &issuer, 3).await;
    testkit::eventually(PATIENCE, "the old key to end", async || {
        world.verify(&world.token("k-1", 1)).await.is_err().then_some(())
    })
    .await;
    world.verify(&world.token("k-2", 2)).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_hundred_tokens_with_an_unknown_key_are_one_question() {
    let issuer = Issuer::start(&[&key("k-1", 1)]).await;
    let world = world(settings(&issuer.url())).await;
    world.hand.advance(INTERVAL);
    issuer.publishes(&[&key("k-2", 2)]);
    let token = world.token("k-2", 2);
    let all = futures::future::join_all((0..100).map(|_| world.verify(&token))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(issuer.asked(), 2);
    // Nor do a hundred names that don't exist, until the interval is over.
    let tokens: Vec<String> = (0..100).map(|number| world.token(&format!("x-{number}"), 3)).collect();
    for verdict in futures::future::join_all(tokens.iter().map(|token| world.verify(token))).await {
        assert_eq!(verdict, Err(TokenError::UnknownKey.into()));
    }
    assert_eq!(issuer.asked(), 2);
    world.hand.advance(INTERVAL);
    assert_eq!(world.verify(&tokens[0]).await, Err(TokenError::UnknownKey.into()));
    assert_eq!(issuer.asked(), 3);
    world.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_the_fetch_with_it() {
    let issuer = Issuer::start(&[&key("k-1", 1)]).await;
    let world = world(settings(&issuer.url())).await;
    world.hand.advance(INTERVAL);
    issuer.publishes(&[&key("k-2", 2)]);
    let held = issuer.leave.forget_permits(1_000);
    let token = world.token("k-2", 2);
    let (tokens, impatient) = (Arc::clone(&world.tokens), token.clone());
    let caller = tokio::spawn(async move { tokens.verify(&impatient).await.is_ok() });
    testkit::eventually(PATIENCE, "the question", async || (issuer.asked() == 2).then_some(())).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    issuer.leave.add_permits(held);
    world.verify(&token).await.unwrap();
    assert_eq!(issuer.asked(), 2);
    world.stop().await;
}

#[tokio::test]
async fn while_the_provider_is_down_its_keys_go_on_until_their_bound() {
    let issuer = Issuer::start(&[&key("k-1", 1)]).await;
    let world = world(settings(&issuer.url())).await;
    issuer.fails();
    world.pass(HOUR, &issuer, 2).await;
    world.verify(&world.token("k-1", 1)).await.unwrap();
    // An hour of freshness and two of grace.
    world.hand.advance(HOUR * 2 - Duration::from_millis(1));
    world.verify(&world.token("k-1", 1)).await.unwrap();
    world.hand.advance(Duration::from_millis(1));
    let verdict = world.verify(&world.token("k-1", 1)).await;
    assert_eq!(verdict, Err(Unauthenticated::KeysUnavailable { retry_after_s: 30 }), "nobody is told to sign in again");
    issuer.publishes(&[&key("k-1", 1)]);
    testkit::eventually(PATIENCE, "the keys to be back", async || {
        world.hand.advance(INTERVAL);
        world.verify(&world.token("k-1", 1)).await
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn answers_that_are_no_key_set_change_nothing() {
    let issuer = Issuer::start(&[&key("k-1", 1)]).await;
    let other = Issuer::start(&[&key("k-9", 9)]).await;
    let world = world(settings(&issuer.url())).await;
    let long = json!({"keys": [jwk(&key("k-9", 9))], "more": "x".repeat(5_000)}).to_string();
    let symmetric = json!({"keys": [{"kty": "oct", "kid": "k-9", "k": "AAAA"}]}).to_string();
    for (turn, says) in [
        Says::Text(StatusCode::OK, "<html>".into()),
        Says::Text(StatusCode::OK, symmetric),
        Says::Text(StatusCode::OK, long),
        Says::Elsewhere(other.url()),
    ]
    .into_iter()
    .enumerate()
    {
        issuer.says(says);
        world.hand.advance(INTERVAL);
        let verdict = world.verify(&world.token("k-9", 9)).await;
        assert!(matches!(verdict, Err(Unauthenticated::KeysUnavailable { .. })), "{turn}: {verdict:?}");
        world.verify(&world.token("k-1", 1)).await.unwrap();
        assert_eq!(issuer.asked(), turn + 2);
    }
    assert_eq!(other.asked(), 0, "a redirection is not followed");
    world.stop().await;
}

#[tokio::test]
async fn a_provider_that_keeps_failing_is_left_alone_for_a_while() {
    let issuer = Issuer::start(&[&key("k-1", 1)]).await;
    // Asked each second, it would be asked on and on.
    let world = world(TokenSettings { token_jwks_min_interval_ms: 1_000, ..settings(&issuer.url()) }).await;
    issuer.fails();
    for _ in 0..20 {
        world.hand.advance(Duration::from_secs(1));
        let verdict = world.verify(&world.token("k-2", 2)).await;
        assert!(matches!(verdict, Err(Unauthenticated::KeysUnavailable { .. })), "{verdict:?}");
    }
    assert_eq!(issuer.asked(), 1 + 5, "the breaker opens after five failures");
    world.stop().await;
}

#[tokio::test]
async fn a_service_starts_without_its_provider_and_finds_it_later() {
    let issuer = Issuer::start(&[&key("k-1", 1)]).await;
    issuer.fails();
    let world = world(settings(&issuer.url())).await;
    let token = world.token("k-1", 1);
    assert_eq!(world.verify(&token).await, Err(Unauthenticated::KeysUnavailable { retry_after_s: 30 }));
    issuer.publishes(&[&key("k-1", 1)]);
    world.hand.advance(INTERVAL);
    testkit::eventually(PATIENCE, "the keys", async || world.verify(&token).await).await;
    world.stop().await;
}

#[tokio::test]
async fn outside_development_keys_come_over_https_alone() {
    let (host, _, _, _folder) = host("production").await;
    let platform = host.platform("test").await.unwrap();
    let error = Tokens::start(&platform, &settings("http://127.0.0.1:9/keys")).await.err().unwrap().to_string();
    assert!(error.contains("token_jwks_url") && error.contains("https"), "{error}");
    tokio::time::timeout(PATIENCE, host.drain()).await.unwrap();
}
