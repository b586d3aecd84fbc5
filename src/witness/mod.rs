//! Witnesses, from both sides: a witness that cosigns what others' logs say (`sayso witness`), and whom this ledger asks.
//!
//! The protocol is C2SP tlog-witness with `cosignature/v1`; its messages are `sayso_proof::witness`. Out of scope: HTTP.

mod cosigner;
mod rounds;

pub use cosigner::{OpenError, Refusal, Witness, name_of_log};
pub use rounds::{Ask, Asked, Policy, Question, Rounds};
