//! A session with another peer, and the data channel that comes out of it.

use contracts::signals::signaling::PeerSignal;
use contracts::{PeerId, SessionId};
use tokio::sync::mpsc;

use super::{Gateway, GatewayError};
use crate::webrtc::{Connection, Event as ChannelEvent, Options};

/// The first negotiation of a session.
const FIRST: u32 = 1;

/// Why a session did not become a data channel.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The gateway refused a signal, or is gone.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// WebRTC did not work out.
    #[error(transparent)]
    WebRtc(#[from] crate::webrtc::Error),
    /// The other peer ended the session.
    #[error("the other peer ended the session: {0}")]
    Bye(String),
    /// The session's signals stopped before the channel was open.
    #[error("the session ended before the channel was open")]
    Ended,
}

/// A session that this side opened.
pub struct Session {
    gateway: Gateway,
    session_id: SessionId,
    with: PeerId,
    polite: bool,
    signals: mpsc::Receiver<PeerSignal>,
}

/// A session that the other side opened; its offer is waiting inside.
pub struct IncomingSession(Session);

impl std::fmt::Debug for IncomingSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncomingSession").field("session_id", &self.0.session_id).field("from", &self.0.with).finish()
    }
}

impl IncomingSession {
    pub(super) fn new(
        gateway: Gateway,
        session_id: SessionId,
        from: PeerId,
        polite: bool,
        signals: mpsc::Receiver<PeerSignal>,
    ) -> Self {
        Self(Session::new(gateway, session_id, from, polite, signals))
    }

    /// Who opened it.
    pub fn from(&self) -> &PeerId {
        &self.0.with
    }

    /// Answers the offer and waits until the data channel is open.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn accept(mut self, options: Options) -> Result<Connection, SessionError> {
        let session = &mut self.0;
        let (offer, generation) = loop {
            match session.signals.recv().await {
                Some(PeerSignal::Offer { sdp, generation }) => break (sdp, generation),
                Some(PeerSignal::Bye { reason }) => return Err(SessionError::Bye(reason.unwrap_or_default())),
                Some(_) => {}
                None => return Err(SessionError::Ended),
            }
        };
        let (connection, sdp) = Connection::answer(options, &offer).await?;
        session.send(PeerSignal::Answer { sdp, generation }).await?;
        session.settle(&connection, generation).await?;
        Ok(connection)
    }
}

impl Session {
    pub(super) fn new(
        gateway: Gateway,
        session_id: SessionId,
        with: PeerId,
        polite: bool,
        signals: mpsc::Receiver<PeerSignal>,
    ) -> Self {
        Self { gateway, session_id, with, polite, signals }
    }

    /// Its id.
    pub fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// Whether this side yields when both offer at once (W3C perfect negotiation).
    pub fn is_polite(&self) -> bool {
        self.polite
    }

    /// Offers and waits until the data channel is open.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn dial(mut self, options: Options) -> Result<Connection, SessionError> {
        let (connection, sdp) = Connection::offer(options).await?;
        self.send(PeerSignal::Offer { sdp, generation: FIRST }).await?;
        self.settle(&connection, FIRST).await?;
        Ok(connection)
    }

    /// Passes a signal on to the other peer.
    ///
    /// # Errors
    /// The gateway's refusal, or the end of the connection.
    pub async fn send(&self, signal: PeerSignal) -> Result<(), GatewayError> {
        self.gateway.signal(self.session_id.clone(), signal).await.map(drop)
    }

    /// The next signal of the other peer; `None` once the gateway's connection is over.
    pub async fn next_signal(&mut self) -> Option<PeerSignal> {
        self.signals.recv().await
    }

    /// Trades candidates until the channel is open.
    async fn settle(&mut self, connection: &Connection, generation: u32) -> Result<(), SessionError> {
        let mut signaling_lost = false;
        loop {
            tokio::select! {
                event = connection.next_event() => match event {
                    Some(ChannelEvent::LocalCandidate(candidate)) => {
                        // There is one media section, and whoever offers names it: a made-up name fits no browser's.
                        self.send(PeerSignal::Candidate { candidate, sdp_mid: None, generation }).await?;
                    }
                    Some(ChannelEvent::ChannelOpen) => return Ok(()),
                    Some(ChannelEvent::Closed(reason)) => return Err(crate::webrtc::Error::Closed(reason).into()),
                    Some(_) => {}
                    None => return Err(SessionError::Ended),
                },
                signal = self.signals.recv(), if !signaling_lost => match signal {
                    Some(PeerSignal::Answer { sdp, generation: theirs }) if theirs == generation => {
                        connection.accept_answer(&sdp).await?;
                    }
                    Some(PeerSignal::Candidate { candidate, generation: theirs, .. }) if theirs == generation => {
                        connection.add_remote_candidate(&candidate).await?;
                    }
                    Some(PeerSignal::Bye { reason }) => return Err(SessionError::Bye(reason.unwrap_or_default())),
                    Some(_) => {}
                    // The path may still come up from what was said; the connection's own timeout decides.
                    None => signaling_lost = true,
                },
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.gateway.forget(&self.session_id);
    }
}
