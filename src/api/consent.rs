//! The handlers of `ConsentService`.

use crate::api::access::layer;
use crate::api::{Api, convert, paging, status};
use crate::app::{Choice, DecidedBy, NewSignal, OutdatedQuery, Presentation};
use crate::domain::consent::Decision;
use crate::domain::event::{SignalKind, codec};
use crate::proto;
use crate::proto::consent_service_server::ConsentService;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

fn choice(choice: proto::ConsentChoice) -> Result<Choice, Status> {
    let decision = convert::consent::decision(choice.decision)?;
    // A refusal or withdrawal has no end, so it is not rejected because of one.
    let until = choice.expires_at.as_ref().filter(|_| decision.is_yes());
    Ok(Choice {
        decision,
        until_ms: convert::times::maybe_millis(until, "choices.expires_at")?,
        interactions: choice.interactions,
        purposes: choice.purposes,
        categories: choice.categories,
        recipients: choice.recipients,
        explicit: choice.explicit,
    })
}

#[tonic::async_trait]
impl ConsentService for Api {
    async fn request_consent(
        &self,
        request: Request<proto::RequestConsentRequest>,
    ) -> Answer<proto::RequestConsentResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let asked = Choice {
            decision: Decision::Given,
            purposes: request.purposes,
            categories: request.categories,
            recipients: request.recipients,
            explicit: false,
            until_ms: None,
            interactions: Vec::new(),
        };
        let notice = convert::consent::notice_served(request.notice);
        let presentation = Presentation { notice, channel: request.channel };
        let receipt =
            self.app.consent.request_consent(&caller, &subject, asked, &presentation, &options).await;
        let receipt = Some(convert::writes::receipt(receipt.map_err(status::of)?, &caller));
        Ok(Response::new(proto::RequestConsentResponse { receipt }))
    }

    async fn record_consent(
        &self,
        request: Request<proto::RecordConsentRequest>,
    ) -> Answer<proto::RecordConsentResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let choices = request.choices.into_iter().map(choice).collect::<Result<_, Status>>()?;
        let notice = convert::consent::notice_served(request.notice);
        let presentation = Presentation { notice, channel: request.channel };
        let decided_by = if request.guardian { DecidedBy::Guardian } else { DecidedBy::Subject };
        let changed = self
            .app
            .consent
            .record_consent(&caller, &subject, choices, &presentation, decided_by, &options)
            .await;
        let changed = changed.map_err(status::of)?;
        let receipt = Some(convert::writes::receipt(changed.receipt, &caller));
        let unmatched = convert::consent::unmatched(changed.unmatched);
        let remaining_uses =
            changed.remaining_uses.into_iter().map(convert::consent::remaining_use).collect();
        let revoked_grants = changed.revoked_grants;
        let answer = proto::RecordConsentResponse { receipt, revoked_grants, unmatched, remaining_uses };
        Ok(Response::new(answer))
    }

    async fn record_signal(
        &self,
        request: Request<proto::RecordSignalRequest>,
    ) -> Answer<proto::RecordSignalResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let kind = SignalKind::try_from(request.kind).unwrap_or_default();
        let signal = NewSignal {
            kind,
            purposes: request.purposes,
            lift: request.lift,
            interaction: request.interaction,
        };
        let changed = self.app.consent.record_signal(&caller, &subject, signal, &options).await;
        let changed = changed.map_err(status::of)?;
        let receipt = Some(convert::writes::receipt(changed.receipt, &caller));
        let opt_out = changed.effect.map(|effect| proto::OptOutEffect {
            stopped_purposes: effect.stopped_purposes,
            overridden_consents: effect.overridden_consents.iter().map(ToString::to_string).collect(),
            explanation: effect.explanation,
            has_more: effect.has_more,
        });
        let unmatched = convert::consent::unmatched(changed.unmatched);
        let remaining_uses =
            changed.remaining_uses.into_iter().map(convert::consent::remaining_use).collect();
        let revoked_grants = changed.revoked_grants;
        let answer =
            proto::RecordSignalResponse { receipt, revoked_grants, opt_out, unmatched, remaining_uses };
        Ok(Response::new(answer))
    }

    async fn list_consents(
        &self,
        request: Request<proto::ListConsentsRequest>,
    ) -> Answer<proto::ListConsentsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let moment = convert::times::moment(request.as_of.as_ref())?;
        caller.check_moment(moment).map_err(status::of)?;
        let start = paging::start(&request.page_token)?.unwrap_or_default();
        let count = paging::size(request.page_size)?;
        self.app.record_view(&caller, &subject, "ListConsents").await.map_err(status::of)?;
        let found = self
            .app
            .consent
            .list_consents(&caller, &subject, moment, start, count)
            .await
            .map_err(status::of)?;
        let record = |listed: crate::app::ListedConsent| {
            let crate::app::ListedConsent { record, in_force, stopped_purposes } = listed;
            let decision = convert::consent::decision_name(record.decision);
            proto::ConsentRecord {
                event_id: record.event_id.to_string(),
                position: record.position,
                recorded_at: Some(convert::times::time(record.recorded_at_ms)),
                about: Some(convert::times::time(record.about_ms)),
                decision: decision.into(),
                purposes: record.terms.purposes,
                categories: record.terms.categories,
                recipients: record.terms.recipients,
                explicit: record.terms.explicit,
                notice: record.terms.notice,
                channel: record.terms.channel,
                expires_at: record.terms.until_ms.map(convert::times::time),
                guardian: record.terms.guardian,
                recorded_by: Some(codec::message(&record.actor)),
                in_force,
                stopped_purposes,
            }
        };
        let consents = found.records.into_iter().map(record).collect();
        let next_page_token = paging::token(found.next);
        Ok(Response::new(proto::ListConsentsResponse { consents, version: found.version, next_page_token }))
    }

    async fn list_outdated_consents(
        &self,
        request: Request<proto::ListOutdatedConsentsRequest>,
    ) -> Answer<proto::ListOutdatedConsentsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subjects = request.subjects.iter().map(|id| caller.subject_of(id));
        let query = OutdatedQuery {
            subjects: subjects.collect::<Result<_, _>>().map_err(status::of)?,
            within_days: request.within_days,
            page_token: request.page_token,
            count: paging::size(request.page_size)?,
        };
        let page = self.app.consent.list_outdated(&caller, query).await.map_err(status::of)?;
        Ok(Response::new(proto::ListOutdatedConsentsResponse {
            consents: page.consents.into_iter().map(convert::consent::outdated).collect(),
            people_examined: page.examined,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_consent_receipt(
        &self,
        request: Request<proto::GetConsentReceiptRequest>,
    ) -> Answer<proto::GetConsentReceiptResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let event = match request.event_id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|_| status::invalid("event_id", "must be a UUID"))?),
        };
        self.app.record_view(&caller, &subject, "GetConsentReceipt").await.map_err(status::of)?;
        let (event, receipt) = self.app.consent.consent_receipt(&subject, event).await.map_err(status::of)?;
        let receipt = format!("{receipt:#}\n");
        Ok(Response::new(proto::GetConsentReceiptResponse { event_id: event.to_string(), receipt }))
    }
}
