//! A session between two peers and its rules. Pure.

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
    pub(crate) peers: [PeerId; 2],
    /// Which negotiation the peers are in; offers and restarts start a newer one.
    pub(crate) generation: u32,
    /// When it was opened, Unix milliseconds.
    #[serde(default)]
    pub(crate) opened_at_ms: u64,
    /// When it is over unless something is said, Unix milliseconds.
    pub(crate) idle_until_ms: u64,
    /// Counts its facts.
    pub(crate) sequence: u64,
}

/// What a signal does to its session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Pass it on; the session is now this.
    Forward(Session),
    /// Pass it on; the session is over.
    End(SignalingEvent),
}

impl Session {
    /// A new session and the fact that it stands.
    pub(crate) fn open(
        session_id: SessionId,
        from: PeerId,
        to: PeerId,
        opened_at_ms: u64,
        idle_until_ms: u64,
    ) -> (Self, SignalingEvent) {
        let fact = SessionOpenedV1 { session_id: session_id.clone(), peers: vec![from.clone(), to.clone()] };
        (Self { session_id, peers: [from, to], generation: 0, opened_at_ms, idle_until_ms, sequence: 1 }, fact.into())
    }

    /// The other peer; a refusal when `from` is not a member.
    pub(crate) fn other(&self, from: &PeerId) -> Result<&PeerId, SendRefusal> {
        match &self.peers {
            [one, two] if one == from => Ok(two),
            [one, two] if two == from => Ok(one),
            _ => Err(SendRefusal::NotMember),
        }
    }

    /// Whether `peer` yields when both offer at once. Exactly one of two does: the one whose id sorts later, so both
    /// sides and every process agree without asking.
    pub(crate) fn is_polite(&self, peer: &PeerId) -> bool {
        self.peers.iter().all(|member| peer >= member)
    }

    /// Takes a signal in. Colliding offers of one generation both pass: the polite side yields (W3C perfect negotiation).
    pub(crate) fn accept(
        mut self,
        from: &PeerId,
        signal: &PeerSignal,
        idle_until_ms: u64,
    ) -> Result<Step, SendRefusal> {
        self.other(from)?;
        match signal {
            PeerSignal::Bye { .. } => {
                return Ok(Step::End(self.ended(SessionEnd::Bye, Some(from.clone()))));
            }
            PeerSignal::Unknown => {
                let violations = vec!["type: must be one of: offer, answer, candidate, restart, bye".into()];
                return Err(SendRefusal::InvalidSignal { violations });
            }
            PeerSignal::Offer { generation, .. } | PeerSignal::Restart { generation } => {
                // A jump would let one peer lock the other out of all generations below it.
                if *generation < self.generation || *generation > self.generation + 1 {
                    return Err(SendRefusal::StaleGeneration { current: self.generation });
                }
                self.generation = *generation;
            }
            PeerSignal::Answer { generation, .. } | PeerSignal::Candidate { generation, .. } => {
                if *generation != self.generation {
                    return Err(SendRefusal::StaleGeneration { current: self.generation });
                }
            }
        }
        self.idle_until_ms = idle_until_ms;
        Ok(Step::Forward(self))
    }

    /// The fact that the session is over.
    pub(crate) fn ended(&self, reason: SessionEnd, by: Option<PeerId>) -> SignalingEvent {
        SessionEndedV1 { session_id: self.session_id.clone(), reason, by }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerId {
        name.parse().unwrap()
    }

    fn session() -> Session {
        Session::open("s1".parse().unwrap(), peer("alice"), peer("bob"), 0, 1_000).0
    }

    fn offer(generation: u32) -> PeerSignal {
        PeerSignal::Offer { sdp: "v=0".into(), generation }
    }

    fn forwarded(step: Result<Step, SendRefusal>) -> Session {
        match step {
            Ok(Step::Forward(session)) => session,
            other => panic!("not forwarded: {other:?}"),
        }
    }

    #[test]
    fn exactly_one_side_is_polite() {
        let session = session();
        assert!(session.is_polite(&peer("bob")) && !session.is_polite(&peer("alice")));
    }

    #[test]
    fn a_colliding_offer_of_the_same_generation_is_passed_on() {
        let after = forwarded(session().accept(&peer("alice"), &offer(1), 2_000));
        assert_eq!(forwarded(after.accept(&peer("bob"), &offer(1), 3_000)).generation, 1);
    }

    #[test]
    fn signals_of_an_older_negotiation_are_stale() {
        let second = forwarded(session().accept(&peer("alice"), &offer(1), 0));
        let second = forwarded(second.accept(&peer("alice"), &offer(2), 0));
        let late = PeerSignal::Candidate { candidate: String::new(), sdp_mid: None, generation: 1 };
        assert_eq!(second.clone().accept(&peer("bob"), &late, 0), Err(SendRefusal::StaleGeneration { current: 2 }));
        assert_eq!(second.accept(&peer("bob"), &offer(9), 0), Err(SendRefusal::StaleGeneration { current: 2 }));
    }

    #[test]
    fn a_stranger_is_no_member() {
        assert_eq!(session().accept(&peer("mallory"), &offer(1), 0), Err(SendRefusal::NotMember));
    }

    #[test]
    fn bye_ends_the_session() {
        let step = session().accept(&peer("bob"), &PeerSignal::Bye { reason: None }, 0);
        assert!(matches!(step, Ok(Step::End(SignalingEvent::SessionEnded(fact))) if fact.by == Some(peer("bob"))));
    }
}
