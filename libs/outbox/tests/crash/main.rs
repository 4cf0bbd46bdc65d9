//! Crash suite: a process that publishes, relays and consumes is killed at each numbered step, again and again, on the
//! embedded bus and on NATS; in the end every effect must have happened exactly once.
//!
//! `cargo test -p outbox --test crash` kills at least 200 times; `-- --kills 2000` does it more often, and a word such
//! as `-- nats` runs only the scenarios whose names contain it.
#![allow(clippy::unwrap_used, missing_docs)]

mod child;
mod ledger;
mod scenario;

use std::process::ExitCode;
use std::thread;

use clock::Clock;
use scenario::Scenario;

const KILLS: usize = 210;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "child") {
        child::main(&arguments[1..]);
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        Scenario::all().iter().for_each(|scenario| println!("{}: test", scenario.name()));
        return ExitCode::SUCCESS;
    }
    run(wanted(&arguments), kills(&arguments))
}

fn run(scenarios: Vec<Scenario>, kills: usize) -> ExitCode {
    println!("\nrunning {} tests", scenarios.len());
    let (clock, each) = (Clock::system(), kills.div_ceil(scenarios.len().max(1)));
    let started = clock.monotonic();
    // The buses side by side: most of a life is waiting for leases to end.
    let buses = scenario::BUSES.map(|bus| {
        let mine: Vec<Scenario> = scenarios.iter().copied().filter(|scenario| scenario.bus == bus).collect();
        thread::spawn(move || scenario::run_all(bus, &mine, each))
    });
    let outcomes: Vec<_> = buses.into_iter().flat_map(|bus| bus.join().unwrap()).collect();
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let kills: usize = outcomes.iter().flatten().map(|done| done.kills).sum();
    let effects: u64 = outcomes.iter().flatten().map(|done| done.effects).sum();
    println!("{kills} kills, {effects} effects, each exactly once");
    println!(
        "test result: {}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        outcomes.len() - failed,
        (clock.monotonic() - started).as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kills(arguments: &[String]) -> usize {
    let place = arguments.iter().position(|argument| argument == "--kills");
    place.map_or(KILLS, |place| arguments.get(place + 1).expect("--kills takes a number").parse().unwrap())
}

/// Words filter by name, as in other tests; the test harness's own flags mean nothing here.
fn wanted(arguments: &[String]) -> Vec<Scenario> {
    let is_value = |place: usize| place > 0 && ["--kills", "--test-threads"].contains(&arguments[place - 1].as_str());
    let words: Vec<&String> = arguments
        .iter()
        .enumerate()
        .filter(|(place, word)| !word.starts_with('-') && !is_value(*place))
        .map(|(_, word)| word)
        .collect();
    let fits = |scenario: &Scenario| words.is_empty() || words.iter().any(|word| scenario.name().contains(*word));
    Scenario::all().into_iter().filter(fits).collect()
}
