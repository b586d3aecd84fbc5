//! Finds, from an entry's event, how later grants can depend on the entry: as an attribute, as a decision,
//! or not at all (see `ErasedKind` in `events.proto`).

use crate::event::event_body::Event;

/// What an export shows about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ExportedKind {
    /// It was erased already.
    Erased,
    /// The export does not have its key.
    Withheld,
    System,
    /// An event that recorded an attribute.
    Attribute,
    /// An event about an attribute. It is a decision as long as the attribute remains.
    AboutAttribute,
    Decision,
    /// A refused erasure. It is a decision as long as it forbids a use.
    RefusedErasure,
    Other,
}

impl ExportedKind {
    pub fn of_number(number: u8) -> Option<Self> {
        let all = [
            Self::Erased,
            Self::Withheld,
            Self::System,
            Self::Attribute,
            Self::AboutAttribute,
            Self::Decision,
            Self::RefusedErasure,
            Self::Other,
        ];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// What the event of an entry of a data subject is.
pub(super) fn exported_kind(event: &Event) -> ExportedKind {
    match event {
        Event::AttributeRecorded(_) | Event::EarlierAttributeRecorded(_) => ExportedKind::Attribute,
        Event::ConsentGiven(_)
        | Event::ConsentRefused(_)
        | Event::ConsentRenewed(_)
        | Event::ConsentWithdrawn(_)
        | Event::SignalRecorded(_)
        | Event::SignalLifted(_)
        | Event::PersonalBoundsSet(_)
        | Event::SubjectDescribed(_)
        | Event::RequestWithdrawn(_) => ExportedKind::Decision,
        Event::ErasureRefused(_) => ExportedKind::RefusedErasure,
        event if named_attribute(event).is_some() => ExportedKind::AboutAttribute,
        _ => ExportedKind::Other,
    }
}

/// Whether the event records an attribute, whose id is that of the event.
pub(super) fn records_attribute(event: &Event) -> bool {
    matches!(
        event,
        Event::AttributeRecorded(_) | Event::EarlierAttributeRecorded(_) | Event::AttributeCorrected(_)
    )
}

/// The id of the attribute that the event is about.
pub(super) fn named_attribute(event: &Event) -> Option<&[u8]> {
    Some(match event {
        Event::AttributeCorrected(corrected) => &corrected.corrects,
        Event::AttributeContested(contested) => &contested.attribute,
        Event::AttributeConfirmed(confirmed) => &confirmed.attribute,
        Event::AttributeSourcesAdded(added) => &added.attribute,
        Event::AttributeRemoved(removed) => &removed.attribute,
        Event::AttributeExpired(expired) => &expired.attribute,
        _ => return None,
    })
}
