//! A session between two or more peers and its rules. Pure.
//!
//! Each two members negotiate for themselves: a [`Link`] has their generation and the certificates they showed.

use std::collections::BTreeMap;

use contracts::events::signaling::{SessionEnd, SessionEndedV1, SessionOpenedV1, SignalingEvent};
use contracts::requests::signaling::SendRefusal;
use contracts::signals::signaling::PeerSignal;
use contracts::{PeerId, SessionId};
use serde::{Deserialize, Serialize};

/// A session as signaling remembers it until it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) session_id: SessionId,
    /// The first one opened it.
    pub(crate) peers: Vec<PeerId>,
    /// The negotiation of a session of two that was opened before links were kept.
    #[serde(default)]
    generation: u32,
    /// By [`pair`].
    #[serde(default)]
    links: BTreeMap<String, Link>,
    /// When it was opened, Unix milliseconds.
    #[serde(default)]
    pub(crate) opened_at_ms: u64,
    /// Whether somebody ever answered.
    #[serde(default)]
    pub(crate) answered: bool,
    /// When it is over unless something is said, Unix milliseconds.
    pub(crate) idle_until_ms: u64,
    /// Members that are gone, and until when they are waited for, Unix milliseconds.
    #[serde(default)]
    lost: BTreeMap<PeerId, u64>,
    /// Counts its facts.
    pub(crate) sequence: u64,
}

/// What two members have agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    /// Which negotiation they are in; offers and restarts start a newer one.
    generation: u32,
    /// The certificate that each of them showed: it stays the same for the session's life.
    #[serde(default)]
    fingerprints: BTreeMap<PeerId, String>,
}

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until somebody answers, milliseconds.
    pub(crate) setup_ms: u64,
    /// In silence, milliseconds.
    pub(crate) idle_ms: u64,
}

/// What a signal does to its session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Pass it on; the session is now this.
    Forward(Session),
    /// Pass it on; the session is over.
    End(SignalingEvent),
}

/// What time or a loss does to a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Stays,
    /// The session is now this.
    Now(Session),
    Over(SignalingEvent),
}

impl Session {
    /// A new session and the fact that it stands.
    pub(crate) fn open(
        session_id: SessionId,
        peers: Vec<PeerId>,
        now_ms: u64,
        patience: Patience,
    ) -> (Self, SignalingEvent) {
        let fact = SessionOpenedV1 { session_id: session_id.clone(), peers: peers.clone() };
        let session = Self {
            session_id,
            peers,
            generation: 0,
            links: BTreeMap::new(),
            opened_at_ms: now_ms,
            answered: false,
            idle_until_ms: now_ms + patience.setup_ms,
            lost: BTreeMap::new(),
            sequence: 1,
        };
        (session, fact.into())
    }

    /// When there is something to decide unless something is said before, Unix milliseconds.
    pub(crate) fn deadline_ms(&self) -> u64 {
        self.lost.values().copied().fold(self.idle_until_ms, u64::min)
    }

    /// Whom a signal is for: the other one of two, the one it names, everybody else for a bye.
    pub(crate) fn targets(
        &self,
        from: &PeerId,
        to: Option<&PeerId>,
        signal: &PeerSignal,
    ) -> Result<Vec<PeerId>, SendRefusal> {
        if !self.peers.contains(from) {
            return Err(SendRefusal::NotMember);
        }
        let others: Vec<PeerId> = self.peers.iter().filter(|peer| *peer != from).cloned().collect();
        match to {
            _ if matches!(signal, PeerSignal::Bye { .. }) => Ok(others),
            Some(to) if others.contains(to) => Ok(vec![to.clone()]),
            None if others.len() == 1 => Ok(others),
            _ => Err(SendRefusal::TargetNeeded),
        }
    }

    /// Whether `peer` yields when it and `other` offer at once. Exactly one of the two does: the one whose id sorts later,
    /// so both sides and every process agree without asking.
    pub(crate) fn is_polite(peer: &PeerId, other: &PeerId) -> bool {
        peer > other
    }

    /// The members as the others are told of them: only where there are more than two.
    pub(crate) fn shown_peers(&self) -> Vec<PeerId> {
        if self.peers.len() > 2 { self.peers.clone() } else { Vec::new() }
    }

    /// Takes a signal in. Colliding offers of one generation both pass: the polite side yields (W3C perfect negotiation).
    /// `fingerprint` is that of the signal's SDP.
    pub(crate) fn accept(
        mut self,
        from: &PeerId,
        to: &PeerId,
        signal: &PeerSignal,
        fingerprint: Option<&str>,
        now_ms: u64,
        patience: Patience,
    ) -> Result<Step, SendRefusal> {
        let mut link =
            self.links.remove(&pair(from, to)).unwrap_or(Link { generation: self.generation, ..Link::default() });
        let current = link.generation;
        match signal {
            PeerSignal::Bye { .. } => {
                self.forget(from);
                if self.peers.len() < 2 {
                    return Ok(Step::End(self.ended(SessionEnd::Bye, Some(from.clone()))));
                }
                return Ok(Step::Forward(self));
            }
            PeerSignal::Unknown => {
                let violations = vec!["type: must be one of: offer, answer, candidate, restart, bye".into()];
                return Err(SendRefusal::InvalidSignal { violations });
            }
            PeerSignal::Offer { generation, .. } | PeerSignal::Restart { generation } => {
                // A jump would let one peer lock the other out of all generations below it.
                if *generation < current || *generation > current + 1 {
                    return Err(SendRefusal::StaleGeneration { current });
                }
                link.generation = *generation;
            }
            PeerSignal::Answer { generation, .. } | PeerSignal::Candidate { generation, .. } => {
                if *generation != current {
                    return Err(SendRefusal::StaleGeneration { current });
                }
                self.answered |= matches!(signal, PeerSignal::Answer { .. });
            }
        }
        if let Some(fingerprint) = fingerprint {
            let shown = link.fingerprints.entry(from.clone()).or_insert_with(|| fingerprint.to_owned());
            if shown != fingerprint {
                let message = "sdp: its certificate is another one than before in this session; keep one certificate \
                               per session, or open a new session";
                return Err(SendRefusal::IdentityMismatch { message: message.into() });
            }
        }
        self.links.insert(pair(from, to), link);
        if self.answered {
            self.idle_until_ms = now_ms + patience.idle_ms;
        }
        Ok(Step::Forward(self))
    }

    /// Whether only the end of silence differs, and by less than a tenth of it: most candidates do no more than that, and
    /// it need not be written each time.
    pub(crate) fn is_nearly(&self, before: &Self, patience: Patience) -> bool {
        let same = Self { idle_until_ms: before.idle_until_ms, ..self.clone() } == *before;
        same && self.idle_until_ms < before.idle_until_ms + patience.idle_ms / 10
    }

    /// A member is gone, but may come back until then.
    pub(crate) fn lose(mut self, peer: &PeerId, until_ms: u64) -> Change {
        self.lost.insert(peer.clone(), until_ms);
        Change::Now(self)
    }

    /// A member is back.
    pub(crate) fn find_again(mut self, peer: &PeerId) -> Change {
        if self.lost.remove(peer).is_some() { Change::Now(self) } else { Change::Stays }
    }

    /// Members are gone for good.
    pub(crate) fn without(mut self, gone: Vec<PeerId>) -> Change {
        gone.iter().for_each(|peer| self.forget(peer));
        if self.peers.len() < 2 { Change::Over(self.ended(SessionEnd::PeerLost, None)) } else { Change::Now(self) }
    }

    /// What is over at `now_ms`.
    pub(crate) fn after(self, now_ms: u64) -> Change {
        if self.idle_until_ms <= now_ms {
            let reason = if self.answered { SessionEnd::TimedOut } else { SessionEnd::NotAnswered };
            return Change::Over(self.ended(reason, None));
        }
        let gone: Vec<PeerId> =
            self.lost.iter().filter(|(_, until_ms)| **until_ms <= now_ms).map(|(peer, _)| peer.clone()).collect();
        if gone.is_empty() { Change::Stays } else { self.without(gone) }
    }

    fn forget(&mut self, peer: &PeerId) {
        self.peers.retain(|member| member != peer);
        self.lost.remove(peer);
    }

    fn ended(&self, reason: SessionEnd, by: Option<PeerId>) -> SignalingEvent {
        SessionEndedV1 { session_id: self.session_id.clone(), reason, by }.into()
    }
}

/// Names two members, whoever comes first. No id has a slash.
fn pair(one: &PeerId, two: &PeerId) -> String {
    let (first, second) = if one < two { (one, two) } else { (two, one) };
    format!("{first}/{second}")
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
