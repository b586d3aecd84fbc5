//! The part of an access package about artifacts: what services built from the person's data, and whether
//! they may still use it.

use crate::app::error::AppError;
use crate::app::rights::export_subject::export::Export;
use crate::app::rights::export_subject::records::named;
use crate::app::rights::export_subject::survey::Survey;
use crate::domain::event::{ArtifactKind, Event, GrantedAttribute};
use crate::domain::ids::EventId;
use crate::domain::rights::Artifact;
use crate::domain::wording;
use crate::package;
use std::collections::BTreeSet;

impl Export {
    /// The record of an artifact, with the keys of the attributes that it was built from.
    pub(crate) fn artifact(
        &self,
        artifact: &Artifact,
        survey: &Survey,
    ) -> Result<package::Artifact, AppError> {
        let of = &artifact.registered;
        let core = &self.rights.core;
        let acknowledged = match artifact.invalidated {
            Some((_, position)) => core.has_acknowledged(&of.recipient, position)?,
            None => false,
        };
        let reason = artifact.ended_at(self.now_ms);
        let granted = self.granted(&of.grant, survey)?;
        let built_from: BTreeSet<&EventId> = of.sources.iter().collect();
        let sources = granted.iter().filter(|cited| built_from.contains(&cited.attribute));
        let purpose = self.purpose(&of.purpose);
        Ok(package::Artifact {
            at: wording::time(artifact.registered_at_ms),
            recipient: of.recipient.clone(),
            attributes: sources.map(named).collect(),
            purpose: purpose.id,
            purpose_title: purpose.title,
            kind: match of.kind {
                ArtifactKind::Embedding => "embedding",
                ArtifactKind::Adapter => "adapter",
                ArtifactKind::Cache => "cache",
                ArtifactKind::Summary => "summary",
                ArtifactKind::Unspecified => "artifact",
            },
            name: of.name.clone(),
            artifact_id: artifact.id.to_string(),
            expires_at: (of.expires_at_ms > 0).then(|| wording::time(of.expires_at_ms)),
            reason: reason.map(|reason| reason.as_str_name()),
            explanation: reason.map(wording::reason_to_subject),
            acknowledged,
        })
    }

    /// The attributes that a grant allowed; none if its record has reached the end of its retention.
    fn granted(&self, grant: &EventId, survey: &Survey) -> Result<Vec<GrantedAttribute>, AppError> {
        let Some(position) = survey.grant_position(grant) else { return Ok(Vec::new()) };
        let event = self.rights.core.event_at(&self.stream.keys, position)?;
        match event.event {
            Event::GrantIssued(issued) => Ok(issued.allowed),
            _ => Ok(Vec::new()),
        }
    }
}
