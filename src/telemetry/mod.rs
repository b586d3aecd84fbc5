//! What operators see: structured logs, metrics, traces, and the location of a panic in the code, never its
//! message.
//!
//! Nothing personal is logged, counted or traced, at any level.

mod call_meter;
mod current_call;
mod disk_usage;
mod filter;
mod log_status;
mod logging;
mod metrics;
mod prometheus_text;
mod terminal;
mod traces;
mod witness_metrics;

pub use call_meter::CallMeter;
pub use current_call::{CallName, InCall};
pub use log_status::LogStatus;
pub use logging::{LogForm, start};
pub use metrics::{ErasureStep, Metrics, metrics};
pub use terminal::escaped;
pub use traces::{Export, ExportError, Traces, end_call, join_trace};
