//! Declares which event each method records, and calls the methods to test this declaration. Every access by
//! others to a subject's data must be recorded.

use super::{path_of, reflected_methods, table};
use crate::harness::{self, Clients, Harness, ask, choice, claim_for, consent, fact};
use crate::isolation::{Words, exchange, filled_message, populated_subject};
use prost_reflect::DescriptorPool;
use prost_reflect::prost::Message;
use sayso::proto::{self, ConsentDecision, Role};
use std::collections::{BTreeMap, BTreeSet};
use tonic::transport::Channel;

/// What a call by anyone but the data subject records in the log.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Recorded {
    /// An event of this kind in the stream of the data subject, with the caller as actor.
    InSubjectStream(&'static str),
    /// An event of this kind without a subject, with the caller as actor. The call concerns all subjects, or
    /// one who was erased.
    InSystemStream(&'static str),
    /// No new event. The call reports the state of the caller's own grant, and the stream of the subject has
    /// an event of this kind for that grant.
    OfItsGrant(&'static str),
    /// No event: the response contains no personal data.
    NoPersonalData,
}
use Recorded::{InSubjectStream, InSystemStream, NoPersonalData, OfItsGrant};

/// What each method records. A new method must be added here.
const RECORDED: [(&str, Recorded); 63] = [
    ("ProfileService/RecordAttributes", InSubjectStream("AttributeRecorded")),
    ("ProfileService/RecordStream", InSubjectStream("AttributeRecorded")),
    ("ProfileService/RemoveAttributes", InSubjectStream("AttributeRemoved")),
    ("ProfileService/ContestAttribute", InSubjectStream("AttributeContested")),
    ("ProfileService/ConfirmAttribute", InSubjectStream("AttributeConfirmed")),
    ("ProfileService/GetProfile", InSubjectStream("RecordViewed")),
    ("ProfileService/ListEvents", InSubjectStream("RecordViewed")),
    ("ProfileService/DescribeSubject", InSubjectStream("SubjectDescribed")),
    ("ConsentService/RequestConsent", InSubjectStream("ConsentRequested")),
    ("ConsentService/RecordConsent", InSubjectStream("ConsentGiven")),
    ("ConsentService/RecordSignal", InSubjectStream("SignalLifted")),
    ("ConsentService/ListConsents", InSubjectStream("RecordViewed")),
    ("ConsentService/GetConsentReceipt", InSubjectStream("RecordViewed")),
    ("ConsentService/ListOutdatedConsents", InSubjectStream("RecordViewed")),
    ("GrantService/RequestGrant", InSubjectStream("GrantIssued")),
    ("GrantService/CheckGrant", OfItsGrant("GrantIssued")),
    ("GrantService/CheckIds", OfItsGrant("GrantIssued")),
    ("GrantService/ReportUse", InSubjectStream("GrantUsed")),
    ("GrantService/Acknowledge", InSystemStream("RecipientAcknowledged")),
    ("GrantService/ReportErasure", InSystemStream("RecipientReported")),
    ("GrantService/WatchRevocations", OfItsGrant("GrantRevoked")),
    ("GrantService/ExplainGrant", InSubjectStream("RecordViewed")),
    ("GrantService/EvaluateUse", InSubjectStream("RecordViewed")),
    ("GrantService/RegisterArtifact", InSubjectStream("ArtifactRegistered")),
    ("GrantService/ListArtifacts", InSubjectStream("RecordViewed")),
    ("GrantService/ListUses", InSubjectStream("RecordViewed")),
    ("RightsService/SubmitRequest", InSubjectStream("RequestSubmitted")),
    ("RightsService/GetErasureCertificate", InSubjectStream("RecordViewed")),
    // The list names recipients of erasures, and no person.
    ("RightsService/ListOutstandingErasures", NoPersonalData),
    ("RightsService/ExportSubject", InSubjectStream("AccessProvided")),
    ("RightsService/GetRequest", InSubjectStream("RecordViewed")),
    ("RightsService/ListRequests", InSubjectStream("RecordViewed")),
    ("RightsService/DecideRequest", InSubjectStream("RequestDecided")),
    ("RightsService/WithdrawRequest", InSubjectStream("RequestWithdrawn")),
    ("RightsService/PlaceHold", InSubjectStream("HoldPlaced")),
    ("RightsService/LiftHold", InSubjectStream("HoldLifted")),
    ("RightsService/ListHolds", InSubjectStream("RecordViewed")),
    ("RightsService/PreviewErasure", InSubjectStream("RecordViewed")),
    ("RightsService/SetRetention", NoPersonalData),
    ("RightsService/ListRetention", NoPersonalData),
    ("BoundsService/ListBounds", NoPersonalData),
    ("BoundsService/DefinePurpose", NoPersonalData),
    ("BoundsService/ListVocabulary", NoPersonalData),
    ("BoundsService/PublishNotice", NoPersonalData),
    ("BoundsService/RequireNotice", NoPersonalData),
    ("BoundsService/GetNotice", NoPersonalData),
    ("BoundsService/PublishBounds", NoPersonalData),
    ("BoundsService/GetNextVersion", NoPersonalData),
    ("BoundsService/PreviewBounds", InSystemStream("RecordViewed")),
    ("BoundsService/SetPersonalBounds", InSubjectStream("PersonalBoundsSet")),
    ("BoundsService/GetPersonalBounds", InSubjectStream("RecordViewed")),
    ("BoundsService/DefineCategory", NoPersonalData),
    ("AuditService/GetCheckpoint", NoPersonalData),
    ("AuditService/GetLogKeys", NoPersonalData),
    ("AuditService/GetEntry", NoPersonalData),
    ("AuditService/GetInclusionProof", NoPersonalData),
    ("AuditService/GetConsistencyProof", NoPersonalData),
    ("AuditService/ProveSubject", InSubjectStream("RecordViewed")),
    // An export covers all subjects, who are not notified individually (docs/threat-model.md, what is not
    // protected).
    ("AuditService/ExportAudit", InSystemStream("AuditExported")),
    ("AuditService/GetTransparencyReport", InSystemStream("FiguresReported")),
    // The record has only counts and recipients over all subjects together.
    ("AuditService/GetRecordOfProcessing", NoPersonalData),
    ("OperatorService/GetStats", NoPersonalData),
    // The backup is sealed.
    ("OperatorService/Backup", NoPersonalData),
];
/// Methods by which an operator writes about the log itself.
const LOG_METHODS: [&str; 3] =
    ["OperatorService/RotateLogKey", "OperatorService/ConfirmRestore", "OperatorService/AcceptClock"];

const STAFF: [Role; 6] =
    [Role::Service, Role::Channel, Role::Steward, Role::Authority, Role::Auditor, Role::Operator];

fn name_of(role: Role) -> String {
    format!("looking-{}", role.as_str_name().to_lowercase())
}

/// A daemon with one subject, ada, whose data the callers access.
struct World {
    harness: Harness,
    channel: Channel,
    words: Words,
    ada: Clients,
}

impl World {
    async fn start() -> Self {
        let harness = Harness::start().await;
        let at = format!("http://{}", harness.daemon.grpc);
        let channel = Channel::from_shared(at).unwrap().connect().await.unwrap();
        let words = populated_subject(&channel, |role, name| {
            harness.daemon.issuer.mint(claim_for(role), name, 3_600).unwrap()
        })
        .await;
        let ada = harness.as_role(Role::Subject, &words["subject"]).await;
        Self { harness, channel, words, ada }
    }

    async fn call(&self, role: Role, method: &str, body: Vec<u8>) -> Vec<u8> {
        let token = self.harness.daemon.issuer.mint(claim_for(role), &name_of(role), 600).unwrap();
        let answer = exchange(&self.channel, &token, &path_of(method), body).await;
        answer.unwrap_or_else(|status| panic!("{method} as {role:?}: {status:?}"))
    }

    /// The events in ada's stream that name the caller with this role as their actor: the kind and the text
    /// of each.
    async fn events_of_ada(&mut self, role: Role) -> Vec<(String, String)> {
        let request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
        let events = self.ada.profile.list_events(request).await.unwrap().into_inner().events;
        let bodies = events.into_iter().filter_map(|event| event.body);
        events_by_caller(bodies, role)
    }

    /// The events without a subject that name the caller with this role as their actor: the kind and the text
    /// of each.
    async fn events_without_subject(&self, role: Role) -> Vec<(String, String)> {
        let mut auditor = self.harness.as_role(Role::Auditor, "auditor").await;
        let checkpoint = auditor.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap();
        let mut bodies = Vec::new();
        for position in 0..checkpoint.into_inner().tree_size {
            let entry = auditor.audit.get_entry(proto::GetEntryRequest { position }).await.unwrap();
            let entry = entry.into_inner();
            if !entry.erased {
                bodies.extend(sayso_proof::entry::Entry::parse(&entry.entry).unwrap().plain_body().unwrap());
            }
        }
        events_by_caller(bodies.into_iter(), role)
    }
}

fn events_by_caller(bodies: impl Iterator<Item = proto::EventBody>, role: Role) -> Vec<(String, String)> {
    let by_caller =
        bodies.filter(|body| body.actor.as_ref().is_some_and(|actor| actor.name == name_of(role)));
    by_caller
        .filter_map(|body| {
            let text = format!("{:?}", body.event?);
            Some((text.split('(').next().unwrap_or_default().to_owned(), text))
        })
        .collect()
}

/// Builds requests that succeed when they are sent in the order of [`RECORDED`].
struct Requests<'a> {
    words: &'a Words,
    role: Role,
}

impl Requests<'_> {
    fn subject(&self) -> String {
        self.words["subject"].clone()
    }

    /// The key of an attribute that the caller records.
    fn key(&self) -> String {
        format!("key-{}", name_of(self.role))
    }

    fn profile(&self, method: &str) -> Option<Vec<u8>> {
        let (subject, key) = (self.subject(), self.key());
        let record = fact(&subject, &key, "work", "x");
        Some(match method {
            "RecordAttributes" => record.encode_to_vec(),
            "RecordStream" => {
                proto::RecordStreamRequest { sequence: 1, record: Some(record) }.encode_to_vec()
            }
            "RemoveAttributes" => {
                proto::RemoveAttributesRequest { subject, keys: vec![key], ..Default::default() }
                    .encode_to_vec()
            }
            "ContestAttribute" => {
                let key = "canary-key".into();
                proto::ContestAttributeRequest { subject, key, ..Default::default() }.encode_to_vec()
            }
            "ConfirmAttribute" => {
                let key = "canary-key".into();
                proto::ConfirmAttributeRequest { subject, key, ..Default::default() }.encode_to_vec()
            }
            "DescribeSubject" => {
                let age_band = proto::AgeBand::Adult.into();
                proto::DescribeSubjectRequest { subject, age_band, ..Default::default() }.encode_to_vec()
            }
            _ => return None,
        })
    }

    fn consent(&self, method: &str) -> Option<Vec<u8>> {
        let subject = self.subject();
        let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
        Some(match method {
            "RequestConsent" => {
                let asked = consent(&subject, vec![]);
                let purposes = given.purposes;
                let notice = asked.notice;
                proto::RequestConsentRequest { subject, notice, purposes, ..Default::default() }
                    .encode_to_vec()
            }
            "RecordConsent" => consent(&subject, vec![given]).encode_to_vec(),
            "RecordSignal" => {
                let kind = proto::SignalKind::Pause.into();
                proto::RecordSignalRequest { subject, kind, lift: true, ..Default::default() }.encode_to_vec()
            }
            "EvaluateUse" => {
                let recipient = if self.role == Role::Service { String::new() } else { "tutor".into() };
                let purpose = "tone-adaptation".into();
                proto::EvaluateUseRequest { subject, purpose, recipient, ..Default::default() }
                    .encode_to_vec()
            }
            "RequestGrant" => ask(&subject).encode_to_vec(),
            "ListConsents" => proto::ListConsentsRequest { subject, ..Default::default() }.encode_to_vec(),
            "GetConsentReceipt" => {
                proto::GetConsentReceiptRequest { subject, ..Default::default() }.encode_to_vec()
            }
            _ => return None,
        })
    }

    fn rights(&self, method: &str) -> Option<Vec<u8>> {
        let subject = self.subject();
        let request_id = self.words["request_id"].clone();
        Some(match method {
            "SubmitRequest" => {
                let kind = proto::RequestKind::Portability.into();
                proto::SubmitRequestRequest { subject, kind, ..Default::default() }.encode_to_vec()
            }
            "DecideRequest" => {
                let accept = proto::decide_request_request::Accept { reason: String::new() };
                let decision = Some(proto::decide_request_request::Decision::Accept(accept));
                proto::DecideRequestRequest { request_id, decision, options: None }.encode_to_vec()
            }
            "PlaceHold" => {
                let (ground, code) = (1, "K-2".into());
                proto::PlaceHoldRequest { subject, ground, code, ..Default::default() }.encode_to_vec()
            }
            "PreviewErasure" => {
                let scope = proto::ErasureScope::Profile.into();
                proto::PreviewErasureRequest { subject, scope, ..Default::default() }.encode_to_vec()
            }
            "ExportSubject" => proto::ExportSubjectRequest { subject, ..Default::default() }.encode_to_vec(),
            "SetPersonalBounds" => {
                proto::SetPersonalBoundsRequest { subject, ..Default::default() }.encode_to_vec()
            }
            "ListRequests" => proto::ListRequestsRequest { subject, ..Default::default() }.encode_to_vec(),
            "PreviewBounds" => {
                let bounds = crate::bounds::version(proto::Tier::Public, "none", "1", "");
                let bounds = vec![bounds.into()];
                proto::PreviewBoundsRequest { bounds, ..Default::default() }.encode_to_vec()
            }
            "GetTransparencyReport" => {
                let day = |days: i64| Some(prost_types::Timestamp { seconds: days * 86_400, nanos: 0 });
                proto::GetTransparencyReportRequest {
                    from: day(19_000),
                    to: day(19_001),
                    ..Default::default()
                }
                .encode_to_vec()
            }
            _ => return None,
        })
    }

    fn body(&self, method: &str) -> Option<Vec<u8>> {
        let name = method.split('/').next_back()?;
        self.profile(name).or_else(|| self.consent(name)).or_else(|| self.rights(name))
    }
}

/// A request for any method, filled with the ids and names of the subject.
fn any_request(method: &str, words: &Words) -> Vec<u8> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    let (service, method) = method.split_once('/').unwrap();
    let service = pool.get_service_by_name(&format!("sayso.v1.{service}")).unwrap();
    let input = service.methods().find(|each| each.name() == method).unwrap().input();
    filled_message(&input, words, 3).encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_records_its_access_as_declared() {
    let mut world = World::start().await;
    let listed: BTreeSet<String> = reflected_methods(&world.channel).await.into_iter().collect();
    let methods = listed.iter().filter(|method| !method.starts_with("grpc."));
    let declared: BTreeMap<&str, Recorded> = RECORDED.into_iter().collect();
    for method in methods {
        let is_declared = declared.contains_key(method.as_str()) || LOG_METHODS.contains(&method.as_str());
        assert!(is_declared, "{method} does not declare what it records");
    }
    assert!(
        declared.keys().all(|method| listed.contains(*method)),
        "a method that does not exist is declared"
    );
    let table = table();
    let mut words = world.words.clone();
    for (method, recorded) in RECORDED {
        for role in STAFF.into_iter().filter(|role| table.may(*role, method)) {
            let body = request(&mut world, &mut words, role, method).await;
            match recorded {
                InSubjectStream(kind) => {
                    let before = world.events_of_ada(role).await.len();
                    world.call(role, method, body).await;
                    let added = world.events_of_ada(role).await.split_off(before);
                    let name = method.split('/').next_back().unwrap();
                    let is_recorded = added.iter().any(|(event_kind, text)| {
                        event_kind == kind && (kind != "RecordViewed" || text.contains(&format!("{name:?}")))
                    });
                    assert!(is_recorded, "{method} as {role:?} records {added:?}");
                }
                InSystemStream(kind) => {
                    let before = world.events_without_subject(role).await.len();
                    world.call(role, method, body).await;
                    let added = world.events_without_subject(role).await.split_off(before);
                    assert!(
                        added.iter().any(|(event_kind, _)| event_kind == kind),
                        "{method} as {role:?} records {added:?}"
                    );
                }
                OfItsGrant(kind) => {
                    let answer = world.call(role, method, body).await;
                    assert!(!harness::contains(&answer, b"canary"), "{method} reveals data of ada");
                    if role == Role::Auditor {
                        // An auditor has no grants. It is notified of erasures of what its bundles have.
                        continue;
                    }
                    let request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
                    let events = world.ada.profile.list_events(request).await.unwrap().into_inner().events;
                    let recipient = format!("recipient: {:?}", name_of(role));
                    let is_of_grant = |text: String| text.contains(kind) && text.contains(&recipient);
                    assert!(
                        events.iter().any(|event| is_of_grant(format!("{event:?}"))),
                        "{method} as {role:?}"
                    );
                }
                NoPersonalData => {
                    let token =
                        world.harness.daemon.issuer.mint(claim_for(role), &name_of(role), 600).unwrap();
                    let answer = exchange(&world.channel, &token, &path_of(method), body).await;
                    let text = answer.unwrap_or_else(|status| format!("{status:?}").into_bytes());
                    assert!(!harness::contains(&text, b"canary"), "{method} as {role:?} reveals data of ada");
                }
            }
        }
    }
}

impl World {
    /// Lets an auditor export the log, and erases somebody who was in it. Returns the cursor of the notice.
    async fn erase_after_export(&self, auditor: &mut Clients) -> u64 {
        let mut steward = self.harness.as_role(Role::Steward, "mina").await;
        steward.profile.record_attributes(fact("gone", "key", "activity", "x")).await.unwrap();
        let export = proto::ExportAuditRequest::default();
        let mut bundle = auditor.audit.export_audit(export).await.unwrap().into_inner();
        while bundle.message().await.unwrap().is_some() {}
        let request = proto::SubmitRequestRequest {
            subject: "gone".into(),
            kind: proto::RequestKind::Erasure.into(),
            scope: proto::ErasureScope::All.into(),
            ..Default::default()
        };
        let answer = steward.rights.submit_request(request).await.unwrap().into_inner();
        answer.certificate.unwrap().position + 1
    }

    /// A report of this role about an erasure. The auditor exported the log before, and named the service as
    /// a recipient.
    async fn report_of(&self, role: Role) -> proto::ReportErasureRequest {
        let auditor = name_of(Role::Auditor);
        let mut clients = self.harness.as_role(Role::Auditor, &auditor).await;
        let cursor = self.erase_after_export(&mut clients).await;
        let report = proto::ReportErasureRequest {
            notices: vec![proto::ErasureNotice { cursor }],
            outcome: proto::ErasureOutcome::Deleted.into(),
            ..Default::default()
        };
        match role {
            Role::Steward => proto::ReportErasureRequest {
                recipient: auditor,
                recipient_role: Role::Auditor.into(),
                ..report
            },
            Role::Service => {
                let onward = vec![name_of(Role::Service)];
                let named = proto::ReportErasureRequest { onward, ..report.clone() };
                clients.grant.report_erasure(named).await.unwrap();
                report
            }
            _ => report,
        }
    }
}

/// A request for this method that succeeds. Creates first what the request needs.
async fn request(world: &mut World, words: &mut Words, role: Role, method: &str) -> Vec<u8> {
    let ready = Requests { words, role }.body(method);
    if let Some(body) = ready {
        return body;
    }
    let mut clients = world.harness.as_role(role, &name_of(role)).await;
    let subject = words["subject"].clone();
    let needs_grant =
        ["CheckGrant", "CheckIds", "ReportUse", "RegisterArtifact", "Acknowledge", "WatchRevocations"];
    let name = method.split('/').next_back().unwrap();
    if role == Role::Service && (needs_grant.contains(&name) || name == "ExplainGrant") {
        let grant = clients.grant.request_grant(ask(&subject)).await.unwrap().into_inner();
        words.insert("grant_id", grant.grant_id);
        words.insert("keys", "canary-key".into());
    }
    if name == "Acknowledge" || name == "WatchRevocations" {
        let watch = proto::WatchRevocationsRequest { after_cursor: Some(0) };
        let mut revocations = clients.grant.watch_revocations(watch).await.unwrap().into_inner();
        revocations.message().await.unwrap();
        if role == Role::Auditor {
            world.erase_after_export(&mut clients).await;
        }
        let pause = |lift| proto::RecordSignalRequest {
            kind: proto::SignalKind::Pause.into(),
            lift,
            ..Default::default()
        };
        world.ada.consent.record_signal(pause(false)).await.unwrap();
        world.ada.consent.record_signal(pause(true)).await.unwrap();
        let cursor = revocations.message().await.unwrap().unwrap().cursor;
        return match name {
            "Acknowledge" => proto::AcknowledgeRequest { cursor, options: None }.encode_to_vec(),
            _ => watch.encode_to_vec(),
        };
    }
    match name {
        "ReportErasure" => world.report_of(role).await.encode_to_vec(),
        "ReportUse" => {
            let (grant_id, reply) = (words["grant_id"].clone(), "r".into());
            proto::ReportUseRequest { grant_id, reply, ..Default::default() }.encode_to_vec()
        }
        "CheckIds" => {
            // The answer repeats the ids of the request, so the request has no key.
            proto::CheckIdsRequest { ids: vec![words["grant_id"].clone()] }.encode_to_vec()
        }
        "RegisterArtifact" => {
            let (grant_id, kind) = (words["grant_id"].clone(), proto::ArtifactKind::Cache.into());
            proto::RegisterArtifactRequest { grant_id, kind, ..Default::default() }.encode_to_vec()
        }
        "WithdrawRequest" => {
            let mut steward = world.harness.as_role(Role::Steward, "mina").await;
            steward.profile.record_attributes(fact(&subject, "held", "activity", "x")).await.unwrap();
            // The hold refuses the erasure.
            let request = proto::SubmitRequestRequest {
                subject,
                kind: proto::RequestKind::Erasure.into(),
                scope: proto::ErasureScope::Key.into(),
                keys: vec!["held".into()],
                ..Default::default()
            };
            let request_id = steward.rights.submit_request(request).await.unwrap().into_inner().request_id;
            proto::WithdrawRequestRequest { request_id, options: None }.encode_to_vec()
        }
        "GetErasureCertificate" => {
            let mut steward = world.harness.as_role(Role::Steward, "mina").await;
            steward.profile.record_attributes(fact(&subject, "gone", "activity", "x")).await.unwrap();
            // The hold would prevent the erasure.
            let hold_id = words["hold_id"].clone();
            let lift = proto::LiftHoldRequest { subject: subject.clone(), hold_id, ..Default::default() };
            steward.rights.lift_hold(lift).await.unwrap();
            let (ground, code) = (1, "K-3".into());
            let hold =
                proto::PlaceHoldRequest { subject: subject.clone(), ground, code, ..Default::default() };
            let request = proto::SubmitRequestRequest {
                subject,
                kind: proto::RequestKind::Erasure.into(),
                scope: proto::ErasureScope::Key.into(),
                keys: vec!["gone".into()],
                ..Default::default()
            };
            let request_id = steward.rights.submit_request(request).await.unwrap().into_inner().request_id;
            words.insert("hold_id", steward.rights.place_hold(hold).await.unwrap().into_inner().hold_id);
            proto::GetErasureCertificateRequest { request_id }.encode_to_vec()
        }
        _ => any_request(method, words),
    }
}
