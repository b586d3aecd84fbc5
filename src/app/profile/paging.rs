//! Divides answers into pages of about 2 MiB at most, half of what gRPC clients accept by default. So every
//! page can be received, however much is recorded.

use crate::app::error::AppError;
use crate::app::log::moment::Moment;
use crate::app::profile::Profiles;
use crate::app::profile::get_profile::Profile;
use crate::domain::active_signal::ActiveSignal;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::description::Description;
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Approximate limit for the items of one page, bytes: half of what gRPC clients accept by default. A single
/// larger item gets a page to itself.
pub(crate) const PAGE_BYTES_MAX: usize = 2 << 20;
/// Size of a signal without its texts, bytes.
const SIGNAL_BYTES: usize = 64;

/// The room on one page, in items and in bytes.
pub struct Room {
    items: usize,
    items_max: usize,
    bytes: usize,
}

impl Room {
    /// An empty page of at most `items_max` items.
    #[must_use]
    pub fn new(items_max: usize) -> Self {
        Self { items: 0, items_max, bytes: 0 }
    }

    /// Takes room for an item if it fits; the first item always does.
    pub fn take(&mut self, bytes: usize) -> bool {
        let bytes = self.bytes.saturating_add(bytes);
        let fits = self.items == 0 || self.items < self.items_max && bytes <= PAGE_BYTES_MAX;
        if fits {
            (self.items, self.bytes) = (self.items.saturating_add(1), bytes);
        }
        fits
    }
}

/// A page of a profile.
#[derive(Clone, Debug, Default)]
pub struct ProfilePage {
    /// By key.
    pub attributes: Vec<Arc<CurrentAttribute>>,
    /// In the order recorded. Signals come after the last attribute.
    pub signals: Vec<ActiveSignal>,
    /// How many events the subject had at the moment that the pages show.
    pub version: u64,
    /// The subject's description, which bounds use.
    pub description: Description,
    /// The token of the next page; empty at the end.
    pub next: String,
}

/// Where a page begins.
enum Start {
    /// After the attribute with this key.
    Attributes(String),
    /// At this signal.
    Signals(usize),
}

impl Profiles {
    /// A page of the profile at a moment. Later pages show the same version as the first page, even if more
    /// is recorded in the meantime. `rebuild` folds the events instead of using the state in memory.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, the token is invalid, or the store failed.
    pub async fn profile_page(
        self: &Arc<Self>,
        subject: &SubjectId,
        moment: Moment,
        rebuild: bool,
        page_token: &str,
        items_max: usize,
    ) -> Result<ProfilePage, AppError> {
        let start = parse(page_token)?;
        let moment = start.as_ref().map_or(moment, |(version, _)| Moment::Version(*version));
        let Profile { state } = self.get_profile(subject, moment, rebuild).await?;
        let mut page = ProfilePage {
            version: state.version,
            description: state.description.clone(),
            ..Default::default()
        };
        page.fill(&state, start.map(|(_, start)| start), items_max);
        Ok(page)
    }
}

impl ProfilePage {
    fn fill(&mut self, state: &SubjectState, start: Option<Start>, items_max: usize) {
        let mut room = Room::new(items_max);
        let (after, first_signal) = match start {
            None => (Some(Bound::Unbounded), 0),
            Some(Start::Attributes(key)) => (Some(Bound::Excluded(key)), 0),
            Some(Start::Signals(first)) => (None, first),
        };
        let attributes = after.map(|after| range(&state.attributes, after));
        for current in attributes.into_iter().flatten() {
            if !room.take(current.attribute.bytes().saturating_add(current.actor.name.len())) {
                let last = self.attributes.last().map_or("", |current| current.attribute.key.as_str());
                self.next = format!("{}:f:{last}", state.version);
                return;
            }
            self.attributes.push(Arc::clone(current));
        }
        for (number, signal) in state.signals.iter().enumerate().skip(first_signal) {
            let texts = signal.purposes.iter().chain([&signal.interaction]).map(String::len);
            if !room.take(texts.fold(SIGNAL_BYTES, usize::saturating_add)) {
                self.next = format!("{}:s:{number}", state.version);
                return;
            }
            self.signals.push(signal.clone());
        }
    }
}

fn range(
    attributes: &BTreeMap<String, Arc<CurrentAttribute>>,
    after: Bound<String>,
) -> impl Iterator<Item = &Arc<CurrentAttribute>> {
    attributes.range((after, Bound::Unbounded)).map(|(_, current)| current)
}

fn parse(token: &str) -> Result<Option<(u64, Start)>, AppError> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts: Vec<&str> = token.splitn(3, ':').collect();
    let parsed = match parts.as_slice() {
        [version, "f", key] => {
            version.parse().ok().map(|version| (version, Start::Attributes((*key).to_owned())))
        }
        [version, "s", number] => version
            .parse()
            .ok()
            .zip(number.parse().ok())
            .map(|(version, number)| (version, Start::Signals(number))),
        _ => None,
    };
    let wrong = || AppError::invalid("page_token", "must be the `next_page_token` of the previous answer");
    parsed.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_page_has_limited_room_but_always_fits_its_first_item() {
        let mut room = Room::new(9);
        assert!(room.take(PAGE_BYTES_MAX * 2) && !room.take(1));
        let mut room = Room::new(9);
        assert!(room.take(PAGE_BYTES_MAX - 1) && room.take(1) && !room.take(1));
        let mut room = Room::new(2);
        assert!(room.take(1) && room.take(1) && !room.take(1));
    }

    #[test]
    fn only_well_formed_tokens_are_accepted() {
        assert!(parse("").unwrap().is_none());
        assert!(matches!(parse("7:f:a:b").unwrap(), Some((7, Start::Attributes(key))) if key == "a:b"));
        assert!(matches!(parse("7:s:3").unwrap(), Some((7, Start::Signals(3)))));
        for wrong in ["7", "7:f", "x:f:k", "7:s:x", "7:t:3", ":"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
