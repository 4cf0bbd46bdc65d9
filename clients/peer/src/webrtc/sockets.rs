use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::{Error, Options};

const MAX_ADDRESSES: usize = 16;

// Two SCTP windows of 1 MiB, because the kernel counts a datagram at about twice its length. Its usual 208 KiB hold
// some 90 datagrams, and every one dropped halves the other side's rate. The kernel may grant less.
const RECEIVE_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// A connection's UDP sockets, one per local address.
pub(super) struct Sockets {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    // Where the next look for a datagram begins, so that a busy socket can't starve the others.
    next: usize,
}

/// A datagram that came: its length in the buffer, who sent it, and the socket's own address.
#[derive(Clone, Copy)]
pub(super) struct Received {
    pub(super) len: usize,
    pub(super) source: SocketAddr,
    pub(super) local: SocketAddr,
}

impl Sockets {
    pub(super) async fn open(options: &Options) -> Result<Self, Error> {
        let mut sockets = Vec::new();
        for address in &options.bind {
            sockets.push(bind(*address).await.map_err(|source| Error::Bind { address: *address, source })?);
        }
        if options.bind.is_empty() {
            for address in own_addresses() {
                // An interface may go between listing and binding; the others still serve.
                if let Ok(socket) = bind(address).await {
                    sockets.push(socket);
                }
            }
        }
        if sockets.is_empty() {
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            sockets.push(bind(address).await.map_err(|source| Error::Bind { address, source })?);
        }
        Ok(Self { sockets, next: 0 })
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address)
    }

    /// Waits for a datagram on any socket. Cancel safe.
    pub(super) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        std::future::poll_fn(|context| {
            for turn in 0..self.sockets.len() {
                let index = (self.next + turn) % self.sockets.len();
                let (local, socket) = &self.sockets[index];
                let mut read = ReadBuf::new(buffer);
                if let Poll::Ready(result) = socket.poll_recv_from(context, &mut read) {
                    self.next = index + 1;
                    let len = read.filled().len();
                    return Poll::Ready(result.map(|source| Received { len, source, local: *local }));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// A datagram that is there already, if any.
    pub(super) fn try_receive(&mut self, buffer: &mut [u8]) -> Option<Received> {
        for turn in 0..self.sockets.len() {
            let index = (self.next + turn) % self.sockets.len();
            let (local, socket) = &self.sockets[index];
            if let Ok((len, source)) = socket.try_recv_from(buffer) {
                self.next = index + 1;
                return Some(Received { len, source, local: *local });
            }
        }
        None
    }

    /// Sends from the socket with the address `from`. A datagram that can't be sent is a lost one, which the
    /// protocols above repair or report.
    pub(super) async fn send(&self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let Some((_, socket)) = self.sockets.iter().find(|(local, _)| *local == from) else { return };
        if let Err(error) = socket.send_to(datagram, to).await {
            tracing::trace!(%from, %to, %error, "datagram not sent");
        }
    }
}

async fn bind(address: IpAddr) -> io::Result<(SocketAddr, UdpSocket)> {
    let socket = UdpSocket::bind(SocketAddr::new(address, 0)).await?;
    if let Err(error) = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES) {
        tracing::debug!(%error, "receive buffer not enlarged");
    }
    Ok((socket.local_addr()?, socket))
}

fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(if_addrs::Interface::ip)
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}
