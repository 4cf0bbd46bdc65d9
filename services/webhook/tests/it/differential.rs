//! The signature check beside Stripe's official Python library: every header on which the two differ is of a kind that
//! is written down here.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clock::Entropy;
use serde_json::{Value, json};
use service::config::Secret;
use testkit::servers;
use webhook::{Refused, Verifier};

use crate::harness::{NOW_S, v1};

const HEADERS: usize = 12_000;

/// Where we differ, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// They take any time in the future; we none that is over 300 s ahead: such a signature would be good for as long.
    Future,
    /// They take the first of several `t`; we none: which one was signed is not to be guessed.
    SeveralTimes,
    /// They take `+1`, `1_0`, ` 1`, `01` as a time; we only what Stripe writes.
    OddTime,
    /// They compare however many signatures there are; we at most 8: each costs a comparison.
    ManySignatures,
    /// They cut `v1=<signature>=x` at the second `=`; we ignore a signature of the wrong length.
    TextBehindSignature,
    /// They refuse a header with a bare `t` or `v1` part; we ignore such a part, as any other that is unknown.
    BareName,
    /// They break off at a signature that is not ASCII; we ignore it and look at the others.
    OddSignature,
    /// They can't read a body that is not UTF-8; we check the bytes as they came.
    BodyIsNoText,
}

struct Case {
    header: String,
    body: Vec<u8>,
    secrets: Vec<String>,
}

/// Chooses by a seed, so that a failure comes again.
struct Dice(Entropy);

impl Dice {
    fn below(&self, end: usize) -> usize {
        usize::try_from(self.0.up_to(end as u64 - 1)).unwrap()
    }

    fn one<'a, T: ?Sized>(&self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

fn case(dice: &Dice) -> Case {
    let secrets: Vec<String> =
        (0..=dice.below(3)).map(|number| format!("whsec_{number}_{}", dice.below(1_000))).collect();
    let mut body = json!({"id": format!("evt_{}", dice.below(100_000)), "object": "event"}).to_string().into_bytes();
    if dice.below(30) == 0 {
        body.push(0xff);
    }
    let offset =
        *dice.one(&[&0_i64, &0, &0, &-1, &1, &-299, &-300, &-301, &299, &300, &301, &86_400, &-86_400, &31_536_000]);
    let time_s = NOW_S.checked_add_signed(offset).unwrap();
    let secret = if dice.below(6) == 0 { "whsec_of_somebody_else" } else { &secrets[dice.below(secrets.len())] };
    let tag = v1(secret, time_s, &body);
    if dice.below(20) == 0 {
        let at = dice.below(body.len());
        body[at] ^= 1;
    }
    let header = header(dice, time_s, &tag);
    Case { header, body, secrets }
}

fn header(dice: &Dice, time_s: u64, tag: &str) -> String {
    let good = format!("t={time_s},v1={tag}");
    let other = "0".repeat(64);
    match dice.below(40) {
        0 => format!("v1={tag},t={time_s}"),
        1 => format!("t={time_s},t={},v1={tag}", time_s + 1),
        2 => format!("v1={tag}"),
        3 => format!("t={time_s}"),
        4 => format!("t={time_s},v0={tag}"),
        5 => {
            let (count, at) = (1 + dice.below(11), dice.below(11));
            let tags = (0..count).map(|number| if number == at { tag } else { &other });
            std::iter::once(format!("t={time_s}"))
                .chain(tags.map(|tag| format!("v1={tag}")))
                .collect::<Vec<_>>()
                .join(",")
        }
        6 => format!("t={}{time_s},v1={tag}", dice.one(&["+", "0", " ", "-", "1_"])),
        7 => format!("t={time_s}{},v1={tag}", dice.one(&[" ", "_0", ".0", "e0", "\t"])),
        8 => format!("t={time_s},v1={}", tag.to_uppercase()),
        9 => format!("t={time_s},v1={}", &tag[..dice.below(64)]),
        10 => format!("t={time_s},v1={tag}={}", dice.one(&["", "x", "="])),
        11 => format!("{good},{}", dice.one(&["", ",", "x", "=", "v1", "t", "v1=", "v2=1", "t1=5", "v1=\u{e9}"])),
        12 => format!("{},{good}", dice.one(&["", "v1=\u{e9}", "v1", "t", "x=y", "v1 =0"])),
        13 => format!("t={time_s}, v1={tag}"),
        14 => format!(" {good} "),
        15 => good.replace(',', dice.one(&[";", ",,", " ", ", "])),
        16 => String::new(),
        17 | 18 => {
            let mut bytes = good.into_bytes();
            for _ in 0..=dice.below(3) {
                let at = dice.below(bytes.len());
                bytes[at] = b" !+,-.0129:;=_abtvzAV1"[dice.below(22)];
            }
            String::from_utf8(bytes).unwrap()
        }
        19 => format!("t={},v1={tag}", dice.one(&["", "x", "99999999999999999999999", "-1", "1e9", "\u{661}"])),
        _ => good,
    }
}

fn theirs(cases: &[Case]) -> Vec<String> {
    let python = servers::program("stripe-python", "bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stripe_verify.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = cases.iter().map(|case| {
        json!({"now_s": NOW_S, "body": STANDARD.encode(&case.body), "header": case.header, "secrets": case.secrets})
    });
    let text: String = lines.map(|line| line.to_string() + "\n").collect();
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success());
    let mut lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let version: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
    assert_eq!(version["version"], "16.1.0", "the pinned library");
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn ours(case: &Case) -> Result<(), Refused> {
    let verifier = Verifier::try_new(Secret::new(case.secrets.join(",")), 300).unwrap();
    verifier.verify(case.header.as_bytes(), &case.body, NOW_S * 1_000)
}

/// Which of the differences it is; `None` for one that nobody wrote down.
fn known(case: &Case, ours: Result<(), Refused>) -> Option<Difference> {
    let parts: Vec<_> = case.header.split(',').collect();
    let times = parts.iter().filter(|part| part.split('=').next() == Some("t")).count();
    match ours {
        Err(Refused::TooNew) => Some(Difference::Future),
        Err(Refused::TooMany) => Some(Difference::ManySignatures),
        Err(Refused::NoTime) if times > 1 => Some(Difference::SeveralTimes),
        Err(Refused::NoTime) => Some(Difference::OddTime),
        Err(Refused::NoSignature | Refused::Mismatch) if parts.iter().any(|part| part.matches('=').count() > 1) => {
            Some(Difference::TextBehindSignature)
        }
        Ok(()) if std::str::from_utf8(&case.body).is_err() => Some(Difference::BodyIsNoText),
        Ok(()) if parts.contains(&"t") || parts.contains(&"v1") => Some(Difference::BareName),
        Ok(()) if !case.header.is_ascii() => Some(Difference::OddSignature),
        _ => None,
    }
}

#[test]
fn twelve_thousand_headers_are_judged_as_stripes_library_does_but_for_what_is_written_down() {
    let dice = Dice(Entropy::seeded(4));
    let cases: Vec<Case> = (0..HEADERS * testkit::scale()).map(|_| case(&dice)).collect();
    let theirs = theirs(&cases);
    assert_eq!(theirs.len(), cases.len());
    let (mut taken, mut refused, mut differ) = (0, 0, BTreeMap::new());
    for (case, theirs) in cases.iter().zip(&theirs) {
        match (ours(case), theirs == "ok") {
            (Ok(()), true) => taken += 1,
            (Err(_), false) => refused += 1,
            (ours, _) => {
                let difference = known(case, ours);
                let difference = difference.unwrap_or_else(|| {
                    panic!(
                        "not written down: {:?} with {:?}: ours {ours:?}, theirs {theirs}",
                        case.header, case.secrets
                    )
                });
                *differ.entry(difference).or_insert(0) += 1;
            }
        }
    }
    println!("{taken} taken by both, {refused} refused by both, differences {differ:?}");
    assert!(taken > 2_000 && refused > 2_000, "{taken} taken, {refused} refused");
    // The list holds nothing that does not happen.
    assert_eq!(differ.len(), 8, "{differ:?}");
}

#[test]
fn no_secret_is_refused_by_both() {
    let body = b"{}".to_vec();
    let header = format!("t={NOW_S},v1={}", v1("", NOW_S, &body));
    assert!(Verifier::try_new(Secret::new(""), 300).is_err());
    let case = Case { header, body, secrets: vec![String::new()] };
    assert_eq!(theirs(&[case]), ["SignatureVerificationError"]);
}
