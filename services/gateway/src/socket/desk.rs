//! The frames of one client on their way to an outcome: begun one after the other, in order; messages wait for their
//! receivers beside each other.

use std::collections::VecDeque;
use std::sync::Arc;

use bus::Trail;
use contracts::frames::ClientFrame;
use contracts::http::Violation;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use service::http::{Code, ProblemResponse};

use super::frames::{self, BadFrame};
use super::peer::{Handled, Peer};
use crate::Gateway;

/// Frames read ahead of the one that is worked on; more stay in the transport.
const READ_AHEAD: usize = 64;

/// An answered frame.
pub(super) struct Answered {
    pub(super) id: Option<String>,
    pub(super) trail: Trail,
    pub(super) handled: Handled,
}

type Answering = BoxFuture<'static, Answered>;

#[derive(Default)]
pub(super) struct Desk {
    backlog: VecDeque<Result<ClientFrame, BadFrame>>,
    current: Option<Answering>,
    late: FuturesUnordered<Answering>,
}

impl Desk {
    pub(super) fn has_room(&self) -> bool {
        self.backlog.len() < READ_AHEAD
    }

    /// Takes a frame in. Acknowledgements take effect at once: others wait for them.
    pub(super) fn take(&mut self, value: Result<Value, BadFrame>, peer: &Peer) {
        let frame = value.and_then(frames::parse);
        if let Ok(ClientFrame::Ack { offset, .. }) = &frame {
            peer.ack(*offset);
        }
        self.backlog.push_back(frame);
    }

    /// Begins the next frame when the one before it is answered or has its place.
    pub(super) fn begin(&mut self, gateway: &Arc<Gateway>, peer: &Peer) {
        if self.current.is_some() {
            return;
        }
        let Some(frame) = self.backlog.pop_front() else { return };
        let trail = gateway.new_trail();
        self.current = Some(match frame {
            Ok(frame) => {
                let busy = self.late.len() >= gateway.config.max_pending_messages;
                let id = Some(frame.id().to_owned());
                let handling = peer.begin(gateway, &trail, frame, busy);
                Box::pin(async move { Answered { id, trail, handled: handling.await } })
            }
            Err(bad) => {
                let handled = Handled::Refused(violated(bad.violations));
                Box::pin(std::future::ready(Answered { id: bad.id, trail, handled }))
            }
        });
    }

    /// The next answer; `None` when a frame got its place and its answer comes later, so the next one may begin.
    /// Nothing is lost when it is not waited for to the end.
    pub(super) async fn answer(&mut self) -> Option<Box<Answered>> {
        let answered = tokio::select! {
            answered = current(&mut self.current) => {
                self.current = None;
                answered
            }
            Some(answered) = self.late.next(), if !self.late.is_empty() => answered,
        };
        match answered {
            Answered { id, trail, handled: Handled::Later(later) } => {
                self.late.push(Box::pin(async move { Answered { id, trail, handled: later.await } }));
                None
            }
            answered => Some(Box::new(answered)),
        }
    }
}

async fn current(current: &mut Option<Answering>) -> Answered {
    match current {
        Some(answering) => answering.await,
        None => std::future::pending().await,
    }
}

/// The refusal of a frame that breaks rules.
pub(super) fn violated(violations: Vec<Violation>) -> ProblemResponse {
    let problem = ProblemResponse::new(Code::Validation).detail("the frame breaks these rules");
    violations.into_iter().fold(problem, |problem, broken| problem.violation(broken.field, broken.message))
}
