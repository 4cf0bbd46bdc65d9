//! One connection to the edge: the WebSocket and the first words.

use bytes::Bytes;
use contracts::http::Problem;
use contracts::tunnels::{AgentFrame, EdgeFrame, SUBPROTOCOL};
use futures::stream::BoxStream;
use futures::{Sink, SinkExt, StreamExt, future};
use http::HeaderValue;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::trace::Trace;
use crate::{Options, TunnelError};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Room for messages under way; a carrier's message fits several times.
const WRITE_BUFFER_BYTES: usize = 512 << 10;

/// Connects and says `frame`; gives the edge's answer.
pub(crate) async fn dial(options: &Options, frame: &AgentFrame) -> Result<(Socket, EdgeFrame), TunnelError> {
    let dialled = options.clock.timeout(options.timeout, dial_at_leisure(options, frame)).await;
    let late = || TunnelError::Network(format!("the edge did not answer within {:?}", options.timeout));
    match dialled.unwrap_or_else(|| Err(late()))? {
        (_, EdgeFrame::Refused { problem }) => Err(TunnelError::Refused(problem)),
        answered => Ok(answered),
    }
}

async fn dial_at_leisure(options: &Options, frame: &AgentFrame) -> Result<(Socket, EdgeFrame), TunnelError> {
    let network = |error: Error| TunnelError::Network(format!("{}: {error}", options.edge));
    let url = format!("{}/v1/tunnels/connect", socket_url(&options.edge));
    let mut request = url.into_client_request().map_err(network)?;
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let bearer = HeaderValue::from_str(&format!("Bearer {}", options.token));
    headers.insert(AUTHORIZATION, bearer.map_err(|_| TunnelError::Protocol("token: has odd characters".into()))?);
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(carrier::MAX_PAYLOAD_BYTES + 1_024));
    let (mut socket, _) = match connect_async_with_config(request, Some(config), true).await {
        Ok(connected) => connected,
        Err(Error::Http(response)) => {
            let problem = serde_json::from_slice::<Problem>(response.body().as_deref().unwrap_or_default());
            return Err(match problem {
                Ok(problem) => TunnelError::Refused(Box::new(problem)),
                Err(_) => TunnelError::Protocol(format!("{} answered {}", options.edge, response.status())),
            });
        }
        Err(error) => return Err(network(error)),
    };
    let text = serde_json::to_string(frame).map_err(|error| TunnelError::Protocol(error.to_string()))?;
    socket.send(Message::text(text)).await.map_err(network)?;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let answer = serde_json::from_str(&text);
                return Ok((socket, answer.map_err(|error| TunnelError::Protocol(error.to_string()))?));
            }
            Some(Ok(Message::Close(_))) | None => return Err(TunnelError::Network("the edge hung up".into())),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(network(error)),
        }
    }
}

/// `http…` as `ws…`; what is neither is left for the dialler to refuse.
fn socket_url(edge: &str) -> String {
    let edge = edge.trim_end_matches('/');
    match edge.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => edge.to_owned(),
    }
}

/// The two directions as a carrier runs over them.
pub(crate) fn split(
    socket: Socket,
    trace: Option<&Trace>,
) -> (impl Sink<Bytes, Error = Error> + Unpin + use<>, BoxStream<'static, Result<Bytes, Error>>) {
    let (sink, stream) = socket.split();
    let sent = trace.cloned();
    let sink = sink.with(move |bytes| {
        if let Some(trace) = &sent {
            trace.carrier("→", &bytes);
        }
        future::ready(Ok(Message::Binary(bytes)))
    });
    let heard = trace.cloned();
    let stream = stream.filter_map(move |message| {
        future::ready(match message {
            Ok(Message::Binary(bytes)) => {
                if let Some(trace) = &heard {
                    trace.carrier("←", &bytes);
                }
                Some(Ok(bytes))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    });
    (sink, stream.boxed())
}
