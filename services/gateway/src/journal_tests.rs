use contracts::frames::Note;

use super::*;

const LIMITS: Limits = Limits {
    history_frames: 4,
    history_bytes: 100_000,
    history_ttl_ms: 1_000,
    history_total_bytes: 1_000_000,
    waiting_frames: 8,
    waiting_bytes: 100_000,
};

fn journal(limits: Limits) -> Journal {
    Journal::new("here.1".into(), limits, Arc::default())
}

fn push(source: &str) -> Push {
    let note = Note { action: "chat".into(), message: source.to_owned(), session_id: None };
    let from = "bob".parse().unwrap();
    Push::new(source, ServerFrame::Message { offset: 0, from, broadcast: None, note })
}

fn fill(journal: &Journal, sources: &[&str]) {
    sources.iter().for_each(|source| assert!(journal.push(&push(source), 0).is_ok()));
}

fn texts(frames: &[KeptFrame]) -> Vec<&str> {
    frames.iter().map(|kept| kept.source.as_str()).collect()
}

#[tokio::test]
async fn frames_are_read_in_order_by_the_holder_only() {
    let journal = journal(LIMITS);
    assert!(journal.attach(7, 0, false));
    fill(&journal, &["a", "b"]);
    let (number, _) = journal.next(7, 0).await;
    assert_eq!((number, journal.next(7, 1).await.0), (1, 2));
    assert!(journal.attach(8, 1, false));
    assert!(journal.at(7, 2).is_none(), "who was replaced reads nothing more");
    assert_eq!(journal.next(8, 1).await.0, 2);
}

#[test]
fn what_was_missed_is_told_exactly_or_not_at_all() {
    let journal = journal(LIMITS);
    assert!(journal.attach(1, 0, false));
    fill(&journal, &["a", "b", "c"]);
    journal.written(1, 3, 0);
    journal.detach(1, 0);
    fill(&journal, &["d"]);
    let (complete, frames, seen) = journal.after(2);
    assert_eq!((complete, texts(&frames), seen), (true, vec!["c", "d"], vec!["a".to_owned(), "b".to_owned()]));
    fill(&journal, &["e", "f"]);
    assert!(!journal.after(1).0, "the oldest two are over the limit");
    assert!(journal.after(2).0 && journal.after(6).0);
    assert!(!journal.after(7).0, "it was never pushed");
    assert!(!journal.attach(2, 1, false) && !journal.attach(2, 7, false));
    assert!(journal.attach(2, 2, false));
}

#[test]
fn time_ends_what_was_written_and_never_what_waits() {
    let journal = journal(LIMITS);
    assert!(journal.attach(1, 0, false));
    fill(&journal, &["a", "b"]);
    journal.written(1, 1, 0);
    journal.trim(5_000);
    assert!(!journal.after(0).0);
    assert_eq!(texts(&journal.after(1).1), ["b"]);
    journal.detach(1, 5_000);
    assert!(!journal.after(1).0 && journal.after(2).0);
}

#[test]
fn who_reads_too_slowly_is_told_apart() {
    let journal = journal(LIMITS);
    assert!(journal.attach(1, 0, false));
    fill(&journal, &["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(journal.push(&push("9"), 0), Err(TooSlow));
    journal.written(1, 1, 0);
    assert_eq!(journal.push(&push("9"), 0), Ok(9));
    let narrow = self::journal(Limits { waiting_bytes: 300, ..LIMITS });
    assert!(narrow.attach(1, 0, false));
    assert_eq!(narrow.push(&push(&"x".repeat(400)), 0), Ok(1), "one frame always fits");
    assert_eq!(narrow.push(&push("y"), 0), Err(TooSlow));
}

#[test]
fn a_process_full_of_history_forgets_and_says_so() {
    let journal = journal(Limits { history_total_bytes: 700, ..LIMITS });
    assert!(journal.attach(1, 0, false));
    fill(&journal, &["a", "b", "c"]);
    journal.written(1, 3, 0);
    assert!(!journal.after(0).0 && journal.after(3).0);
    let total = Arc::clone(&journal.total);
    assert!(total.load(Ordering::Relaxed) <= 700);
    drop(journal);
    assert_eq!(total.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_message_settles_when_written_or_when_acknowledged() {
    let journal = journal(LIMITS);
    assert!(journal.attach(1, 0, false));
    fill(&journal, &["a", "b"]);
    let (first, second) = (journal.settled(1), journal.settled(2));
    journal.written(1, 1, 0);
    first.await.unwrap();
    assert!(journal.attach(2, 1, true));
    journal.written(2, 2, 0);
    assert!(!journal.ack(3), "it was never pushed");
    assert!(journal.ack(2));
    second.await.unwrap();
}

#[tokio::test]
async fn what_comes_by_two_ways_is_told_once() {
    let journal = journal(LIMITS);
    assert!(journal.attach(1, 0, true));
    fill(&journal, &["before", "both", "own"]);
    let settled = journal.settled(3);
    let theirs =
        ["missed", "both"].map(|source| KeptFrame { source: source.to_owned(), frame: (*push(source).frame).clone() });
    journal.import(theirs.into(), vec!["before".to_owned()], 0);
    assert_eq!(texts(&journal.after(0).1), ["missed", "both", "own"]);
    assert!(journal.ack(3));
    settled.await.unwrap();
}
