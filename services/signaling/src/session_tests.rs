use super::*;

const PATIENCE: Patience = Patience { setup_ms: 1_000, idle_ms: 10_000 };

fn peer(name: &str) -> PeerId {
    name.parse().unwrap()
}

fn session_of(names: &[&str]) -> Session {
    Session::open("s1".parse().unwrap(), names.iter().map(|name| peer(name)).collect(), 0, PATIENCE).0
}

fn session() -> Session {
    session_of(&["alice", "bob"])
}

fn offer(generation: u32) -> PeerSignal {
    PeerSignal::Offer { sdp: "v=0".into(), generation }
}

fn answer(generation: u32) -> PeerSignal {
    PeerSignal::Answer { sdp: "v=0".into(), generation }
}

fn candidate(generation: u32) -> PeerSignal {
    PeerSignal::Candidate { candidate: String::new(), sdp_mid: None, generation }
}

fn accept(session: &Session, from: &str, to: &str, signal: &PeerSignal, now_ms: u64) -> Result<Step, SendRefusal> {
    session.clone().accept(&peer(from), &peer(to), signal, None, now_ms, PATIENCE)
}

fn forwarded(step: Result<Step, SendRefusal>) -> Session {
    match step {
        Ok(Step::Forward(session)) => session,
        other => panic!("not forwarded: {other:?}"),
    }
}

fn ended(change: Change) -> SessionEnd {
    match change {
        Change::Over(SignalingEvent::SessionEnded(fact)) => fact.reason,
        other => panic!("not over: {other:?}"),
    }
}

#[test]
fn exactly_one_side_of_every_two_is_polite() {
    for (one, two) in [("alice", "bob"), ("bob", "carol"), ("carol", "alice")] {
        assert_ne!(Session::is_polite(&peer(one), &peer(two)), Session::is_polite(&peer(two), &peer(one)));
    }
}

#[test]
fn a_colliding_offer_of_the_same_generation_is_passed_on() {
    let after = forwarded(accept(&session(), "alice", "bob", &offer(1), 0));
    assert_eq!(forwarded(accept(&after, "bob", "alice", &offer(1), 0)), after);
}

#[test]
fn signals_of_an_older_negotiation_are_stale() {
    let second = forwarded(accept(&session(), "alice", "bob", &offer(1), 0));
    let second = forwarded(accept(&second, "alice", "bob", &offer(2), 0));
    assert_eq!(accept(&second, "bob", "alice", &candidate(1), 0), Err(SendRefusal::StaleGeneration { current: 2 }));
    assert_eq!(accept(&second, "bob", "alice", &offer(9), 0), Err(SendRefusal::StaleGeneration { current: 2 }));
}

#[test]
fn each_two_members_negotiate_for_themselves() {
    let three = session_of(&["alice", "bob", "carol"]);
    let with_bob = forwarded(accept(&three, "alice", "bob", &offer(1), 0));
    let with_bob = forwarded(accept(&with_bob, "bob", "alice", &offer(2), 0));
    assert_eq!(accept(&with_bob, "alice", "carol", &candidate(2), 0), Err(SendRefusal::StaleGeneration { current: 0 }));
    forwarded(accept(&with_bob, "carol", "alice", &offer(1), 0));
}

#[test]
fn a_session_that_was_stored_before_links_goes_on_in_its_negotiation() {
    let stored = r#"{"session_id":"s1","peers":["alice","bob"],"generation":3,"opened_at_ms":5,"idle_until_ms":9,
        "sequence":1}"#;
    let old: Session = serde_json::from_str(stored).unwrap();
    forwarded(accept(&old, "alice", "bob", &candidate(3), 0));
    assert_eq!(accept(&old, "alice", "bob", &candidate(1), 0), Err(SendRefusal::StaleGeneration { current: 3 }));
}

#[test]
fn a_signal_is_for_the_other_one_or_for_whom_it_names() {
    let (two, three) = (session(), session_of(&["alice", "bob", "carol"]));
    let targets = |session: &Session, from: &str, to: Option<&str>, signal: &PeerSignal| {
        session.targets(&peer(from), to.map(peer).as_ref(), signal)
    };
    assert_eq!(targets(&two, "bob", None, &offer(1)), Ok(vec![peer("alice")]));
    assert_eq!(targets(&two, "mallory", None, &offer(1)), Err(SendRefusal::NotMember));
    assert_eq!(targets(&two, "bob", Some("bob"), &offer(1)), Err(SendRefusal::TargetNeeded));
    assert_eq!(targets(&three, "bob", Some("carol"), &offer(1)), Ok(vec![peer("carol")]));
    assert_eq!(targets(&three, "bob", None, &offer(1)), Err(SendRefusal::TargetNeeded));
    let bye = PeerSignal::Bye { reason: None };
    assert_eq!(targets(&three, "bob", None, &bye), Ok(vec![peer("alice"), peer("carol")]));
}

#[test]
fn bye_ends_a_session_of_two_and_leaves_a_larger_one() {
    let bye = PeerSignal::Bye { reason: None };
    let step = accept(&session(), "bob", "alice", &bye, 0);
    assert!(matches!(step, Ok(Step::End(SignalingEvent::SessionEnded(fact))) if fact.by == Some(peer("bob"))));
    let left = forwarded(accept(&session_of(&["alice", "bob", "carol"]), "bob", "alice", &bye, 0));
    assert_eq!(left.peers, [peer("alice"), peer("carol")]);
}

#[test]
fn who_is_never_answered_waits_no_longer_than_the_setup_takes() {
    let offered = forwarded(accept(&session(), "alice", "bob", &offer(1), 900));
    assert_eq!(offered.clone().after(999), Change::Stays);
    assert_eq!(ended(offered.clone().after(1_000)), SessionEnd::NotAnswered);
    let answered = forwarded(accept(&offered, "bob", "alice", &answer(1), 950));
    assert_eq!(answered.clone().after(10_949), Change::Stays);
    assert_eq!(ended(answered.after(10_950)), SessionEnd::TimedOut);
}

#[test]
fn a_lost_member_is_waited_for_and_then_forgotten() {
    let Change::Now(waiting) = session().lose(&peer("bob"), 500) else { panic!("it changed") };
    assert_eq!(waiting.deadline_ms(), 500);
    assert_eq!(waiting.clone().after(499), Change::Stays);
    assert_eq!(ended(waiting.clone().after(500)), SessionEnd::PeerLost);
    let Change::Now(back) = waiting.find_again(&peer("bob")) else { panic!("it changed") };
    assert_eq!(back, session());
    let three = session_of(&["alice", "bob", "carol"]);
    let Change::Now(two) = three.without(vec![peer("bob")]) else { panic!("two are left") };
    assert_eq!(two.peers, [peer("alice"), peer("carol")]);
}

#[test]
fn a_certificate_stays_the_same_for_the_sessions_life() {
    let show = |session: Session, from: &str, to: &str, fingerprint: &str| {
        session.accept(&peer(from), &peer(to), &offer(1), Some(fingerprint), 0, PATIENCE)
    };
    let shown = forwarded(show(session(), "alice", "bob", "sha-256 AA"));
    let shown = forwarded(show(shown, "bob", "alice", "sha-256 BB"));
    assert!(matches!(show(shown.clone(), "alice", "bob", "sha-256 CC"), Err(SendRefusal::IdentityMismatch { .. })));
    assert_eq!(forwarded(show(shown.clone(), "alice", "bob", "sha-256 AA")), shown);
}

#[test]
fn candidates_are_not_worth_a_write_each() {
    let answered = forwarded(accept(&session(), "alice", "bob", &offer(1), 0));
    let answered = forwarded(accept(&answered, "bob", "alice", &answer(1), 0));
    let soon = forwarded(accept(&answered, "bob", "alice", &candidate(1), 900));
    assert!(soon.is_nearly(&answered, PATIENCE));
    let later = forwarded(accept(&answered, "bob", "alice", &candidate(1), 1_000));
    assert!(!later.is_nearly(&answered, PATIENCE));
}
