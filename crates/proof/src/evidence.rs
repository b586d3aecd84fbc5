//! The evidence that a recipient gives of how it carried out an erasure: the commitment in the log, and the
//! statement that the recipient signs. docs/format.md specifies both.

use crate::event::RecipientReported;
use sha2::{Digest, Sha256};

/// The commitment to evidence. Anyone who has the evidence and the salt can show that the commitment is to
/// this evidence. Without the salt, the commitment cannot be compared with a guess.
#[must_use]
pub fn commitment(salt: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"sayso erasure evidence v1\n");
    hasher.update(salt);
    hasher.update(digest);
    hasher.finalize().into()
}

/// What a recipient signs: the log, the erasures, its name, the outcome and the commitment.
#[must_use]
pub fn statement(origin: &str, report: &RecipientReported) -> String {
    let positions: Vec<String> = report.positions.iter().map(u64::to_string).collect();
    format!(
        "sayso erasure evidence v1\n{origin}\n{}\n{}\n{}\n{}\n",
        positions.join(","),
        report.recipient,
        report.outcome,
        hex::encode(&report.evidence)
    )
}
