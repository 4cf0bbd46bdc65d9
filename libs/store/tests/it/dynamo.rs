mod answers;
mod table;

use store::{DynamoOptions, Store};
use testkit::servers::Dynoxide;

use crate::conformance::{Bench, conformance};

async fn bench() -> Bench {
    let server = Dynoxide::start();
    let (clock, hand) = Bench::clock();
    let store = Store::dynamo(DynamoOptions::emulator(server.url(), "conformance"), clock.clone()).await.unwrap();
    Bench { store, clock, hand, _holds: Box::new(server) }
}

conformance!(super::bench);

#[test]
fn random_work_matches_the_model() {
    let server = Dynoxide::start();
    crate::model::check(24, async |number| {
        let (clock, hand) = Bench::clock();
        let options = DynamoOptions::emulator(server.url(), format!("model{number}"));
        let store = Store::dynamo(options, clock.clone()).await.unwrap();
        Bench { store, clock, hand, _holds: Box::new(()) }
    });
}
