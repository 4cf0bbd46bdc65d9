use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelConfig;
use str0m::{Candidate, Rtc};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::driver::{Command, Driver, Ports};
use super::inbox::Inbox;
use super::lifetime::{Lifetime, Phase};
use super::options::OUTBOX_MESSAGES;
use super::sockets::Sockets;
use super::{CHANNEL_LABEL, CloseReason, Error, Event, MAX_MESSAGE_BYTES, Options, sdp, time};

// Calls and events that may be between the owner and the task; who finds the queue full waits.
const COMMANDS: usize = 16;
const EVENTS: usize = 4;

/// One end of a WebRTC connection with one ordered, reliable data channel (label [`super::CHANNEL_LABEL`]).
///
/// Every method takes `&self`: put it into an `Arc` to send in one task and receive in another. Dropping it closes
/// the connection at once, without waiting for what was sent; [`Connection::close`] waits.
#[derive(Debug)]
pub struct Connection {
    commands: mpsc::Sender<Command>,
    outbox: mpsc::Sender<Bytes>,
    events: Mutex<mpsc::Receiver<Event>>,
    shared: Arc<Shared>,
    local_fingerprint: String,
    expected_fingerprint: Option<String>,
}

/// What the task tells the owner without a message.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) closed: OnceLock<CloseReason>,
    pub(super) queued_bytes: AtomicUsize,
    pub(super) unacknowledged_bytes: AtomicUsize,
}

impl Connection {
    /// Starts a connection and describes it: the offer goes to the other side, whose answer goes into
    /// [`Connection::accept_answer`]. The description carries no candidates; they follow as
    /// [`Event::LocalCandidate`].
    ///
    /// # Errors
    /// [`Error::Option`] and [`Error::Bind`].
    pub async fn offer(options: Options) -> Result<(Self, String), Error> {
        let (mut rtc, sockets) = prepare(&options).await?;
        let mut changes = rtc.sdp_api();
        changes.add_channel_with_config(ChannelConfig { label: CHANNEL_LABEL.to_owned(), ..ChannelConfig::default() });
        let (offer, pending) = changes.apply().expect("a channel was added, so there is something to offer");
        Ok((Self::spawn(rtc, sockets, options, Some(pending), 0)?, offer.to_sdp_string()))
    }

    /// Starts a connection for the other side's offer. The answer goes back to it.
    ///
    /// # Errors
    /// [`Error::Sdp`] and [`Error::FingerprintMismatch`] for the offer, [`Error::Option`], [`Error::Bind`].
    pub async fn answer(options: Options, offer: &str) -> Result<(Self, String), Error> {
        options.validate()?;
        let candidates = sdp::check(offer, options.expected_fingerprint.as_deref())?;
        if candidates > options.max_remote_candidates {
            return Err(Error::TooManyCandidates { limit: options.max_remote_candidates });
        }
        let offer = SdpOffer::from_sdp_string(offer).map_err(|error| Error::Sdp(error.to_string()))?;
        let (mut rtc, sockets) = prepare(&options).await?;
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| Error::Sdp(error.to_string()))?;
        Ok((Self::spawn(rtc, sockets, options, None, candidates)?, answer.to_sdp_string()))
    }

    fn spawn(
        mut rtc: Rtc,
        sockets: Sockets,
        options: Options,
        offer: Option<SdpPendingOffer>,
        remote_candidates: usize,
    ) -> Result<Self, Error> {
        let mut inbox = Inbox::new(options.receive_buffer_bytes);
        for address in sockets.addresses() {
            let candidate = Candidate::host(address, "udp").map_err(|error| Error::Candidate(error.to_string()))?;
            if let Some(candidate) = rtc.add_local_candidate(candidate) {
                inbox.push(Event::LocalCandidate(candidate.to_sdp_string()));
            }
        }
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (outbox, outbox_in) = mpsc::channel(OUTBOX_MESSAGES);
        let (events_out, events) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared::default());
        let local_fingerprint = rtc.direct_api().local_dtls_fingerprint().to_string();
        let expected_fingerprint = options.expected_fingerprint.clone();
        let phase = if offer.is_some() { Phase::AwaitingAnswer } else { Phase::Connecting };
        let ports = Ports { commands: commands_in, outbox: outbox_in, events: events_out, shared: Arc::clone(&shared) };
        let life = Lifetime::new(options, phase, time::now());
        tokio::spawn(Driver::new(rtc, sockets, ports, inbox, life, offer, remote_candidates).run());
        Ok(Self { commands, outbox, events: Mutex::new(events), shared, local_fingerprint, expected_fingerprint })
    }

    /// Takes the answer to this side's offer. One that can't be read or isn't the expected peer's leaves the connection
    /// waiting for a good one; one that doesn't fit the offer ends it.
    ///
    /// # Errors
    /// [`Error::Sdp`], [`Error::FingerprintMismatch`], [`Error::NotAwaitingAnswer`], [`Error::TooManyCandidates`],
    /// [`Error::Closed`].
    pub async fn accept_answer(&self, answer: &str) -> Result<(), Error> {
        let candidates = sdp::check(answer, self.expected_fingerprint.as_deref())?;
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|error| Error::Sdp(error.to_string()))?;
        self.call(|reply| Command::Answer { answer: Box::new(answer), candidates, reply }).await
    }

    /// Adds a candidate of the other side (`candidate:…`, with or without `a=`), before or after its description.
    /// The empty end-of-candidates mark and mDNS host names (`….local`) are taken and have no effect.
    ///
    /// # Errors
    /// [`Error::Candidate`], [`Error::TooManyCandidates`], [`Error::Closed`].
    pub async fn add_remote_candidate(&self, candidate: &str) -> Result<(), Error> {
        match sdp::candidate(candidate)? {
            Some(candidate) => self.call(|reply| Command::Candidate { candidate, reply }).await,
            None => Ok(()),
        }
    }

    /// The fingerprint of this side's certificate, as in its description: `sha-256 AB:CD:…`.
    pub fn local_fingerprint(&self) -> &str {
        &self.local_fingerprint
    }

    /// The next event, `None` after [`Event::Closed`]. Keep taking them: a full inbox stops the other side, and with
    /// it the acknowledgements this side's own sending waits for. Cancel safe.
    pub async fn next_event(&self) -> Option<Event> {
        self.events.lock().await.recv().await
    }

    /// The next message. Other events passing by are dropped, so exchange the candidates first. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Closed`] after the last message.
    pub async fn recv(&self) -> Result<Bytes, Error> {
        while let Some(event) = self.next_event().await {
            if let Event::Message(data) = event {
                return Ok(data);
            }
        }
        Err(self.closed())
    }

    /// Sends one message of 1 to [`super::MAX_MESSAGE_BYTES`] bytes. Waits until the channel is open and there is room
    /// in the send buffer, and returns when the message is buffered, not when it has arrived. Cancelled, it has
    /// sent nothing.
    ///
    /// # Errors
    /// [`Error::EmptyMessage`], [`Error::MessageTooLarge`], [`Error::Closed`].
    pub async fn send(&self, data: Bytes) -> Result<(), Error> {
        let (len, limit) = (data.len(), MAX_MESSAGE_BYTES);
        match len {
            0 => return Err(Error::EmptyMessage),
            len if len > limit => return Err(Error::MessageTooLarge { len, limit }),
            _ => {}
        }
        let place = self.outbox.reserve().await.map_err(|_| self.closed())?;
        self.shared.queued_bytes.fetch_add(len, Ordering::Relaxed);
        place.send(data);
        Ok(())
    }

    /// Sends `data` as messages of [`super::MAX_MESSAGE_BYTES`], in order. Messages of concurrent calls mix.
    ///
    /// # Errors
    /// [`Error::Closed`]; the beginning may have been sent.
    pub async fn send_all(&self, data: &[u8]) -> Result<(), Error> {
        for chunk in data.chunks(MAX_MESSAGE_BYTES) {
            self.send(Bytes::copy_from_slice(chunk)).await?;
        }
        Ok(())
    }

    /// Bytes sent and not yet acknowledged by the other side; never above [`Options::send_buffer_bytes`].
    pub fn buffered_bytes(&self) -> usize {
        self.shared.queued_bytes.load(Ordering::Relaxed) + self.shared.unacknowledged_bytes.load(Ordering::Relaxed)
    }

    /// Closes the connection after the other side acknowledged everything sent so far, waiting at most
    /// [`Options::close_timeout`]. Acknowledged means received by its machine, not read by its program.
    ///
    /// # Errors
    /// [`Error::Unflushed`]. Closing a closed connection is no error.
    pub async fn close(&self) -> Result<(), Error> {
        match self.call(|reply| Command::Close { reply }).await {
            Err(Error::Closed(_)) => Ok(()),
            result => result,
        }
    }

    async fn call(&self, command: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Command) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| self.closed())?;
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    fn closed(&self) -> Error {
        // Unset only while this side's own `close` is flushing.
        Error::Closed(self.shared.closed.get().cloned().unwrap_or(CloseReason::Local))
    }
}

async fn prepare(options: &Options) -> Result<(Rtc, Sockets), Error> {
    options.validate()?;
    let sockets = Sockets::open(options).await?;
    let mut config = Rtc::builder().clear_codecs().set_sctp_max_buffered_amount(options.sctp_buffer_bytes());
    config.set_max_stun_rto(options.check_interval());
    config.set_initial_stun_rto(options.check_interval().min(std::time::Duration::from_millis(250)));
    config.set_max_stun_retransmits(options.max_checks());
    if let Some(identity) = &options.identity {
        config = config.set_dtls_cert(identity.certificate());
    }
    Ok((config.build(time::now()), sockets))
}
