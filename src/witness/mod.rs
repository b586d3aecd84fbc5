//! Both sides of witnessing: a witness that cosigns checkpoints of other logs (`sayso witness`), and the
//! rounds in which this ledger asks its own witnesses.
//!
//! The protocol is C2SP tlog-witness, with Ed25519 and ML-DSA-44 cosignatures; its messages are in
//! `sayso_proof::witness`. Callers of this module send the HTTP requests.

mod cosigner;
mod rounds;

pub use cosigner::{OpenError, Refusal, Witness, name_of_log, write_durably};
pub use rounds::{Ask, Policy, Question, Rounds, WitnessEndpoint};
