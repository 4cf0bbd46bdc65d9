use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::sync::{mpsc, oneshot};

use super::connection::Shared;
use super::inbox::Inbox;
use super::lifetime::{Lifetime, Phase};
use super::sockets::{Received, Sockets};
use super::{CHANNEL_LABEL, CloseReason, Error, Event, State, time};

// Above any datagram of ours (1,150 bytes) and of browsers (1,200); a longer one is cut and fails its checksum.
const DATAGRAM_BYTES: usize = 2_000;

// Datagrams read before timers and the owner get their turn again.
const BATCH: usize = 64;

// Reading that fails this often in a row won't recover.
const MAX_READ_ERRORS: u32 = 100;

type Reply = oneshot::Sender<Result<(), Error>>;

/// What the owner asks of the task.
pub(super) enum Command {
    Answer { answer: Box<SdpAnswer>, candidates: usize, reply: Reply },
    Candidate { candidate: Candidate, reply: Reply },
    Close { reply: Reply },
}

/// The task's ends of the channels to the owner.
pub(super) struct Ports {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) outbox: mpsc::Receiver<Bytes>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) shared: Arc<Shared>,
}

/// The task of one connection: moves datagrams, time and messages between the sockets, the library and the owner.
pub(super) struct Driver {
    rtc: Rtc,
    sockets: Sockets,
    ports: Ports,
    inbox: Inbox,
    life: Lifetime,
    offer: Option<SdpPendingOffer>,
    remote_candidates: usize,
    channel: Option<ChannelId>,
    state: Option<State>,
    // The message that waits for room in the library's buffer, and whether more can come behind it.
    staged: Option<Bytes>,
    outbox_open: bool,
    closing: Option<Closing>,
    // Set once the library began to shut down; what it still has to say goes out first.
    ending: Option<CloseReason>,
    read_errors: u32,
}

struct Closing {
    replies: Vec<Reply>,
    deadline: Instant,
}

impl Driver {
    pub(super) fn new(
        rtc: Rtc,
        sockets: Sockets,
        ports: Ports,
        inbox: Inbox,
        life: Lifetime,
        offer: Option<SdpPendingOffer>,
        remote_candidates: usize,
    ) -> Self {
        Self {
            rtc,
            sockets,
            ports,
            inbox,
            life,
            offer,
            remote_candidates,
            channel: None,
            state: None,
            staged: None,
            outbox_open: true,
            closing: None,
            ending: None,
            read_errors: 0,
        }
    }

    /// Runs the connection to its end, then hands over what the owner hasn't taken yet. Sockets are closed by then.
    pub(super) async fn run(mut self) {
        let reason = self.drive().await;
        tracing::debug!(%reason, "connection closed");
        let Self { mut inbox, ports: Ports { events, shared, .. }, closing, .. } = self;
        let _ = shared.closed.set(reason.clone());
        let unacknowledged_bytes =
            shared.unacknowledged_bytes.load(Ordering::Relaxed) + shared.queued_bytes.load(Ordering::Relaxed);
        for reply in closing.into_iter().flat_map(|closing| closing.replies) {
            let flushed = unacknowledged_bytes == 0;
            let _ = reply.send(if flushed { Ok(()) } else { Err(Error::Unflushed { unacknowledged_bytes }) });
        }
        inbox.push(Event::Closed(reason));
        while let Some(event) = inbox.pop() {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn drive(&mut self) -> CloseReason {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let events = self.ports.events.clone();
        loop {
            let wake = match self.turn(&mut buffer).await {
                Ok(wake) => wake,
                Err(reason) => return reason,
            };
            let room = self.outbox_open && self.staged.is_none() && self.channel.is_some();
            let served = tokio::select! {
                received = self.sockets.receive(&mut buffer) => self.on_received(received, &buffer),
                place = events.reserve(), if !self.inbox.is_empty() => {
                    if let (Ok(place), Some(event)) = (place, self.inbox.pop()) {
                        place.send(event);
                    }
                    Ok(())
                }
                message = self.ports.outbox.recv(), if room => {
                    self.outbox_open = message.is_some();
                    self.staged = message;
                    Ok(())
                }
                command = self.ports.commands.recv() => self.on_command(command),
                () = tokio::time::sleep_until(wake.into()) => self.input(Input::Timeout(time::now())),
            };
            if let Err(reason) = served {
                self.shut_down().await;
                return reason;
            }
        }
    }

    /// Does everything that can be done without waiting. Returns when to look again, or why it is over.
    async fn turn(&mut self, buffer: &mut [u8]) -> Result<Instant, CloseReason> {
        let mut read = 0;
        let timeout = loop {
            let timeout = self.poll().await?;
            if self.write_staged()? {
                continue;
            }
            if let Some(parked) = self.inbox.unpark() {
                let received = Received { len: parked.datagram.len(), source: parked.source, local: parked.local };
                self.feed(received, &parked.datagram, false)?;
            } else if read < BATCH
                && let Some(received) = self.sockets.try_receive(buffer)
            {
                read += 1;
                self.feed(received, &buffer[..received.len], true)?;
            } else {
                break timeout;
            }
        };
        let now = time::now();
        let (mut end, reason) = self.life.end();
        if end <= now {
            self.shut_down().await;
            return Err(reason);
        }
        if let Some(closing) = &self.closing {
            if self.is_flushed() || closing.deadline <= now {
                self.shut_down().await;
                return Err(CloseReason::Local);
            }
            end = end.min(closing.deadline);
        }
        Ok(timeout.min(end))
    }

    /// Lets the library say all it has to say. Returns when it wants to be asked again.
    async fn poll(&mut self) -> Result<Instant, CloseReason> {
        loop {
            match self.rtc.poll_output().map_err(failure)? {
                Output::Transmit(datagram) => {
                    self.sockets.send(datagram.source, datagram.destination, &datagram.contents).await;
                }
                Output::Event(event) => self.on_event(event)?,
                Output::Timeout(at) => return self.ending.clone().map_or(Ok(at), Err),
            }
        }
    }

    fn on_event(&mut self, event: str0m::Event) -> Result<(), CloseReason> {
        use str0m::Event as Rtc;
        match event {
            Rtc::Connected => self.inbox.push(Event::Connected),
            Rtc::IceConnectionStateChange(state) => self.on_state(state),
            Rtc::ChannelOpen(id, label) if self.channel.is_none() && label == CHANNEL_LABEL => {
                self.channel = Some(id);
                self.life.enter(Phase::Open, time::now());
                self.inbox.push(Event::ChannelOpen);
            }
            // Only one channel is ours; a browser may open others.
            Rtc::ChannelOpen(id, _) => self.rtc.direct_api().close_data_channel(id),
            Rtc::ChannelData(message) if Some(message.id) == self.channel => {
                self.inbox.push(Event::Message(Bytes::from(message.data)));
            }
            Rtc::ChannelClose(id) if Some(id) == self.channel => {
                self.ending.get_or_insert(CloseReason::Remote);
                self.rtc.close().map_err(failure)?;
            }
            Rtc::Closed => {
                self.ending.get_or_insert(CloseReason::Remote);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_state(&mut self, state: IceConnectionState) {
        let state = match state {
            IceConnectionState::Connected | IceConnectionState::Completed => State::Connected,
            IceConnectionState::Disconnected => State::Disconnected,
            _ => State::Checking,
        };
        self.life.path(state == State::Connected, time::now());
        if self.state.replace(state) != Some(state) {
            self.inbox.push(Event::StateChanged(state));
        }
    }

    fn on_received(&mut self, received: std::io::Result<Received>, buffer: &[u8]) -> Result<(), CloseReason> {
        match received {
            Ok(received) => {
                self.read_errors = 0;
                self.feed(received, &buffer[..received.len], true)
            }
            // Some systems report here that an earlier datagram found no receiver, which isn't this socket's fault.
            Err(error) => {
                self.read_errors += 1;
                tracing::trace!(%error, "reading failed");
                let last_straw = self.read_errors >= MAX_READ_ERRORS;
                if last_straw { Err(CloseReason::Failed(format!("reading from the socket: {error}"))) } else { Ok(()) }
            }
        }
    }

    fn feed(&mut self, received: Received, datagram: &[u8], may_park: bool) -> Result<(), CloseReason> {
        let Received { source, local, .. } = received;
        let Ok(receive) = Receive::new(Protocol::Udp, source, local, datagram) else { return Ok(()) };
        let now = time::now();
        let input = Input::Receive(now, receive);
        // Checks of strangers and anything from addresses that passed no check end here.
        if !self.rtc.accepts(&input) {
            return Ok(());
        }
        self.life.heard(now);
        // RFC 7983 §7: the first byte of DTLS is 20 to 63.
        if may_park && self.inbox.must_park() && matches!(datagram.first(), Some(20..=63)) {
            self.inbox.park(source, local, datagram);
            return Ok(());
        }
        // Whoever can forge a source address must not be able to end a connection with one bad datagram. One that
        // really is broken stops answering, and the timeouts see to it.
        if let Err(error) = self.rtc.handle_input(input) {
            tracing::debug!(%error, "datagram refused");
        }
        Ok(())
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), CloseReason> {
        self.rtc.handle_input(input).map_err(failure)
    }

    /// Moves the waiting message into the library's buffer if there is room.
    fn write_staged(&mut self) -> Result<bool, CloseReason> {
        let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) else { return Ok(false) };
        let written = match &self.staged {
            Some(message) => channel.write(true, message).map_err(failure)?,
            None => false,
        };
        let shared = &self.ports.shared;
        if let Some(message) = self.staged.take_if(|_| written) {
            shared.queued_bytes.fetch_sub(message.len(), Ordering::Relaxed);
        }
        shared.unacknowledged_bytes.store(channel.buffered_amount(), Ordering::Relaxed);
        Ok(written)
    }

    fn on_command(&mut self, command: Option<Command>) -> Result<(), CloseReason> {
        match command {
            // The owner dropped the connection.
            None => return Err(CloseReason::Local),
            Some(Command::Answer { answer, candidates, reply }) => {
                let _ = reply.send(self.accept_answer(*answer, candidates));
            }
            Some(Command::Candidate { candidate, reply }) => {
                let _ = reply.send(self.count_candidates(1).map(|()| self.rtc.add_remote_candidate(candidate)));
            }
            Some(Command::Close { reply }) => {
                // Nothing new gets in; what is queued still goes out.
                self.ports.outbox.close();
                let deadline = time::now() + self.life.options().close_timeout;
                self.closing.get_or_insert(Closing { replies: Vec::new(), deadline }).replies.push(reply);
            }
        }
        Ok(())
    }

    fn accept_answer(&mut self, answer: SdpAnswer, candidates: usize) -> Result<(), Error> {
        let Some(pending) = self.offer.take() else { return Err(Error::NotAwaitingAnswer) };
        if let Err(error) = self.count_candidates(candidates) {
            self.offer = Some(pending);
            return Err(error);
        }
        if let Err(error) = self.rtc.sdp_api().accept_answer(pending, answer) {
            // The library used up the offer: no other answer can be taken.
            self.ending = Some(CloseReason::Failed(format!("the answer was refused: {error}")));
            return Err(Error::Sdp(error.to_string()));
        }
        self.life.enter(Phase::Connecting, time::now());
        Ok(())
    }

    fn count_candidates(&mut self, more: usize) -> Result<(), Error> {
        let limit = self.life.options().max_remote_candidates;
        if self.remote_candidates + more > limit {
            return Err(Error::TooManyCandidates { limit });
        }
        self.remote_candidates += more;
        Ok(())
    }

    fn is_flushed(&self) -> bool {
        let acknowledged = self.ports.shared.unacknowledged_bytes.load(Ordering::Relaxed) == 0;
        self.channel.is_none() || (!self.outbox_open && self.staged.is_none() && acknowledged)
    }

    /// Says goodbye, as far as that goes without waiting.
    async fn shut_down(&mut self) {
        if self.rtc.close().is_err() {
            return;
        }
        self.ending = Some(CloseReason::Local);
        // The reason is the caller's; this one only ends the loop in `poll`.
        let _ = self.poll().await;
    }
}

fn failure(error: RtcError) -> CloseReason {
    match error {
        // Past the descriptions the library says this only of the certificate it was shown.
        RtcError::RemoteSdp(_) => CloseReason::FingerprintMismatch,
        error => CloseReason::Failed(error.to_string()),
    }
}
