//! The door of the ledger: what bounds forbid to record is not recorded, and that somebody tried is.

use crate::app::error::AppError;
use crate::app::log::append::Append;
use crate::app::profile::Profiles;
use crate::bounds::error::Denial;
use crate::domain::attribute::Attribute;
use crate::domain::event::{Event, Reason, RecordingRefused};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Profiles {
    /// What bounds refuse of these attributes, by kind; nothing where all may be recorded.
    pub(crate) fn refused_at_the_door<'a>(
        &self,
        append: &Append,
        attributes: impl Iterator<Item = &'a Attribute>,
    ) -> Vec<RecordingRefused> {
        let actor = append.caller.actor();
        let now = append.stream.read();
        let mut refused: BTreeMap<(String, i32, String), RecordingRefused> = BTreeMap::new();
        for attribute in attributes {
            let rules = &append.rules;
            let decided = rules.bounds.decide_recording(
                &now.state,
                &rules.vocabulary,
                attribute,
                &actor,
                append.now_ms,
            );
            let Err(denial) = decided else { continue };
            let kind = (attribute.category.clone(), attribute.provenance.into(), denial.policy.clone());
            let kept = refused.entry(kind).or_insert_with(|| refusal(attribute, denial));
            kept.count = kept.count.saturating_add(1);
        }
        let bounds = append.rules.bounds.positions();
        refused.into_values().map(|kept| RecordingRefused { bounds: bounds.to_vec(), ..kept }).collect()
    }

    /// Records the attempt, and gives the error that the caller gets. The same request made again is one attempt; made
    /// when it may be recorded, it is recorded. About a person of whom nothing is held the attempt is not recorded either:
    /// a refused write brings nobody in.
    pub(crate) async fn refuse_recording(
        self: &Arc<Self>,
        append: Append,
        refused: Vec<RecordingRefused>,
    ) -> Result<AppError, AppError> {
        let append = self.core.as_attempt(append);
        let is_held = append.stream.read().state.version > 0;
        if is_held && !self.core.is_already_recorded(&append)? {
            let events = refused.iter().cloned().map(Event::RecordingRefused);
            let pending_events: Vec<_> = events.map(|event| self.core.plan(event)).collect();
            self.core.commit(append, pending_events).await?;
        }
        Ok(AppError::RecordingRefused(refused))
    }
}

fn refusal(attribute: &Attribute, denial: Denial) -> RecordingRefused {
    RecordingRefused {
        category: attribute.category.clone(),
        provenance: attribute.provenance.into(),
        count: 0,
        decided_by: denial.tier.into(),
        policy: denial.policy,
        article: denial.article,
        reason: denial.reason.unwrap_or(Reason::Forbidden).into(),
        bounds: Vec::new(),
    }
}
