use std::fmt::{Debug, Display};
use std::thread;
use std::time::{Duration, Instant};

// Short against anything a test waits for, long against the cost of a typical look.
const INTERVAL: Duration = Duration::from_millis(10);

/// What one look gives: `None` and `Err` mean "not yet", and an error's text is shown when time runs out.
pub trait Attempt {
    /// What the wait is for.
    type Output;

    /// The value, or what was seen instead of it.
    ///
    /// # Errors
    /// Not there yet.
    fn settle(self) -> Result<Self::Output, String>;
}

impl<T> Attempt for Option<T> {
    type Output = T;

    fn settle(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing yet".to_owned())
    }
}

impl<T, E: Display + Debug> Attempt for Result<T, E> {
    type Output = T;

    fn settle(self) -> Result<T, String> {
        self.map_err(|seen| seen.to_string())
    }
}

/// Looks every 10 ms until there is a value. The closure gives an `Option`, or a `Result` whose error says what it saw
/// instead.
///
/// # Panics
/// After `deadline`, naming `what` and the last thing seen. A look that hangs counts.
pub async fn eventually<A: Attempt>(deadline: Duration, what: &str, mut look: impl AsyncFnMut() -> A) -> A::Output {
    let mut seen = "the first look did not return".to_owned();
    let wait = async {
        loop {
            match look().await.settle() {
                Ok(value) => return value,
                Err(state) => seen = state,
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    match tokio::time::timeout(deadline, wait).await {
        Ok(value) => value,
        Err(_) => panic!("waited {deadline:?} for {what}; last seen: {seen}"),
    }
}

/// [`eventually`] for tests without a runtime. Blocks the thread.
///
/// # Panics
/// After `deadline`, naming `what` and the last thing seen. A look that hangs is not cut off.
#[allow(clippy::disallowed_methods)] // the test servers' start is measured in real time
pub fn eventually_blocking<A: Attempt>(deadline: Duration, what: &str, mut look: impl FnMut() -> A) -> A::Output {
    let until = Instant::now() + deadline;
    loop {
        match look().settle() {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < until, "waited {deadline:?} for {what}; last seen: {seen}"),
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_the_first_value() {
        let mut looks = 0;
        let value = eventually(Duration::from_secs(5), "three looks", async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(value.await, 3);
        assert_eq!(eventually_blocking(Duration::ZERO, "a value", || Some(1)), 1);
    }

    #[tokio::test]
    #[should_panic(expected = "waited 50ms for the queue to drain; last seen: 2 left")]
    async fn names_what_was_awaited_and_what_was_seen() {
        eventually(Duration::from_millis(50), "the queue to drain", async || Err::<(), _>("2 left")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "for an answer; last seen: the first look did not return")]
    async fn a_look_that_hangs_is_cut_off() {
        eventually(Duration::from_millis(50), "an answer", async || std::future::pending::<Option<()>>().await).await;
    }

    #[test]
    #[should_panic(expected = "for a sign; last seen: nothing yet")]
    fn the_blocking_form_gives_up_too() {
        eventually_blocking(Duration::from_millis(20), "a sign", || None::<()>);
    }
}
