//! The command `sayso artifact`.

use super::connect::Connection;
use super::connect::client;
use super::error::CliError;
use super::output::{self, Out, plain_name};
use super::times::parse_duration;
use crate::proto;
use crate::proto::grant_service_client::GrantServiceClient;
use clap::{Args, Subcommand, ValueEnum};
use std::time::Duration;

/// A kind of artifact.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Embedding,
    Adapter,
    Cache,
    Summary,
}

/// Register and list artifacts, such as embeddings and summaries.
///
/// An artifact is something that a service built from a person's attributes and keeps. It is
/// invalidated (listed as `revoked`) when one of the attributes that it was built from expires, is
/// corrected, replaced or removed, or may no longer be used.
#[derive(Subcommand)]
pub(super) enum Artifact {
    /// Register an artifact that a service built from the attributes of a grant. The service is then
    /// notified when it may no longer use the artifact.
    ///
    /// Example: `sayso artifact register g52-aef0e2ef58e9a59a --kind embedding --name vectors-7`
    Register(Register),
    /// List the artifacts that were built from a person's attributes. The list shows whether each may
    /// still be used.
    ///
    /// With --json, the list is one object.
    ///
    /// Example: `sayso artifact list ada`
    List(List),
}

#[derive(Args)]
pub(super) struct Register {
    /// ID of the grant that allowed the attributes from which the artifact was built.
    grant: String,
    /// Kind of artifact.
    #[arg(long, value_enum)]
    kind: Kind,
    /// The service's own name for the artifact.
    #[arg(long, default_value = "")]
    name: String,
    /// Key of an attribute that the artifact was built from; may be repeated. Default: all
    /// attributes that the grant allows.
    #[arg(long)]
    source: Vec<String>,
    /// How long the artifact may be used at most: from 1 minute to 400 days, such as `30d`.
    #[arg(long, default_value = "90d", value_parser = parse_duration)]
    ttl: Duration,
}

#[derive(Args)]
pub(super) struct List {
    /// The controller's ID for the person.
    subject: String,
}

impl Artifact {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::Register(register) => {
                let kind = match register.kind {
                    Kind::Embedding => proto::ArtifactKind::Embedding,
                    Kind::Adapter => proto::ArtifactKind::Adapter,
                    Kind::Cache => proto::ArtifactKind::Cache,
                    Kind::Summary => proto::ArtifactKind::Summary,
                };
                let request = proto::RegisterArtifactRequest {
                    grant_id: register.grant,
                    kind: kind.into(),
                    name: register.name,
                    sources: register.source,
                    ttl: prost_types::Duration::try_from(register.ttl).ok(),
                    options: None,
                };
                let mut client = client!(GrantServiceClient, at.link("service").await?);
                let answer = client.register_artifact(request).await?.into_inner();
                out.print("RegisterArtifactResponse", &answer, |answer| {
                    format!("artifact {}; {}", answer.artifact_id, output::receipt(answer.receipt.as_ref()))
                })
            }
            Self::List(list) => {
                let mut request = proto::ListArtifactsRequest { subject: list.subject, ..Default::default() };
                let mut client = client!(GrantServiceClient, at.link("steward").await?);
                let mut answer = client.list_artifacts(request.clone()).await?.into_inner();
                while !answer.next_page_token.is_empty() {
                    request.page_token = std::mem::take(&mut answer.next_page_token);
                    let page = client.list_artifacts(request.clone()).await?.into_inner();
                    answer.artifacts.extend(page.artifacts);
                    answer.next_page_token = page.next_page_token;
                }
                out.print_whole("ListArtifactsResponse", &answer, &[], |answer| {
                    let row = |artifact: &proto::Artifact| {
                        let state = match (artifact.reason(), artifact.acknowledged) {
                            (proto::RevocationReason::Unspecified, _) => "valid".to_owned(),
                            (reason, acknowledged) => {
                                let reason = plain_name(reason.as_str_name(), "REVOCATION_REASON_");
                                format!(
                                    "revoked ({reason}){}",
                                    if acknowledged { ", acknowledged" } else { "" }
                                )
                            }
                        };
                        vec![
                            artifact.artifact_id.clone(),
                            artifact.recipient.clone(),
                            plain_name(artifact.kind().as_str_name(), "ARTIFACT_KIND_"),
                            artifact.purpose.clone(),
                            artifact.name.clone(),
                            state,
                        ]
                    };
                    output::list(&answer.artifacts.iter().map(row).collect::<Vec<_>>(), "no artifacts")
                })
            }
        }
    }
}
