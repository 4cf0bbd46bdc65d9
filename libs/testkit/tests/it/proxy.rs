use std::io::ErrorKind;
use std::time::Duration;

use testkit::{TcpProxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);
const NOT_YET: Duration = Duration::from_millis(100);

async fn echo_behind_a_proxy() -> TcpProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.ok();
            });
        }
    });
    TcpProxy::start(address).await
}

async fn echoes(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    hears(stream, text).await;
}

async fn hears(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, text.as_bytes());
}

#[tokio::test]
async fn bytes_pass_and_the_end_passes_too() {
    let proxy = echo_behind_a_proxy().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    echoes(&mut client, "hello").await;
    assert_eq!(proxy.connections(), 1);
    client.shutdown().await.unwrap();
    assert_eq!(timeout(SOON, client.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
    eventually(SOON, "the connection to be gone", async || (proxy.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_pause_holds_bytes_and_new_connections_until_resume() {
    let proxy = echo_behind_a_proxy().await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    echoes(&mut old, "before").await;
    proxy.pause();
    old.write_all(b"held").await.unwrap();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    new.write_all(b"new").await.unwrap();
    assert!(timeout(NOT_YET, old.read(&mut [0; 8])).await.is_err(), "nothing comes through");
    assert!(timeout(NOT_YET, new.read(&mut [0; 8])).await.is_err(), "nothing comes through");
    proxy.resume();
    hears(&mut old, "held").await;
    hears(&mut new, "new").await;
}

#[tokio::test]
async fn a_cut_resets_and_refuses_until_resume() {
    let proxy = echo_behind_a_proxy().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    echoes(&mut client, "before").await;
    proxy.cut();
    assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(read_error(&mut refused).await, ErrorKind::ConnectionReset);
    proxy.resume();
    echoes(&mut TcpStream::connect(proxy.address()).await.unwrap(), "after").await;
}

#[tokio::test]
async fn severed_connections_end_but_new_ones_work_at_once() {
    let proxy = echo_behind_a_proxy().await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    echoes(&mut client, "before").await;
    proxy.sever();
    assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
    echoes(&mut TcpStream::connect(proxy.address()).await.unwrap(), "after").await;
}

#[tokio::test]
async fn a_target_that_is_down_resets_the_client() {
    let nobody = format!("127.0.0.1:{}", testkit::free_port()).parse().unwrap();
    let proxy = TcpProxy::start(nobody).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
}

async fn read_error(stream: &mut TcpStream) -> ErrorKind {
    timeout(SOON, stream.read(&mut [0; 8])).await.unwrap().unwrap_err().kind()
}
