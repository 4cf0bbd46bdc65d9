//! The Rust SDK: connect, find peers, exchange signals, open WebRTC data channels.
//!
//! [`gateway`] is the way to the platform: presence, sessions and signals over one WebSocket. [`webrtc`] is the peer-to-peer half: one reliable ordered data channel between two peers, over UDP, with the
//! descriptions and candidates carried by whatever signaling the caller has.

pub mod gateway;
pub mod webrtc;

// Compiles and runs the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
