//! What is kept for a peer that is not here, and the rules of it. Pure.
//!
//! Every peer has one mailbox, bounded in count and bytes. It is emptied in order, oldest first, and what is too old for
//! the peer expires; either way a sender of a signal gets a receipt, through a mailbox of its own.

use contracts::signals::signaling::{Binding, DeliverV1, Fate, PeerSignal, Receipt, ReceiptV1};
use contracts::{NodeId, PeerId, SessionId, SignalId};
use serde::{Deserialize, Serialize};

/// Bounds of every mailbox and times of its emptying.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) max_signals: u32,
    pub(crate) max_bytes: u64,
    pub(crate) ttl_ms: u64,
    /// Bounds of the wait between two tries.
    pub(crate) retry_ms: (u64, u64),
}

/// The state of a mailbox, without what lies in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) count: u32,
    pub(crate) bytes: u64,
    /// The number of the next piece.
    next: u64,
    /// Tries that failed since something was last taken.
    pub(crate) attempts: u32,
    /// When it is looked at next, Unix milliseconds.
    pub(crate) due_ms: u64,
    /// Until when one process empties it alone, Unix milliseconds.
    #[serde(default)]
    pub(crate) claimed_until_ms: u64,
}

/// One piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mail {
    pub(crate) id: SignalId,
    pub(crate) content: Content,
    pub(crate) expires_at_ms: u64,
}

/// What a piece says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Signal(Box<Letter>),
    Receipt(Receipt),
}

/// A signal on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) session_id: SessionId,
    pub(crate) from: PeerId,
    pub(crate) polite: bool,
    #[serde(default)]
    pub(crate) peers: Vec<PeerId>,
    pub(crate) signal: PeerSignal,
    #[serde(default)]
    pub(crate) binding: Option<Binding>,
}

/// No more is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Head {
    /// Makes room for a piece of that many bytes; gives its number.
    pub(crate) fn push(&mut self, bytes: usize, rules: &Rules, now_ms: u64) -> Result<u64, Full> {
        let bytes = bytes as u64;
        if self.count >= rules.max_signals || self.bytes.saturating_add(bytes) > rules.max_bytes {
            return Err(Full);
        }
        if self.count == 0 {
            self.due_ms = now_ms + rules.retry_ms.0;
        }
        (self.count, self.bytes, self.next) = (self.count + 1, self.bytes + bytes, self.next + 1);
        Ok(self.next)
    }

    /// A piece of that many bytes is gone.
    pub(crate) fn pop(&mut self, bytes: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    /// When a mailbox is looked at again that could not be emptied: twice as long after each failure.
    pub(crate) fn wait_ms(&self, rules: &Rules) -> u64 {
        let (first, longest) = rules.retry_ms;
        first.saturating_mul(1 << self.attempts.min(20)).min(longest)
    }
}

impl Letter {
    /// As the other peer's gateway gets it.
    pub(crate) fn deliver(&self, id: &SignalId, to: &PeerId, reply_to: &NodeId) -> DeliverV1 {
        DeliverV1 {
            session_id: self.session_id.clone(),
            to: to.clone(),
            from: self.from.clone(),
            polite: self.polite,
            signal: self.signal.clone(),
            signal_id: Some(id.clone()),
            peers: self.peers.clone(),
            binding: self.binding.clone(),
            reply_to: Some(reply_to.clone()),
        }
    }

    /// Whether it is worth telling when its session is over: only the news of that end.
    pub(crate) fn outlives_session(&self) -> bool {
        matches!(self.signal, PeerSignal::Bye { .. })
    }

    /// What its sender is told.
    pub(crate) fn receipt(&self, id: &SignalId, to: &PeerId, fate: Fate) -> Receipt {
        Receipt { signal_id: id.clone(), session_id: self.session_id.clone(), to: to.clone(), fate }
    }
}

/// A receipt as the sender's gateway gets it.
pub(crate) fn receipt(id: &SignalId, sender: &PeerId, receipt: &Receipt, reply_to: &NodeId) -> ReceiptV1 {
    ReceiptV1 { sender: sender.clone(), receipt: receipt.clone(), receipt_id: id.clone(), reply_to: reply_to.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { max_signals: 3, max_bytes: 100, ttl_ms: 1_000, retry_ms: (100, 500) };

    #[test]
    fn a_mailbox_is_bounded_in_count_and_bytes_and_numbers_never_come_twice() {
        let mut head = Head::default();
        assert_eq!(
            [head.push(10, &RULES, 0), head.push(10, &RULES, 0), head.push(10, &RULES, 0)],
            [Ok(1), Ok(2), Ok(3)]
        );
        assert_eq!(head.push(1, &RULES, 0), Err(Full));
        head.pop(10);
        assert_eq!(head.push(81, &RULES, 0), Err(Full));
        assert_eq!(head.push(80, &RULES, 0), Ok(4));
        assert_eq!((head.count, head.bytes), (3, 100));
    }

    #[test]
    fn waits_grow_up_to_a_bound() {
        let waits: Vec<u64> =
            [0, 1, 2, 3, 40].map(|attempts| Head { attempts, ..Head::default() }.wait_ms(&RULES)).into();
        assert_eq!(waits, [100, 200, 400, 500, 500]);
    }
}
