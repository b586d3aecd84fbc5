//! Refuses to record attributes that bounds forbid, and records that a caller tried to.

use crate::app::error::AppError;
use crate::app::log::append::Append;
use crate::app::profile::Profiles;
use crate::app::profile::special_replies::SourceCategories;
use crate::bounds::error::Denial;
use crate::domain::attribute::Attribute;
use crate::domain::event::{Event, Provenance, Reason, RecordingRefused};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Profiles {
    /// The refusals of these attributes by bounds, grouped by category, provenance and policy; empty if all
    /// may be recorded. Each attribute comes with the categories of its sources.
    pub(crate) fn refusals<'a>(
        &self,
        append: &Append,
        attributes: impl Iterator<Item = (&'a Attribute, &'a SourceCategories)>,
    ) -> Vec<RecordingRefused> {
        let actor = append.caller.actor();
        let now = append.stream.read();
        let mut refused: BTreeMap<(String, Provenance, String), RecordingRefused> = BTreeMap::new();
        for (attribute, sources) in attributes {
            let rules = &append.rules;
            let decided = rules.bounds.decide_recording(
                &now.state,
                &rules.vocabulary,
                (attribute, sources),
                &actor,
                append.now_ms,
            );
            let Err(denial) = decided else { continue };
            let kind = (attribute.category.clone(), attribute.provenance, denial.policy.clone());
            let group = refused.entry(kind).or_insert_with(|| refusal(attribute, denial));
            group.count = group.count.saturating_add(1);
        }
        let bounds = append.rules.bounds.positions();
        refused.into_values().map(|group| RecordingRefused { bounds: bounds.to_vec(), ..group }).collect()
    }

    /// Records the attempt, and returns the error for the caller. A repeated request counts as the same
    /// attempt; once bounds allow it, its attributes are recorded normally. If nothing is recorded about the
    /// data subject, the attempt is not recorded either: a refused write creates no stream.
    pub(crate) async fn refuse_recording(
        self: &Arc<Self>,
        append: Append,
        refused: Vec<RecordingRefused>,
    ) -> Result<AppError, AppError> {
        let append = self.core.as_attempt(append);
        let has_events = append.stream.read().state.version > 0;
        if has_events && !self.core.is_already_recorded(&append)? {
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
        provenance: attribute.provenance,
        count: 0,
        decided_by: denial.tier,
        policy: denial.policy,
        article: denial.article,
        reason: denial.reason.unwrap_or(Reason::Forbidden),
        bounds: Vec::new(),
    }
}
