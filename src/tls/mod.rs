//! Accepts connections: TLS 1.3, client certificates, and limits on the number and the lifetime of
//! connections.
//!
//! [`Incoming`] is a stream of accepted [`Connection`]s. Each carries a [`Peer`]: the client's certificate,
//! its address, and an [`Activity`] through which the server reports calls, so that idle and stalled
//! connections are closed.

mod activity;
mod certificates;
mod clear_reads;
mod client_certificate;
mod coalesce_writes;
mod connection;
mod frame_tracker;
mod handshake_time;
mod incoming;
mod per_address;

pub use activity::{Activity, Call};
pub use certificates::{Certificates, TlsError, TlsFiles};
pub use clear_reads::ClearReads;
pub use client_certificate::ClientCertificate;
pub use connection::{Connection, ConnectionLimits, Peer};
pub use frame_tracker::PREFACE as HTTP2_PREFACE;
pub use incoming::Incoming;
