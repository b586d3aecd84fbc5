//! The calls of one question and one answer.

use super::load::{Ask, Turn};
use super::people::People;
use super::{Clients, Mode};
use crate::api::Issuer;
use crate::proto;
use sayso_proof::event::Role;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

/// Lifetime of the tokens that are minted for calls.
const TOKEN_SECONDS: u64 = 3_600;

/// Asks a daemon over one connection.
#[derive(Clone)]
pub(super) struct Asker {
    mode: Mode,
    people: People,
    clients: Clients,
    /// Grants to check, by person.
    grants: Arc<Vec<String>>,
    issuer: Arc<Issuer>,
    tokens: Tokens,
}

/// People's own tokens, once each has asked: whichever worker asks for them.
pub(super) type Tokens = Arc<Mutex<HashMap<u64, MetadataValue<Ascii>>>>;

impl Asker {
    pub fn new(
        mode: Mode,
        people: People,
        clients: Clients,
        grants: Arc<Vec<String>>,
        issuer: Arc<Issuer>,
        tokens: Tokens,
    ) -> Self {
        Self { mode, people, clients, grants, issuer, tokens }
    }

    /// A person's own token, minted when they first ask.
    fn own_token(&self, person: u64, subject: &str) -> Result<MetadataValue<Ascii>, Status> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bearer) = tokens.get(&person) {
            return Ok(bearer.clone());
        }
        let token = self.issuer.mint(Role::Subject, subject, TOKEN_SECONDS);
        let token = token.map_err(|error| Status::internal(error.to_string()))?;
        let bearer = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
        let bearer = bearer.map_err(|_| Status::internal("a minted token is no header"))?;
        tokens.insert(person, bearer.clone());
        Ok(bearer)
    }

    /// The person looks for themself. A steward's look would be a durable event, and the figure one of appends.
    async fn rebuild(&mut self, person: u64) -> Result<(), Status> {
        let subject = self.people.subject(person);
        let bearer = self.own_token(person, &subject)?;
        let mut request =
            Request::new(proto::GetProfileRequest { subject, rebuild: true, ..Default::default() });
        request.metadata_mut().insert("authorization", bearer);
        let profile = self.clients.own_profile.get_profile(request).await?.into_inner();
        if profile.attributes.is_empty() {
            return Err(Status::not_found("a profile that should hold something does not"));
        }
        Ok(())
    }

    async fn check(&mut self, person: u64) -> Result<(), Status> {
        let grant_id = usize::try_from(person).ok().and_then(|person| self.grants.get(person)).cloned();
        let request = proto::CheckGrantRequest { grant_id: grant_id.unwrap_or_default() };
        if self.clients.grant.check_grant(request).await?.into_inner().stands {
            return Ok(());
        }
        Err(Status::failed_precondition("a grant that should stand does not"))
    }

    async fn erase(&mut self, turn: Turn) -> Result<(), Status> {
        if turn.pass > 0 {
            return Err(Status::failed_precondition(
                "nobody is left to be erased: measure for a shorter --duration, or with more --subjects",
            ));
        }
        let request = proto::SubmitRequestRequest {
            subject: self.people.subject(turn.person),
            kind: proto::RequestKind::Erasure.into(),
            scope: proto::ErasureScope::All.into(),
            ..Default::default()
        };
        if self.clients.rights.submit_request(request).await?.into_inner().certificate.is_none() {
            return Err(Status::failed_precondition("an erasure left no certificate"));
        }
        Ok(())
    }

    async fn grant(&mut self, person: u64, interaction: &str) -> Result<(), Status> {
        let request = self.people.lasting_grant(person, interaction);
        let granted = self.clients.grant.request_grant(request).await?.into_inner();
        if granted.allowed.is_empty() {
            return Err(Status::failed_precondition("a grant that should allow something does not"));
        }
        Ok(())
    }
}

impl Ask for Asker {
    async fn ask(&mut self, turn: Turn) -> Result<(), Status> {
        let person = turn.person;
        match self.mode {
            Mode::Append => {
                let request = self.people.events(person, turn.pass, 1);
                self.clients.profile.record_attributes(request).await?;
            }
            Mode::Grant => self.grant(person, &self.people.new_conversation(turn.number)).await?,
            Mode::Again => self.grant(person, "bench").await?,
            Mode::Check => self.check(person).await?,
            Mode::Rebuild => self.rebuild(person).await?,
            Mode::Erase => self.erase(turn).await?,
            mode => return Err(Status::unimplemented(format!("`{}` is no such call", mode.name()))),
        }
        Ok(())
    }
}
