//! The handlers of `BoundsService`.

use crate::api::access::layer;
use crate::api::{Api, convert, paging, status};
use crate::app::{
    AppError, Definition, NextVersion, Notice, PersonalBoundsChanged, PreviewRequest, PreviewStep,
};
use crate::domain::event::{CategoryDefined, PurposeDefined, codec};
use crate::proto;
use crate::proto::Role;
use crate::proto::bounds_service_server::BoundsService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// A message of a preview. An authority gets no handles, because it publishes rules and sees no data
/// subjects.
fn preview_step(step: PreviewStep, role: Role) -> proto::PreviewBoundsResponse {
    let handles = |handles: &[crate::domain::ids::Handle]| match role {
        Role::Authority => Vec::new(),
        _ => handles.iter().map(ToString::to_string).collect(),
    };
    let result = step.result.map(|found| proto::BoundsPreview {
        grants_open: found.grants_open,
        grants_to_revoke: found.grants_revoked,
        people_with_revocations: found.subjects_revoked,
        people_changed: found.subjects_changed,
        examples: handles(&found.examples),
        left_out: found.omitted,
        lines: found
            .lines
            .into_iter()
            .map(|(of, line)| proto::PreviewLine {
                purpose: of.purpose,
                recipient: of.recipient,
                category: of.category,
                policy: of.policy,
                people_denied: line.refused.subjects,
                attributes_denied: line.refused.attributes,
                people_allowed: line.allowed.subjects,
                attributes_allowed: line.allowed.attributes,
                examples: handles(&line.examples),
            })
            .collect(),
    });
    proto::PreviewBoundsResponse {
        people_done: step.subjects_done,
        people_total: step.subjects_total,
        result,
    }
}

/// One purpose or category, as an answer of `ListVocabulary` that has nothing else. A page merges several of
/// these.
type Term = proto::ListVocabularyResponse;

impl Term {
    fn purpose(purpose: PurposeDefined) -> Self {
        Self { purposes: vec![purpose.into()], ..Self::default() }
    }

    fn category(category: CategoryDefined) -> Self {
        Self { categories: vec![category.into()], ..Self::default() }
    }

    /// The key to sort by. Purposes sort before categories.
    fn key(&self) -> String {
        let purpose = self.purposes.first().map(|purpose| format!("1:{}", purpose.id));
        let category = self.categories.first().map(|category| format!("2:{}", category.id));
        purpose.or(category).unwrap_or_default()
    }
}

#[tonic::async_trait]
impl BoundsService for Api {
    async fn list_bounds(
        &self,
        request: Request<proto::ListBoundsRequest>,
    ) -> Answer<proto::ListBoundsResponse> {
        let request = request.into_inner();
        let as_of_ms = convert::times::maybe_millis(request.as_of.as_ref(), "as_of")?;
        let versions = self.app.rules.list_bounds(as_of_ms, request.history).map_err(status::of)?;
        let version = |shown: crate::app::ShownVersion| proto::BoundsVersion {
            tier: shown.version.pack.tier.into(),
            recorded_at: Some(convert::times::time(shown.version.recorded_at_ms)),
            effective_from: Some(convert::times::time(shown.version.starts_ms())),
            position: shown.version.position,
            in_force: shown.in_force,
            published_by: Some(codec::message(&shown.version.actor)),
            signed_by: shown.signed_by,
            pack: shown.version.pack.pack,
            version: shown.version.pack.version,
            policies: shown.version.pack.policies,
        };
        let schema = self.app.rules.bounds_schema().to_owned();
        let bounds = versions.into_iter().map(version).collect();
        let position = |of: &proto::BoundsVersion| format!("{:020}", of.position);
        let (bounds, next_page_token) =
            paging::page(bounds, request.page_size, &request.page_token, position)?;
        Ok(Response::new(proto::ListBoundsResponse { bounds, schema, next_page_token }))
    }

    async fn define_purpose(
        &self,
        request: Request<proto::DefinePurposeRequest>,
    ) -> Answer<proto::DefinePurposeResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let definition = Definition {
            word: convert::bounds::purpose(request.purpose.unwrap_or_default())?,
            signature: convert::bounds::signature(request.signature)?,
        };
        let receipt =
            self.app.rules.define_purpose(&caller, definition, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::DefinePurposeResponse {
            receipt: Some(convert::writes::receipt(receipt, &caller)),
        }))
    }

    async fn list_vocabulary(
        &self,
        request: Request<proto::ListVocabularyRequest>,
    ) -> Answer<proto::ListVocabularyResponse> {
        let (request, rules) = (request.into_inner(), self.app.rules.rules_in_force());
        let purposes = rules.vocabulary.purposes().cloned().map(Term::purpose);
        let categories = rules.vocabulary.categories().cloned().map(Term::category);
        let terms = purposes.chain(categories).collect();
        let (terms, next_page_token) =
            paging::page(terms, request.page_size, &request.page_token, Term::key)?;
        let mut answer = proto::ListVocabularyResponse { next_page_token, ..Default::default() };
        for term in terms {
            answer.purposes.extend(term.purposes);
            answer.categories.extend(term.categories);
        }
        Ok(Response::new(answer))
    }

    async fn publish_notice(
        &self,
        request: Request<proto::PublishNoticeRequest>,
    ) -> Answer<proto::PublishNoticeResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let notice = Notice {
            id: request.id,
            version: request.version,
            language: request.language,
            text: request.text,
        };
        let published = self.app.rules.publish_notice(&caller, notice, &options).await;
        let (receipt, notice) = published.map_err(status::of)?;
        let receipt = Some(convert::writes::receipt(receipt, &caller));
        Ok(Response::new(proto::PublishNoticeResponse { receipt, notice: Some(notice) }))
    }

    async fn require_notice(
        &self,
        request: Request<proto::RequireNoticeRequest>,
    ) -> Answer<proto::RequireNoticeResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let notice = convert::bounds::required_notice(request.notice.unwrap_or_default())?;
        let signature = convert::bounds::signature(request.signature)?;
        let required = self.app.rules.require_notice(&caller, notice, signature, &options).await;
        let required = required.map_err(status::of)?;
        Ok(Response::new(proto::RequireNoticeResponse {
            receipt: Some(convert::writes::receipt(required.receipt, &caller)),
            grants_revoked: required.grants_revoked,
        }))
    }

    async fn publish_bounds(
        &self,
        request: Request<proto::PublishBoundsRequest>,
    ) -> Answer<proto::PublishBoundsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let bounds = convert::bounds::pack(request.bounds.unwrap_or_default(), "bounds")?;
        let signature = convert::bounds::signature(request.signature)?;
        let published = self.app.rules.publish_bounds(&caller, bounds, signature, &options).await;
        let published = published.map_err(status::of)?;
        Ok(Response::new(proto::PublishBoundsResponse {
            receipt: Some(convert::writes::receipt(published.receipt, &caller)),
            grants_revoked: published.grants_revoked,
        }))
    }

    async fn get_next_version(
        &self,
        request: Request<proto::GetNextVersionRequest>,
    ) -> Answer<proto::GetNextVersionResponse> {
        let rule = convert::bounds::rule(request.into_inner())?;
        let NextVersion { origin, tier, sequence, now_ms } = self.app.rules.next_version(&rule);
        let (tier, now) = (convert::bounds::tier(tier).into(), Some(convert::times::time(now_ms)));
        Ok(Response::new(proto::GetNextVersionResponse { origin, tier, sequence, now }))
    }

    type PreviewBoundsStream = ReceiverStream<Result<proto::PreviewBoundsResponse, Status>>;

    async fn preview_bounds(
        &self,
        request: Request<proto::PreviewBoundsRequest>,
    ) -> Answer<Self::PreviewBoundsStream> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let packs = request.bounds.into_iter().enumerate();
        let packs = packs.map(|(number, pack)| convert::bounds::pack(pack, &format!("bounds[{number}]")));
        let asked = PreviewRequest {
            bounds: packs.collect::<Result<_, Status>>()?,
            recipients: request.recipients,
            purposes: request.purposes,
            definitions: convert::bounds::definitions(
                request.defined_purposes,
                request.defined_categories,
                request.required_notices,
            )?,
        };
        let mut steps = self.app.rules.preview_bounds(&caller, asked).await.map_err(status::of)?;
        let (sender, receiver) = mpsc::channel(1);
        let role = caller.role;
        tokio::spawn(async move {
            while let Some(step) = steps.recv().await {
                if sender.send(step.map(|step| preview_step(step, role)).map_err(status::of)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn set_personal_bounds(
        &self,
        request: Request<proto::SetPersonalBoundsRequest>,
    ) -> Answer<proto::SetPersonalBoundsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let choices = request.bounds.unwrap_or_default().into();
        let set = self.app.rules.set_personal_bounds(&caller, &subject, choices, &options).await;
        let PersonalBoundsChanged { receipt, revoked_grants, policies } = set.map_err(status::of)?;
        let receipt = Some(convert::writes::receipt(receipt, &caller));
        Ok(Response::new(proto::SetPersonalBoundsResponse { receipt, revoked_grants, policies }))
    }

    async fn get_personal_bounds(
        &self,
        request: Request<proto::GetPersonalBoundsRequest>,
    ) -> Answer<proto::GetPersonalBoundsResponse> {
        let caller = layer::caller(&request)?;
        let subject = caller.subject_of(&request.into_inner().subject).map_err(status::of)?;
        self.app.record_view(&caller, &subject, "GetPersonalBounds").await.map_err(status::of)?;
        let shown = self.app.rules.get_personal_bounds(&subject).await.map_err(status::of)?;
        Ok(Response::new(proto::GetPersonalBoundsResponse {
            recorded_at: shown.set.as_ref().map(|set| convert::times::time(set.recorded_at_ms)),
            set_by: shown.set.as_ref().map(|set| codec::message(&set.actor)),
            bounds: Some(shown.set.map(|set| set.choices).unwrap_or_default().into()),
            policies: shown.policies,
            version: shown.version,
        }))
    }

    async fn get_notice(
        &self,
        request: Request<proto::GetNoticeRequest>,
    ) -> Answer<proto::GetNoticeResponse> {
        let request = request.into_inner();
        let rules = self.app.rules.rules_in_force();
        let found = rules.notice(&request.id, &request.version);
        let (published_ms, notice) = found.ok_or_else(|| status::of(AppError::NotFound("notice")))?;
        Ok(Response::new(proto::GetNoticeResponse {
            notice: notice.notice.clone(),
            text: notice.text.clone(),
            published_at: Some(convert::times::time(*published_ms)),
        }))
    }

    async fn define_category(
        &self,
        request: Request<proto::DefineCategoryRequest>,
    ) -> Answer<proto::DefineCategoryResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let definition = Definition {
            word: convert::bounds::category(request.category.unwrap_or_default())?,
            signature: convert::bounds::signature(request.signature)?,
        };
        let receipt =
            self.app.rules.define_category(&caller, definition, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::DefineCategoryResponse {
            receipt: Some(convert::writes::receipt(receipt, &caller)),
        }))
    }
}
