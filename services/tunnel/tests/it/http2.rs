//! HTTP/2 from the public, with prior knowledge as gRPC clients speak it (RFC 9113 §3.3).

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, Request, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::harness::{World, world};
use crate::origin;

type Body = BoxBody<Bytes, std::convert::Infallible>;

async fn connect(world: &World) -> SendRequest<Body> {
    let stream = TokioIo::new(TcpStream::connect(world.edge).await.unwrap());
    let (requests, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    requests
}

fn request(world: &World, method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder().version(Version::HTTP_2).method(method).uri(world.url(path)).body(body).unwrap()
}

fn nothing() -> Body {
    Empty::new().boxed()
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let world = world().await;
    let agent = world.blue().await;
    let requests = connect(&world).await;
    let asked = (0..100_usize).map(|number| {
        let (mut requests, world) = (requests.clone(), &world);
        async move {
            let length = number * 1_000;
            let answer = requests.send_request(request(world, "GET", &format!("/bytes/{length}"), nothing())).await;
            let answer = answer.unwrap();
            assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, Version::HTTP_2));
            assert!(answer.into_body().collect().await.unwrap().to_bytes() == origin::pattern(length), "{length}");
        }
    });
    join_all(asked).await;
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_upload_is_the_same_at_the_origin() {
    let world = world().await;
    let agent = world.blue().await;
    let mut requests = connect(&world).await;
    let body = origin::pattern(3 << 20);
    let want = format!("{} {:x}", body.len(), origin::fnv(0xcbf2_9ce4_8422_2325, &body));
    let answer = requests.send_request(request(&world, "PUT", "/hash", Full::from(body).boxed())).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), want);
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_call_in_the_shape_of_grpc_ends_with_its_trailers() {
    let world = world().await;
    let agent = world.blue().await;
    let mut requests = connect(&world).await;
    let mut end = HeaderMap::new();
    end.insert("x-sum", "294".parse().unwrap());
    let frames = [Ok(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(end))];
    let mut call = request(&world, "POST", "/trailers", BodyExt::boxed(StreamBody::new(futures::stream::iter(frames))));
    for (name, value) in [("te", "trailers"), ("content-type", "application/grpc"), ("trailer", "x-sum")] {
        call.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = requests.send_request(call).await.unwrap();
    assert_eq!(answer.status(), 200);
    let collected = answer.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!((&trailers["grpc-status"], &trailers["x-seen"]), (&"0".parse().unwrap(), &"294".parse().unwrap()));
    assert_eq!(collected.to_bytes(), "abc");
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn the_host_of_http_2_chooses_the_tunnel() {
    let world = world().await;
    let agent = world.blue().await;
    let mut requests = connect(&world).await;
    // `:authority` stands where HTTP/1.1 has Host (RFC 9113 §8.3.1).
    let by_host = Request::get("http://blue.tunnels.test/echo").version(Version::HTTP_2).body(nothing()).unwrap();
    let answer = requests.send_request(by_host).await.unwrap();
    assert_eq!(answer.status(), 200);
    let echoed = answer.into_body().collect().await.unwrap().to_bytes();
    let echoed: serde_json::Value = serde_json::from_slice(&echoed).unwrap();
    assert_eq!(echoed["headers"]["host"][0], "blue.tunnels.test");
    assert_eq!(echoed["uri"], "/echo");
    agent.stop().await;
    world.stop().await;
}
