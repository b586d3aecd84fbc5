//! HTTP: the public log in the C2SP tlog-tiles layout, health, metrics, and the server of `sayso witness`.
//! Only this room (top-level module) and the metrics of `sayso monitor` use axum.

mod logs;
mod public_log;
mod server;
mod status;
mod witness_server;

pub use logs::Logs;
pub use public_log::decode_tile_path;
pub use server::{ROUTES, is_reserved, serve};
pub use witness_server::serve_witness;
