//! A request to record or lift a signal of a data subject.

use crate::domain::event::SignalKind;

/// A signal to be recorded or lifted.
#[derive(Clone, Debug)]
pub struct NewSignal {
    /// The kind of signal.
    pub kind: SignalKind,
    /// The purposes that it applies to; empty means all.
    pub purposes: Vec<String>,
    /// Whether it lifts earlier signals of its kind.
    pub lift: bool,
    /// For a pause: the conversation that is paused; empty means all conversations. At most 128 bytes.
    pub interaction: String,
}
