//! Newtypes for the ids of data subjects, events and grants.

use super::names;
use super::{Violation, Violations};
use sayso_proof::certificate;
pub use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::fmt::{self, Debug, Display};
use std::str::FromStr;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The controller's own id of a data subject: 1 to 256 bytes, compared byte for byte. Of all events,
/// only `RequestSubmitted` has it, and that event is sealed. It is never written to log output.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub struct SubjectId(String);

impl SubjectId {
    /// Checks and wraps an id.
    ///
    /// # Errors
    /// The id is empty, too long, or has control characters.
    pub fn new(id: &str) -> Result<Self, Violation> {
        if (1..=256).contains(&id.len()) && !id.chars().any(char::is_control) {
            Ok(Self(id.to_owned()))
        } else {
            Err(Violation::new("subject", "must have 1 to 256 bytes and no control characters"))
        }
    }

    /// Checks the id of a person about whom nothing is recorded yet. An id that is recorded still matches, no
    /// matter which characters it has.
    ///
    /// # Errors
    /// The id is not in Unicode normalization form C, has an invisible character, or begins or ends with
    /// white space.
    pub fn check_new(&self) -> Result<(), Violations> {
        let problem = names::problem(&self.0);
        problem.map_or(Ok(()), |problem| Err(Violations::one("subject", problem.to_string())))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectId(..)")
    }
}

/// Id of an event: a UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventId(pub [u8; 16]);

impl Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&uuid::Uuid::from_bytes(self.0).hyphenated(), f)
    }
}

impl FromStr for EventId {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        let id = uuid::Uuid::try_parse(text).map_err(|_| Violation::new("event id", "must be a UUID"))?;
        Ok(Self(id.into_bytes()))
    }
}

impl EventId {
    /// What the log and the index have of the id of a request.
    #[must_use]
    pub fn request_hash(&self) -> Hash {
        certificate::request_hash(&self.0)
    }

    /// Reads an id from the bytes in an event; `None` unless there are exactly 16.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// Id of a grant: its position in the log, so that it is found without an index, and a token that cannot be
/// guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId {
    /// Position of the `GrantIssued` event.
    pub position: u64,
    /// The last 8 bytes of its event id.
    pub token: [u8; 8],
}

impl GrantId {
    /// Creates the id of the grant whose event is at `position`.
    #[must_use]
    pub fn new(position: u64, event: &EventId) -> Self {
        let mut token = [0; 8];
        token.copy_from_slice(event.0.split_at(8).1);
        Self { position, token }
    }
}

impl Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}-{}", self.position, hex::encode(self.token))
    }
}

impl FromStr for GrantId {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        let violation = || Violation::new("grant_id", "must look like `g<position>-<16 hex digits>`");
        let (position, token) =
            text.strip_prefix('g').and_then(|rest| rest.split_once('-')).ok_or_else(violation)?;
        let mut bytes = [0; 8];
        hex::decode_to_slice(token, &mut bytes).map_err(|_| violation())?;
        let id = Self { position: position.parse().map_err(|_| violation())?, token: bytes };
        if id.to_string() == text { Ok(id) } else { Err(violation()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_well_formed_ids_parse_and_they_round_trip() {
        let event = EventId([0xab; 16]);
        assert_eq!(event.to_string().parse::<EventId>().unwrap(), event);
        let grant = GrantId::new(1284, &event);
        assert_eq!(grant.to_string(), "g1284-abababababababab");
        assert_eq!(grant.to_string().parse::<GrantId>().unwrap(), grant);
        for bad in ["", "g", "g1-", "g01-abababababababab", "g1-ABABABABABABABAB", "1-abababababababab"] {
            assert!(bad.parse::<GrantId>().is_err(), "{bad}");
        }
        assert!(SubjectId::new("").is_err());
        assert!(!format!("{:?}", SubjectId::new("secret").unwrap()).contains("secret"));
    }
}
