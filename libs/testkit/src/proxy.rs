use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A TCP proxy on a free loopback port that can hold, cut and resume the connections to its target.
///
/// Starts flowing. Dropping it closes every connection.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    open: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    road: Road,
    // A connection lives as long as the number it was accepted under.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Open,
    Held,
    Closed,
}

impl TcpProxy {
    /// Listens on a free loopback port and forwards to `target`, which need not be up yet.
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (state, watched) = watch::channel(State { road: Road::Open, generation: 0 });
        let open = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, target, watched, Arc::clone(&open)));
        Self { address, state, open, accepting }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open now.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Holds every byte in both directions, like a network that lost its route: connections stay open, new ones are
    /// accepted and hang.
    pub fn pause(&self) {
        self.state.send_modify(|state| state.road = Road::Held);
    }

    /// Closes every connection with a reset and refuses new ones until [`resume`](Self::resume).
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.road = Road::Closed;
            state.generation += 1;
        });
    }

    /// Closes every connection with a reset, but accepts new ones.
    pub fn sever(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Lets bytes flow again, those held first.
    pub fn resume(&self) {
        self.state.send_modify(|state| state.road = Road::Open);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, state: watch::Receiver<State>, open: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let now = *state.borrow();
        if now.road == Road::Closed {
            reset(&client);
            continue;
        }
        connections.spawn(serve(client, target, state.clone(), now.generation, Counted::new(&open)));
    }
}

async fn serve(
    mut client: TcpStream,
    target: SocketAddr,
    mut state: watch::Receiver<State>,
    generation: u64,
    _counted: Counted,
) {
    let mut changes = state.clone();
    let (mut up, mut down) = (state.clone(), state.clone());
    let mut cut = std::pin::pin!(changes.wait_for(|state| state.generation != generation));
    let server = tokio::select! {
        _ = &mut cut => return reset(&client),
        server = async {
            state.wait_for(|state| state.road == Road::Open).await.ok()?;
            TcpStream::connect(target).await.ok()
        } => server,
    };
    let Some(mut server) = server else { return reset(&client) };
    let done = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    done.expect("a connected socket takes TCP_NODELAY");
    let was_cut = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        tokio::select! {
            _ = &mut cut => true,
            _ = async {
                tokio::try_join!(pump(client_read, server_write, &mut up), pump(server_read, client_write, &mut down))
            } => false,
        }
    };
    if was_cut {
        reset(&client);
        reset(&server);
    }
}

// Ends well at the end of `from`, having told `to`; ends with an error, which ends both directions, on a failure.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &mut watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        // Read, but not passed on: what arrives while the road is held waits here and in the kernel's buffers.
        state.wait_for(|state| state.road == Road::Open).await.map_err(io::Error::other)?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

// With this set, closing sends a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // Fails only on a socket that is gone already.
    let _ = stream.set_zero_linger();
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
