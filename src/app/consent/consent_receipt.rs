//! The receipt of one decision, with what makes it verify without trusting the ledger.

use crate::app::consent::Consent;
use crate::app::error::AppError;
use crate::app::log::read::for_each_event;
use crate::app::log::stream::SubjectStream;
use crate::bounds::rulebook::Rules;
use crate::domain::consent::ConsentRecord;
use crate::domain::event::Event;
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::package::{ConsentRequest, Receipt, ReceiptProof};
use sayso_proof::entry;
use std::sync::Arc;

impl Consent {
    /// The receipt of a decision, by its event, or of the newest one: JSON-LD per ISO/IEC TS 27560:2023.
    ///
    /// # Errors
    /// Nothing is held about the person, or there is no such decision of theirs; or the store.
    pub async fn consent_receipt(
        self: &Arc<Self>,
        subject: &SubjectId,
        event: Option<EventId>,
    ) -> Result<(EventId, serde_json::Value), AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        let consent = Arc::clone(self);
        let making = tokio::task::spawn_blocking(move || {
            let state = stream.read().state.clone();
            let records = state.consents.records();
            let record = match event {
                Some(event) => records.iter().find(|record| record.event_id == event),
                None => records.last(),
            };
            let record = record.ok_or(AppError::NotFound("consent"))?;
            let asked = consent.asked(&stream)?;
            let receipt = consent.make_receipt(&stream, &consent.core.rules(), &state, &asked, record)?;
            Ok((record.event_id, receipt))
        });
        let made = making.await.map_err(|_| AppError::Internal(crate::app::Cause::Task))?;
        // Whoever was erased meanwhile is as if never held.
        made.map_err(|error| if matches!(error, AppError::Erased) { AppError::UnknownSubject } else { error })
    }

    fn asked(&self, stream: &SubjectStream) -> Result<Vec<ConsentRequest>, AppError> {
        let mut asked = Vec::new();
        for_each_event(&stream.keys, self.core.store(), 0, |event, _| {
            if let Event::ConsentRequested(terms) = event.event {
                asked.push(ConsentRequest {
                    event_id: event.event_id,
                    recorded_at_ms: event.recorded_at_ms,
                    about_ms: event.about_ms,
                    terms,
                    actor: event.actor,
                });
            }
            Ok(())
        })?;
        Ok(asked)
    }

    /// The receipt of one of the person's decisions.
    pub(crate) fn make_receipt(
        &self,
        stream: &SubjectStream,
        rules: &Rules,
        state: &SubjectState,
        asked: &[ConsentRequest],
        record: &ConsentRecord,
    ) -> Result<serde_json::Value, AppError> {
        let bytes = self.core.store().read_entry(record.position)?.bytes.ok_or(AppError::Erased)?;
        let header = entry::parse_header(&bytes)?;
        let key = stream.keys.event_key(header.version, &header.event_id)?;
        let proof = ReceiptProof {
            verifier_key: self.core.ledger.verifier_key().to_string(),
            position: record.position,
            tlog_proof: self.core.ledger.proof_text(record.position)?,
            event_key: hex::encode(key.as_bytes()),
        };
        let receipt = Receipt {
            controller: &self.controller,
            pseudonym: &stream.keys.handle.to_string(),
            record,
            decisions: state.consents.records(),
            requests: asked,
            vocabulary: &rules.vocabulary,
            now_ms: self.core.now_ms(),
            proof: &proof,
        };
        Ok(receipt.to_json())
    }
}
