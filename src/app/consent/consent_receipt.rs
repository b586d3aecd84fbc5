//! Makes the receipt of one consent decision, with a proof that the log has the decision. Anyone can verify
//! the proof without trusting the ledger.

use crate::app::consent::Consent;
use crate::app::error::{AppError, Cause};
use crate::app::log::stream::SubjectStream;
use crate::bounds::rulebook::RulesHistory;
use crate::domain::consent::ConsentRecord;
use crate::domain::event::Event;
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::package::{ConsentRequest, Receipt, ReceiptProof, sign_receipt};
use sayso_proof::signed_document::DocumentKind;
use std::sync::Arc;

impl Consent {
    /// Makes the receipt of the decision with this event id, or of the newest decision if no id is given.
    /// Returns the event id of the decision and the receipt, which is JSON-LD per ISO/IEC TS 27560:2023.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, they have no such decision, or the store fails.
    pub async fn consent_receipt(
        self: &Arc<Self>,
        subject: &SubjectId,
        event: Option<EventId>,
    ) -> Result<(EventId, serde_json::Value), AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        let consent = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let state = stream.read().state.clone();
            let records = state.consents.records();
            let record = match event {
                Some(event) => records.iter().find(|record| record.event_id == event),
                None => records.last(),
            };
            let record = record.ok_or(AppError::NotFound("consent"))?;
            let requests = consent.consent_requests(&stream)?;
            let receipt =
                consent.make_receipt(&stream, &consent.core.rules_history(), &state, &requests, record)?;
            Ok((record.event_id, receipt))
        });
        let receipt = task.await.map_err(|_| AppError::Internal(Cause::Task))?;
        // A subject who was erased in the meantime looks like one who never existed.
        receipt.map_err(|error| match error {
            AppError::Erased => AppError::UnknownSubject,
            error => error,
        })
    }

    /// Every recorded request for consent, oldest first.
    fn consent_requests(&self, stream: &SubjectStream) -> Result<Vec<ConsentRequest>, AppError> {
        let mut requests = Vec::new();
        self.core.for_each_event(&stream.keys, 0, |event, _| {
            if let Event::ConsentRequested(terms) = event.event {
                requests.push(ConsentRequest {
                    event_id: event.event_id,
                    recorded_at_ms: event.recorded_at_ms,
                    about_ms: event.about_ms,
                    terms,
                    actor: event.actor,
                });
            }
            Ok(())
        })?;
        Ok(requests)
    }

    /// The receipt of one decision of the subject, signed as a whole. It describes purposes and categories
    /// with the titles that they had when the decision was made. `requests` are all requests for consent that
    /// were recorded.
    pub(crate) fn make_receipt(
        &self,
        stream: &SubjectStream,
        rules: &RulesHistory,
        state: &SubjectState,
        requests: &[ConsentRequest],
        record: &ConsentRecord,
    ) -> Result<serde_json::Value, AppError> {
        let header = self.core.header_at(record.position)?.ok_or(AppError::Erased)?;
        let key = stream.keys.event_key(header.version, &header.event_id)?;
        let proof = ReceiptProof {
            verifier_key: self.core.ledger.verifier_key().to_string(),
            position: record.position,
            tlog_proof: self.core.ledger.proof_text(record.position)?,
            event_key: hex::encode(key.as_bytes()),
        };
        let words = rules.words_of(record);
        let receipt = Receipt {
            controller: &self.controller,
            pseudonym: &stream.keys.handle.to_string(),
            record,
            decisions: state.consents.records(),
            requests,
            vocabulary: &words,
            now_ms: self.core.now_ms(),
            proof: &proof,
        };
        let sign = |digest| self.core.ledger.sign_document(DocumentKind::Receipt, digest);
        let inconsistent = |_| AppError::Internal(Cause::Inconsistent("a receipt has no canonical JSON"));
        sign_receipt(receipt.to_json(), sign).map_err(inconsistent)
    }
}
