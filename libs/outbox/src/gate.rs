use bus::Envelope;
use store::{Action, Condition, Key};

use crate::keys;
use crate::letter::{DeadLetter, Marker, Standing, put_marker};

/// What an event's transaction has to do with the dead letters of its key.
pub(crate) enum Gate {
    /// A delivered event: it may go on only while its key has no dead letters.
    Open { lane: String },
    /// A dead letter that is being handled again.
    Redrive { at: Key, version: u64, letter: Box<DeadLetter>, standing: Standing },
}

impl Gate {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// The event is through.
    pub(crate) fn passed(&self) -> Vec<Action> {
        match self {
            Self::Open { .. } => self.tried(),
            Self::Redrive { at, version, standing, .. } => {
                let left = standing.marker.letters.saturating_sub(1);
                vec![
                    Action::Delete { key: at.clone(), condition: Condition::Version(*version) },
                    standing.replace(Marker { letters: left, ..standing.marker.clone() }),
                ]
            }
        }
    }

    /// The event stays where it is.
    pub(crate) fn tried(&self) -> Vec<Action> {
        let (lane, condition) = match self {
            Self::Open { lane } => (lane, Condition::Absent),
            Self::Redrive { standing, .. } => (&standing.lane, Condition::Version(standing.version)),
        };
        vec![Action::Check { key: keys::marker(lane), condition }]
    }

    /// The event becomes a dead letter, or stays one; from now on the others of its key wait behind it.
    pub(crate) fn buried(&self, envelope: &Envelope, mut letter: DeadLetter) -> Vec<Action> {
        match self {
            Self::Open { lane } => {
                let marker = Marker {
                    source: envelope.source.clone(),
                    key: envelope.key.clone(),
                    blocking: letter.id.clone(),
                    letters: 1,
                    redriving: false,
                };
                vec![letter.put(keys::letter(lane, envelope), None), put_marker(lane, &marker, None)]
            }
            Self::Redrive { at, version, letter: old, standing } => {
                letter.id.clone_from(&old.id);
                let marker = Marker { blocking: letter.id.clone(), redriving: false, ..standing.marker.clone() };
                vec![letter.put(at.clone(), Some(*version)), standing.replace(marker)]
            }
        }
    }
}

/// The event waits behind the dead letters of its key.
pub(crate) fn parked(standing: &Standing, envelope: &Envelope, letter: &DeadLetter) -> Vec<Action> {
    let marker = Marker { letters: standing.marker.letters + 1, ..standing.marker.clone() };
    vec![letter.put(keys::letter(&standing.lane, envelope), None), standing.replace(marker)]
}
