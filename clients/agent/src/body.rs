//! Bodies on their way through, looked at where somebody inspects.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::inspect::Tap;

/// Bodies of answers.
pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// What the local program gets.
pub(crate) enum Sent {
    /// As it comes from the edge.
    Stream(Incoming),
    /// The same, looked at.
    Tapped(Tapped<Incoming>),
    /// A replay's.
    Whole(Tapped<Full<Bytes>>),
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
            Self::Tapped(body) => Pin::new(body).poll_frame(cx),
            Self::Whole(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never: Infallible| match never {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(body) => body.is_end_stream(),
            Self::Tapped(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream(body) => body.size_hint(),
            Self::Tapped(body) => body.size_hint(),
            Self::Whole(body) => body.size_hint(),
        }
    }
}

/// Passes every frame on at once, and shows it to a [`Tap`].
pub(crate) struct Tapped<B: HttpBody> {
    body: B,
    tap: Tap,
}

impl<B: HttpBody> Tapped<B> {
    pub(crate) fn new(body: B, tap: Tap) -> Self {
        Self { body, tap }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Tapped<B>
where
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => this.tap.data(data),
                (_, Some(trailers)) => this.tap.trailers(trailers),
                _ => {}
            },
            Some(Err(error)) => this.tap.broke(&error.to_string()),
            None => this.tap.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: HttpBody> Drop for Tapped<B> {
    fn drop(&mut self) {
        // Who knows that the last frame was the last does not ask for another.
        if self.body.is_end_stream() {
            self.tap.end();
        }
    }
}
