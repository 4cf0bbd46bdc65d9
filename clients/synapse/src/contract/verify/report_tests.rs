use super::super::book::Offence;
use super::*;

fn report() -> Report {
    let target = Target { bus: None, public: None, stripe: None, services: Vec::new() };
    let check = |name: &str, verdict| Check { name: name.into(), verdict };
    let offence = Offence::new("a & b", "<nothing>").with("{\"x\":\"\u{1}\"}");
    let pages = vec![
        (Promise::new(Sort::Event, "presence.peer_went_online.v1"), vec![check("it comes", Verdict::Held)]),
        (
            Promise::new(Sort::Request, "presence.connect.v1"),
            vec![check("good", Verdict::Held), check("bad", Verdict::Broken(offence))],
        ),
        (Promise::new(Sort::Signal, "signaling.deliver.v1"), Vec::new()),
    ];
    Report::new(pages, &target, "verify-1", Duration::from_millis(1_500), &["signaling".to_owned()], None)
}

#[test]
fn one_broken_check_breaks_its_contract_and_the_run() {
    let report = report();
    assert_eq!((report.ok, report.held, report.broken, report.not_testable), (false, 1, 1, 1));
}

#[test]
fn people_read_what_was_expected_what_came_and_who_is_silent() {
    let text = report().text();
    for part in ["✗ bad", "expected  a & b", "got       <nothing>", "not answering: signaling", "1.5 s"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("not reached: signaling does not answer"), "{text}");
}

#[test]
fn junit_carries_any_text_and_counts_right() {
    let xml = report().junit();
    assert!(
        xml.contains("<testsuite name=\"presence\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\">"),
        "{xml}"
    );
    assert!(xml.contains("message=\"&lt;nothing&gt;\"") && xml.contains("a &amp; b"), "{xml}");
    assert!(!xml.contains('\u{1}') && xml.contains("<skipped message="), "{xml}");
    // Every element that is opened is closed.
    for name in ["testsuites", "testsuite", "testcase", "failure"] {
        let opened = xml.matches(&format!("<{name} ")).count() + xml.matches(&format!("<{name}>")).count();
        let alone = xml.lines().filter(|line| line.contains(&format!("<{name} ")) && line.ends_with("\"/>")).count();
        assert_eq!(opened - alone, xml.matches(&format!("</{name}>")).count(), "{name}: {xml}");
    }
}

#[test]
fn programs_read_every_check() {
    let value: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
    let broken = value["contracts"].as_array().unwrap().iter().find(|one| one["verdict"] == "broken").unwrap();
    assert_eq!(broken["checks"][1]["expected"], "a & b");
}

#[test]
fn the_exit_code_says_whether_it_was_found_out() {
    let target = Target { bus: None, public: None, stripe: None, services: Vec::new() };
    let code = |verdicts: Vec<Verdict>, cut: Option<&str>| {
        let checks = verdicts.into_iter().enumerate();
        let checks = checks.map(|(number, verdict)| Check { name: format!("{number}"), verdict }).collect();
        let pages = vec![(Promise::new(Sort::Event, "presence.peer_went_online.v1"), checks)];
        Report::new(pages, &target, "verify-1", Duration::ZERO, &[], cut).exit_code()
    };
    let broken = || Verdict::Broken(Offence::new("a", "b"));
    assert_eq!(code(vec![Verdict::Held], None), 0);
    assert_eq!(code(vec![Verdict::Held, broken()], None), 1);
    assert_eq!(code(vec![broken()], Some("it was interrupted")), 1, "what was found stands");
    assert_eq!(code(vec![Verdict::Held], Some("it was interrupted")), 2);
    assert_eq!(code(Vec::new(), None), 2, "nothing was looked at");
}
