//! The modes of `sayso bench` that make unary calls: one request and one response each.

use super::clients::Clients;
use super::load::{Call, Caller};
use super::options::Mode;
use super::subjects::Subjects;
use crate::api::Issuer;
use crate::domain::event::Role;
use crate::proto;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

/// Lifetime of the tokens that are minted for calls.
const TOKEN_SECONDS: u64 = 3_600;

/// Calls a daemon over one connection.
#[derive(Clone)]
pub(super) struct UnaryCaller {
    mode: Mode,
    subjects: Subjects,
    clients: Clients,
    /// IDs of the grants to check, by subject number.
    grants: Arc<Vec<String>>,
    issuer: Arc<Issuer>,
    tokens: Tokens,
}

/// The data subjects' own tokens by subject number, shared by all workers.
pub(super) type Tokens = Arc<Mutex<HashMap<u64, MetadataValue<Ascii>>>>;

impl UnaryCaller {
    pub fn new(
        mode: Mode,
        subjects: Subjects,
        clients: Clients,
        grants: Arc<Vec<String>>,
        issuer: Arc<Issuer>,
        tokens: Tokens,
    ) -> Self {
        Self { mode, subjects, clients, grants, issuer, tokens }
    }

    /// A data subject's own token, minted for their first call.
    fn own_token(&self, number: u64, subject: &str) -> Result<MetadataValue<Ascii>, Status> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bearer) = tokens.get(&number) {
            return Ok(bearer.clone());
        }
        let token = self.issuer.mint(Role::Subject, subject, TOKEN_SECONDS);
        let token = token.map_err(|error| Status::internal(error.to_string()))?;
        let bearer = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
        let bearer = bearer.map_err(|_| Status::internal("a minted token can't be sent as a header"))?;
        tokens.insert(number, bearer.clone());
        Ok(bearer)
    }

    /// Reads the profile as the data subject. A read by a steward would also record a durable event, and the
    /// benchmark would measure that append.
    async fn rebuild(&mut self, number: u64) -> Result<(), Status> {
        let subject = self.subjects.id(number);
        let bearer = self.own_token(number, &subject)?;
        let mut request =
            Request::new(proto::GetProfileRequest { subject, rebuild: true, ..Default::default() });
        request.metadata_mut().insert("authorization", bearer);
        let profile = self.clients.own_profile.get_profile(request).await?.into_inner();
        if profile.attributes.is_empty() {
            return Err(Status::not_found("a profile is empty, but was prepared with attributes"));
        }
        Ok(())
    }

    async fn check(&mut self, number: u64) -> Result<(), Status> {
        let grant_id = usize::try_from(number).ok().and_then(|number| self.grants.get(number)).cloned();
        let request = proto::CheckGrantRequest { grant_id: grant_id.unwrap_or_default(), keys: Vec::new() };
        if self.clients.grant.check_grant(request).await?.into_inner().valid {
            return Ok(());
        }
        Err(Status::failed_precondition("a grant is not valid, but was prepared to be"))
    }

    async fn erase(&mut self, call: Call) -> Result<(), Status> {
        if call.pass > 0 {
            return Err(Status::failed_precondition(
                "all people are already erased: use a shorter --duration or more --subjects",
            ));
        }
        let request = proto::SubmitRequestRequest {
            subject: self.subjects.id(call.subject),
            kind: proto::RequestKind::Erasure.into(),
            scope: proto::ErasureScope::All.into(),
            ..Default::default()
        };
        if self.clients.rights.submit_request(request).await?.into_inner().certificate.is_none() {
            return Err(Status::failed_precondition("an erasure returned no certificate"));
        }
        Ok(())
    }

    async fn grant(&mut self, number: u64, interaction: &str) -> Result<(), Status> {
        let request = self.subjects.longest_grant(number, interaction);
        let granted = self.clients.grant.request_grant(request).await?.into_inner();
        if granted.allowed.is_empty() {
            return Err(Status::failed_precondition("a grant allows nothing, but was prepared to"));
        }
        Ok(())
    }
}

impl Caller for UnaryCaller {
    async fn call(&mut self, call: Call) -> Result<(), Status> {
        let number = call.subject;
        match self.mode {
            Mode::Append => {
                let request = self.subjects.events(number, call.pass, 1);
                self.clients.profile.record_attributes(request).await?;
            }
            Mode::Grant => self.grant(number, &self.subjects.new_conversation(call.number)).await?,
            Mode::Again => self.grant(number, "bench").await?,
            Mode::Check => self.check(number).await?,
            Mode::Rebuild => self.rebuild(number).await?,
            Mode::Erase => self.erase(call).await?,
            mode => return Err(Status::unimplemented(format!("`{}` is not a unary mode", mode.name()))),
        }
        Ok(())
    }
}
