//! Which role may call which method. A method without a line here can be called by nobody.

use sayso_proof::event::Role;

const SERVICE: Role = Role::Service;
const SUBJECT: Role = Role::Subject;
const STEWARD: Role = Role::Steward;
const AUTHORITY: Role = Role::Authority;
const AUDITOR: Role = Role::Auditor;
const OPERATOR: Role = Role::Operator;
const ALL: &[Role] = &[SERVICE, SUBJECT, STEWARD, AUTHORITY, AUDITOR, OPERATOR];

const METHODS: &[(&str, &[Role])] = &[
    ("ProfileService/RecordAttributes", &[SERVICE, SUBJECT, STEWARD]),
    ("ProfileService/RecordStream", &[SERVICE, STEWARD]),
    ("ProfileService/RemoveAttributes", &[SERVICE, SUBJECT, STEWARD]),
    ("ProfileService/ContestAttribute", &[SUBJECT, STEWARD]),
    ("ProfileService/ConfirmAttribute", &[SUBJECT, STEWARD]),
    ("ProfileService/GetProfile", &[SUBJECT, STEWARD]),
    ("ProfileService/ListEvents", &[SUBJECT, STEWARD]),
    ("ProfileService/DescribeSubject", &[SERVICE, STEWARD]),
    ("ConsentService/RequestConsent", &[SERVICE, STEWARD]),
    ("ConsentService/RecordConsent", &[SERVICE, SUBJECT, STEWARD]),
    ("ConsentService/RecordSignal", &[SERVICE, SUBJECT, STEWARD]),
    ("ConsentService/GetConsents", &[SERVICE, SUBJECT, STEWARD]),
    ("ConsentService/GetConsentReceipt", &[SUBJECT, STEWARD]),
    ("GrantService/RequestGrant", &[SERVICE]),
    ("GrantService/CheckGrant", &[SERVICE]),
    ("GrantService/ReportUse", &[SERVICE]),
    ("GrantService/Acknowledge", &[SERVICE]),
    ("GrantService/WatchRevocations", &[SERVICE]),
    ("GrantService/ExplainGrant", &[SERVICE, SUBJECT, STEWARD]),
    ("GrantService/EvaluateUse", &[SERVICE, SUBJECT, STEWARD]),
    ("RightsService/SubmitRequest", &[SUBJECT, STEWARD]),
    ("RightsService/GetErasureCertificate", &[SUBJECT, STEWARD]),
    ("RightsService/ExportSubject", &[SUBJECT, STEWARD]),
    ("GrantService/RegisterArtifact", &[SERVICE]),
    ("GrantService/ListArtifacts", &[SERVICE, SUBJECT, STEWARD]),
    ("RightsService/GetRequest", &[SUBJECT, STEWARD]),
    ("RightsService/ListRequests", &[SUBJECT, STEWARD]),
    ("RightsService/DecideRequest", &[STEWARD]),
    ("RightsService/PlaceHold", &[STEWARD]),
    ("RightsService/LiftHold", &[STEWARD]),
    ("RightsService/ListHolds", &[SUBJECT, STEWARD]),
    ("RightsService/SetRetention", &[STEWARD]),
    ("RightsService/ListRetention", ALL),
    ("BoundsService/GetBounds", &[SERVICE, SUBJECT, STEWARD, AUTHORITY, AUDITOR]),
    ("BoundsService/DefinePurpose", &[STEWARD]),
    ("BoundsService/ListPurposes", ALL),
    ("BoundsService/PublishNotice", &[STEWARD]),
    ("BoundsService/GetNotice", ALL),
    ("BoundsService/PublishBounds", &[AUTHORITY, STEWARD]),
    ("BoundsService/PreviewBounds", &[AUTHORITY, STEWARD]),
    ("BoundsService/SetPersonalBounds", &[SUBJECT, STEWARD]),
    ("BoundsService/GetPersonalBounds", &[SUBJECT, STEWARD]),
    ("BoundsService/DefineCategory", &[STEWARD]),
    ("AuditService/GetCheckpoint", ALL),
    ("AuditService/GetEntry", &[AUDITOR]),
    ("AuditService/GetInclusionProof", &[AUDITOR]),
    ("AuditService/GetConsistencyProof", ALL),
    ("AuditService/ExportAudit", &[AUDITOR]),
    ("OperatorService/Backup", &[OPERATOR]),
    ("AuditService/GetTransparencyReport", &[AUDITOR, STEWARD]),
    ("AuditService/GetRecordOfProcessing", &[AUDITOR, STEWARD]),
    ("OperatorService/GetStats", &[OPERATOR, STEWARD, AUDITOR]),
];

/// Whether a role may call a method, given as `/sayso.v1.Service/Method`.
#[must_use]
pub fn may(role: Role, path: &str) -> bool {
    let Some(method) = path.strip_prefix("/sayso.v1.") else { return false };
    METHODS.iter().any(|(name, roles)| *name == method && roles.contains(&role))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_method_has_a_line_and_every_line_a_method() {
        let pool = prost_reflect::DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
        let services = pool.services().filter(|service| service.package_name() == "sayso.v1");
        let methods: Vec<String> = services
            .flat_map(|service| {
                let name = service.name().to_owned();
                service.methods().map(move |method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(methods.len(), METHODS.len());
        assert!(methods.iter().all(|method| METHODS.iter().any(|(name, _)| name == method)), "{methods:?}");
    }

    #[test]
    fn the_unknown_is_nobodys() {
        assert!(!may(Role::Steward, "/sayso.v1.ProfileService/Nothing"));
        assert!(!may(Role::Steward, "/other.v1.ProfileService/GetProfile"));
        assert!(!may(Role::Ledger, "/sayso.v1.AuditService/GetCheckpoint"));
    }
}
