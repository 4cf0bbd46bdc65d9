//! Mutates good descriptions and candidates, by a seed so that a failure comes again: nothing panics, and what breaks a
//! rule is told in lines of `field: rule`. `SYNAPSE_TEST_SCALE=100` runs a hundred times as many.

use clock::Entropy;
use contracts::signals::signaling::{PeerSignal, SAMPLE_SDP};
use signaling::{Limits, check_signal};

const LIMITS: Limits = Limits { sdp_bytes: 16_384, candidate_bytes: 512 };
/// Parts of the two grammars, to be put where they do not belong.
const TOKENS: [&str; 16] = [
    "a=fingerprint:",
    "a=setup:",
    "m=",
    "\r\n",
    "=",
    ":",
    " ",
    "\0",
    "typ",
    "raddr",
    "tcptype",
    "65536",
    "é",
    "[::1]",
    ".local",
    "sha-256 ",
];

struct Dice(Entropy);

impl Dice {
    fn below(&self, end: usize) -> usize {
        usize::try_from(self.0.up_to(end.max(1) as u64 - 1)).unwrap()
    }

    /// A few changes: characters replaced, cut out, doubled, put in; ends cut off.
    fn mutate(&self, text: &str) -> String {
        let mut text: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(4) {
            let (at, until) = (self.below(text.len()), self.below(text.len()));
            let range = at.min(until)..at.max(until);
            match self.below(6) {
                0 if !text.is_empty() => text[at] = char::from(u8::try_from(self.below(128)).unwrap()),
                1 => drop(text.drain(range)),
                2 => {
                    let part = text[range].to_vec();
                    text.splice(at..at, part);
                }
                3 => text.truncate(at),
                _ => drop(text.splice(at..at, TOKENS[self.below(TOKENS.len())].chars())),
            }
        }
        text.into_iter().collect()
    }
}

fn told_well(signal: &PeerSignal, field: &str) -> bool {
    let checked = check_signal(signal, LIMITS);
    for line in &checked.violations {
        assert!(line.starts_with(&format!("{field}: ")) && line.len() < 400, "{line}");
    }
    checked.violations.is_empty()
}

#[test]
fn a_mutated_description_is_taken_or_refused_in_words() {
    let dice = Dice(Entropy::seeded(21));
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..20_000 * testkit::scale() {
        let signal = PeerSignal::Offer { sdp: dice.mutate(SAMPLE_SDP), generation: 1 };
        if told_well(&signal, "sdp") {
            assert!(check_signal(&signal, LIMITS).fingerprint.is_some_and(|shown| shown.len() == 8 + 95));
            taken += 1;
        } else {
            refused += 1;
        }
    }
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[test]
fn a_mutated_candidate_is_taken_or_refused_in_words() {
    let dice = Dice(Entropy::seeded(22));
    let seeds = [
        "candidate:842163049 1 udp 1677729535 203.0.113.7 61000 typ srflx raddr 10.0.0.2 rport 61000 generation 0",
        "candidate:1 1 udp 2113937151 d5cf3b4e-4b7b-4d3a-9c29-1f2d1c3b4a5e.local 9 typ host ufrag Ut+7",
        "candidate:2 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
    ];
    let (mut taken, mut refused) = (0, 0);
    for number in 0..20_000 * testkit::scale() {
        let candidate = dice.mutate(seeds[number % seeds.len()]);
        let signal = PeerSignal::Candidate { candidate, sdp_mid: None, generation: 1 };
        if told_well(&signal, "candidate") { taken += 1 } else { refused += 1 }
    }
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}
