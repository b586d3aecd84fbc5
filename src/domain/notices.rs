//! Which versions of notices are required. A provider can require that people are asked again. From then on,
//! consents to earlier versions of a notice no longer allow uses.

use super::ids::EventId;
use crate::domain::event::NoticeRef;
use std::collections::BTreeMap;

/// A version of a notice that is required: consents to earlier versions do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredVersion {
    /// The first version that counts.
    pub version: String,
    /// The time from which it is required, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// The event that requires it.
    pub event_id: EventId,
    /// The position at which the version was published.
    published: u64,
}

/// The published versions of each notice, and those that are required.
#[derive(Clone, Debug, Default)]
pub struct NoticeVersions(BTreeMap<String, Versions>);

#[derive(Clone, Debug, Default)]
struct Versions {
    /// The position at which each version was published.
    published: BTreeMap<String, u64>,
    /// Oldest first. Each requires a later version than the one before.
    required: Vec<RequiredVersion>,
}

impl NoticeVersions {
    /// Notes that a version was published at a position.
    pub fn publish(&mut self, notice: &NoticeRef, position: u64) {
        let published = &mut self.0.entry(notice.id.clone()).or_default().published;
        published.entry(notice.version.clone()).or_insert(position);
    }

    /// Notes that a version is required from `since_ms` on (milliseconds since the Unix epoch), by an event
    /// at a position. It has no effect if this version or a later one is required already, so an earlier
    /// version never counts again. An unknown version counts as one that was published at that position.
    pub fn require(&mut self, id: &str, version: &str, since_ms: u64, (event_id, position): (EventId, u64)) {
        let versions = self.0.entry(id.to_owned()).or_default();
        let published = versions.published.get(version).copied().unwrap_or(position);
        if versions.required.last().is_none_or(|last| last.published < published) {
            let version = version.to_owned();
            versions.required.push(RequiredVersion { version, since_ms, event_id, published });
        }
    }

    /// Whether this version of the notice was published.
    #[must_use]
    pub fn is_published(&self, id: &str, version: &str) -> bool {
        self.0.get(id).is_some_and(|versions| versions.published.contains_key(version))
    }

    /// Whether a version was published before this one.
    #[must_use]
    pub fn has_earlier(&self, id: &str, version: &str) -> bool {
        let Some(versions) = self.0.get(id) else { return false };
        let published = versions.published.get(version);
        versions.published.values().any(|other| Some(other) < published)
    }

    /// The version that is required now.
    #[must_use]
    pub fn required(&self, id: &str) -> Option<&RequiredVersion> {
        self.0.get(id)?.required.last()
    }

    /// Since when a consent to this version of a notice does not count, and the version that was required
    /// then; `None` if the consent counts. A version that was never published counts as the earliest.
    #[must_use]
    pub fn outdated(&self, notice: &NoticeRef) -> Option<&RequiredVersion> {
        let versions = self.0.get(&notice.id)?;
        let published = versions.published.get(&notice.version);
        versions.required.iter().find(|required| published < Some(&required.published))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_version_never_counts_again() {
        let mut notices = NoticeVersions::default();
        let of =
            |version: &str| NoticeRef { id: "n".into(), version: version.into(), ..NoticeRef::default() };
        for (position, version) in (0..).zip(["a", "b", "c"]) {
            notices.publish(&of(version), position);
        }
        let since = |notices: &NoticeVersions| {
            ["unknown", "a", "b", "c"].map(|version| Some(notices.outdated(&of(version))?.since_ms))
        };
        assert_eq!(since(&notices), [None; 4]);
        notices.require("n", "b", 10, (EventId::default(), 3));
        assert_eq!(since(&notices), [Some(10), Some(10), None, None]);
        notices.require("n", "a", 20, (EventId::default(), 4));
        assert_eq!(since(&notices), [Some(10), Some(10), None, None]);
        notices.require("n", "c", 30, (EventId::default(), 5));
        assert_eq!(since(&notices), [Some(10), Some(10), Some(30), None]);
        assert_eq!(notices.required("n").map(|required| required.version.as_str()), Some("c"));
    }
}
