use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// No answer for `delay_ms`, then the connection is reset.
    Timeout,
    /// The answer comes after `delay_ms`; the idempotency key is in use meanwhile.
    Slow,
    /// Stripe's error envelope with `status`.
    Error,
    /// The connection is reset.
    Reset,
    /// An HTML page with `status`, as a proxy in between would send.
    Html,
    /// The answer's body comes in pieces over `delay_ms`.
    Drip,
    /// Half of the answer's body comes, then the connection is reset.
    Cut,
}

impl FaultKind {
    /// Whether the request runs whatever the stage: these spoil only the way back.
    pub(crate) fn spoils_answer(self) -> bool {
        matches!(self, Self::Slow | Self::Drip | Self::Cut)
    }
}

/// Whether the request took effect before it went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The request is lost: nothing happened.
    #[default]
    Before,
    /// The answer is lost: everything happened.
    After,
}

/// A fault for the next `times` requests that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    #[serde(default)]
    pub(crate) stage: Stage,
    /// `error` and `html`: the HTTP status. Default 500 and 502.
    #[serde(default)]
    pub(crate) status: Option<u16>,
    /// `timeout`, `slow` and `drip`: how long. Default 60,000, 1,000 and 1,000.
    #[serde(default)]
    pub(crate) delay_ms: Option<u64>,
    /// Adds `Retry-After`.
    #[serde(default)]
    pub(crate) retry_after_s: Option<u64>,
    /// Adds `Stripe-Should-Retry`.
    #[serde(default)]
    pub(crate) should_retry: Option<bool>,
    /// Only requests with this method; all when absent.
    #[serde(default)]
    pub(crate) method: Option<String>,
    /// Only paths that begin so; `/v1/` when absent.
    #[serde(default = "every_path")]
    pub(crate) path: String,
    /// Only requests whose `Idempotency-Key` is this; all when absent.
    #[serde(default)]
    pub(crate) idempotency_key: Option<String>,
    /// How many requests it strikes. Default 1.
    #[serde(default = "once")]
    pub(crate) times: u32,
}

fn every_path() -> String {
    "/v1/".to_owned()
}

fn once() -> u32 {
    1
}

impl Fault {
    /// What is wrong with it, naming field and rule.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.times == 0 {
            return Err("times: has to be at least 1".to_owned());
        }
        if !(400..=599).contains(&self.status()) {
            return Err(format!("status: {} is not in 400..=599", self.status()));
        }
        if self.kind.spoils_answer() && self.stage == Stage::After {
            return Err("stage: `slow`, `drip` and `cut` have no stages, the request always takes effect".to_owned());
        }
        if self.delay_ms() > 600_000 {
            return Err(format!("delay_ms: {} is over 600000", self.delay_ms()));
        }
        Ok(())
    }

    /// The HTTP status it answers with.
    pub(crate) fn status(&self) -> u16 {
        self.status.unwrap_or(if self.kind == FaultKind::Html { 502 } else { 500 })
    }

    /// How long it holds the request.
    pub(crate) fn delay_ms(&self) -> u64 {
        self.delay_ms.unwrap_or(if self.kind.spoils_answer() { 1_000 } else { 60_000 })
    }
}

/// The faults that wait, in the order they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    /// Adds a fault; false when `limit` already wait.
    pub(crate) fn add(&mut self, fault: Fault, limit: usize) -> bool {
        let room = self.waiting.len() < limit;
        if room {
            self.waiting.push(fault);
        }
        room
    }

    /// The first fault that strikes this request.
    pub(crate) fn take(&mut self, method: &str, path: &str, key: Option<&str>) -> Option<Fault> {
        let at = self.waiting.iter().position(|fault| {
            fault.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && path.starts_with(&fault.path)
                && (fault.idempotency_key.is_none() || fault.idempotency_key.as_deref() == key)
        })?;
        let fault = self.waiting[at].clone();
        self.waiting[at].times -= 1;
        if self.waiting[at].times == 0 {
            self.waiting.remove(at);
        }
        Some(fault)
    }

    /// Those that still wait.
    pub(crate) fn waiting(&self) -> &[Fault] {
        &self.waiting
    }

    /// Forgets them all.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}
