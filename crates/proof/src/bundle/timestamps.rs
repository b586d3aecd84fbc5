//! Checks the timestamps of a bundle. The name of the file of a timestamp states a tree size. The
//! timestamp must cover the checkpoint of that size, with the root that the verifier computes from the
//! leaf hashes.

use super::member::Member;
use super::report::VerifyFailure;
use crate::checkpoint::Checkpoint;
use crate::merkle::{Frontier, Hash};
use crate::timestamp::{Authorities, TimestampError, Timestamped, Token};
use std::collections::VecDeque;

/// Maximum number of timestamps in a bundle.
pub const TIMESTAMPS_MAX: usize = 1_024;

/// The timestamps read so far.
#[derive(Default)]
pub(super) struct Timestamps {
    /// Those whose tree is not reached yet, in order of tree size.
    waiting: VecDeque<(u64, Token)>,
    /// Those whose tree is reached, with its root.
    reached: Vec<(u64, Token, Hash)>,
}

impl Timestamps {
    /// Adds the timestamp of the tree of this size. The order of the files makes the sizes ascend.
    pub fn add(&mut self, size: u64, bytes: &[u8]) -> Result<(), VerifyFailure> {
        let member = Member::Timestamps(size);
        if self.waiting.len() >= TIMESTAMPS_MAX {
            return Err(VerifyFailure::at(member, "more than 1,024 timestamps"));
        }
        let token = Token::parse(bytes).map_err(|error| VerifyFailure::at(member, error))?;
        self.waiting.push_back((size, token));
        Ok(())
    }

    /// Keeps the root of this tree for the timestamp of its size, if there is one. Call it after each leaf
    /// hash.
    pub fn reach(&mut self, tree: &Frontier) {
        if self.waiting.front().is_some_and(|(size, _)| *size == tree.size())
            && let Some((size, token)) = self.waiting.pop_front()
        {
            self.reached.push((size, token, tree.root()));
        }
    }

    /// Checks every timestamp after the last leaf hash. Returns those by a trusted authority, and the number
    /// of others.
    pub fn finish(
        self,
        origin: &str,
        authorities: Option<&Authorities>,
    ) -> Result<(Vec<Timestamped>, u64), VerifyFailure> {
        if let Some((size, _)) = self.waiting.front() {
            let member = Member::Timestamps(*size);
            return Err(VerifyFailure::at(member, "the log has no tree of this size"));
        }
        let (mut trusted, mut untrusted) = (Vec::new(), 0_u64);
        for (size, token, root) in &self.reached {
            let failure = |error: TimestampError| VerifyFailure::at(Member::Timestamps(*size), error);
            let text = Checkpoint { origin: origin.to_owned(), size: *size, root: *root }.to_text();
            token.check_text(&text).map_err(failure)?;
            match authorities.map(|authorities| authorities.verify(token)) {
                Some(Ok(authority)) => {
                    let (at_ms, accuracy_ms) = (token.time_ms(), token.accuracy_ms());
                    trusted.push(Timestamped { tree_size: *size, at_ms, accuracy_ms, authority });
                }
                None | Some(Err(TimestampError::Untrusted(_))) => untrusted = untrusted.saturating_add(1),
                Some(Err(error)) => return Err(failure(error)),
            }
        }
        if authorities.is_some() && trusted.is_empty() {
            return Err(VerifyFailure::at("--tsa-cert", "the bundle has no timestamp of a given authority"));
        }
        Ok((trusted, untrusted))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const ORIGIN: &str = "log.example/one";

    fn file(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/timestamp/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    /// Reads the timestamps of `size`, then leaf hashes, and returns the outcome.
    fn checked(
        tokens: &[(u64, &str)],
        leaves: &[u8],
        trusted: Option<&str>,
    ) -> Result<(Vec<Timestamped>, u64), VerifyFailure> {
        let mut timestamps = Timestamps::default();
        for (size, name) in tokens {
            timestamps.add(*size, &file(name))?;
        }
        let mut tree = Frontier::new();
        for leaf in leaves {
            tree.push([*leaf; 32]);
            timestamps.reach(&tree);
        }
        let authorities = trusted.map(|name| Authorities::from_pem(&file(name)).unwrap());
        timestamps.finish(ORIGIN, authorities.as_ref())
    }

    #[test]
    fn a_timestamp_covers_the_tree_of_its_size() {
        let of_three = [(3, "ec.tst")];
        let (trusted, others) = checked(&of_three, &[1, 2, 3, 4], Some("ca.pem")).unwrap();
        assert_eq!((trusted.len(), others), (1, 0));
        assert!(trusted.iter().all(|one| one.tree_size == 3 && one.authority == "CN=ec,O=Test"));
        assert_eq!(checked(&of_three, &[1, 2, 3], None).unwrap(), (Vec::new(), 1));
        assert_eq!(checked(&[], &[1, 2, 3], None).unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn a_timestamp_of_another_tree_or_by_a_stranger_is_rejected() {
        let failure = |tokens: &[(u64, &str)], leaves: &[u8], trusted| {
            checked(tokens, leaves, trusted).unwrap_err().to_string()
        };
        let of_three = [(3, "ec.tst")];
        assert!(failure(&of_three, &[1, 2, 4], Some("ca.pem")).contains("not for this checkpoint"));
        assert!(failure(&of_three, &[1, 2, 4], None).contains("not for this checkpoint"));
        assert!(failure(&[(2, "ec.tst")], &[1, 2, 3], None).contains("not for this checkpoint"));
        assert!(failure(&of_three, &[1, 2], None).contains("no tree of this size"));
        assert!(failure(&of_three, &[1, 2, 3], Some("other-ca.pem")).contains("no timestamp of a given"));
        assert!(failure(&[], &[1, 2, 3], Some("ca.pem")).contains("no timestamp of a given"));
        assert!(failure(&[(3, "checkpoint.txt")], &[1, 2, 3], None).contains("not a timestamp"));
    }
}
