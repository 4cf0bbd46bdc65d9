//! The tunnel's part of the demo: a local server, an agent in front of it, and a wire between agent and edge that is cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use agent::{Agent, Options, Origin, Status, TunnelError};
use anyhow::{Context, ensure};
use aws_lc_rs::digest;
use clock::Entropy;
use contracts::PeerId;
use contracts::requests::subscription::SubscriptionView;
use contracts::tunnels::close;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Target;
use super::report::Said;
use crate::Api;

/// What the local server serves.
const FILE_BYTES: usize = 4 * 1024 * 1024;
/// Longest head of a request that the local server reads.
const HEAD_BYTES: usize = 16 * 1024;

/// An open tunnel and what it takes to break it.
pub(super) struct Opened {
    agent: Agent,
    url: String,
    file: Arc<Vec<u8>>,
    cut: watch::Sender<u64>,
}

pub(super) async fn open(
    api: &Api,
    target: &Target,
    created: &SubscriptionView,
    laptop: &PeerId,
    entropy: &Entropy,
) -> anyhow::Result<Said<Opened>> {
    let mut file = vec![0; FILE_BYTES];
    entropy.fill(&mut file);
    let file = Arc::new(file);
    let local = serve(Arc::clone(&file)).await?;
    let edge = target.tunnels.as_deref().unwrap_or(&target.gateway);
    let cut = watch::Sender::new(0);
    let wire = lay_wire(edge, cut.subscribe()).await?;
    let origin = Origin::try_new(&local.to_string())?;
    let options = Options {
        prover: Some(api.prover(created.subscription_id.clone(), laptop.clone())),
        ..Options::new(format!("http://{wire}"), &target.token, laptop.clone(), origin)
    };
    let agent = agent::start(options).await?;
    let tunnel_id = match &*agent.status().borrow() {
        Status::Online { tunnel, .. } => tunnel.tunnel_id.clone(),
        other => anyhow::bail!("the tunnel is not open: {other:?}"),
    };
    let url = format!("{edge}/t/{tunnel_id}/");
    Ok((format!("{url} leads to a server on this machine"), Opened { agent, url, file, cut }))
}

/// Downloads the file through the public URL; halfway the wire is cut.
pub(super) async fn download_through_a_cut(opened: &Opened) -> anyhow::Result<Said<()>> {
    let mut answer = reqwest::get(&opened.url).await?.error_for_status()?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let (mut received, mut cut) = (0, false);
    while let Some(chunk) = answer.chunk().await? {
        received += chunk.len();
        hash.update(&chunk);
        if !cut && received >= FILE_BYTES / 2 {
            opened.cut.send_modify(|count| *count += 1);
            cut = true;
        }
    }
    let (got, want) = (hash.finish(), digest::digest(&digest::SHA256, &opened.file));
    ensure!(cut && got.as_ref() == want.as_ref(), "{received} bytes came, and not those that were sent");
    let short: String = got.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((format!("4 MiB, the wire cut at half; the same request went on, SHA-256 {short}…"), ()))
}

/// The tunnel ends with the entitlement.
pub(super) async fn ended(opened: Opened) -> anyhow::Result<()> {
    let ended = opened.agent.ended().await.context("the tunnel ended without a reason")?;
    let lost = matches!(ended, TunnelError::Closed(close::ENTITLEMENT_LOST, _));
    ensure!(lost, "the tunnel ended otherwise: {ended}");
    Ok(())
}

/// A server for one file.
async fn serve(file: Arc<Vec<u8>>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let file = Arc::clone(&file);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let length = file.len();
                let said = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                // Whoever asked may have gone; there is nobody else to tell.
                if stream.write_all(said.as_bytes()).await.is_ok() {
                    let _ = stream.write_all(&file).await;
                }
            });
        }
    });
    Ok(address)
}

/// A wire to the edge; each count that `cuts` tells cuts every connection on it.
async fn lay_wire(edge: &str, cuts: watch::Receiver<u64>) -> anyhow::Result<SocketAddr> {
    let url: reqwest::Url = edge.parse().context("the edge is no URL")?;
    let host = url.host_str().context("the edge has no host")?.to_owned();
    let port = url.port_or_known_default().context("the edge has no port")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (host, mut cuts) = (host.clone(), cuts.clone());
            cuts.mark_unchanged();
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect((host.as_str(), port)).await else { return };
                tokio::select! {
                    _ = cuts.changed() => {}
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                }
            });
        }
    });
    Ok(address)
}
