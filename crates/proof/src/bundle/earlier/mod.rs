//! An earlier export of the same log, which the user of the verifier kept: what it shows about each entry.
//!
//! The operator of a log can erase an entry and sign a false statement of its kind. For example, the
//! operator could erase a withdrawal and state that it was an attribute. Later grants would then look as
//! if no one had withdrawn. The log itself cannot show this. Everybody who has an export from before the
//! erasure can.

mod compare;
mod kind;
mod record;

pub(super) use compare::Comparison;
pub use record::Earlier;
pub(super) use record::Recorder;
