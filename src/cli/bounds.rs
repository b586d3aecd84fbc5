//! `sayso purpose | notice | bounds`

use super::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, table};
use crate::proto;
use crate::proto::bounds_service_client::BoundsServiceClient;
use clap::Subcommand;
use std::path::{Path, PathBuf};

async fn client(at: &Connection) -> Result<BoundsServiceClient<Link>, CliError> {
    Ok(client!(BoundsServiceClient, at.link("steward").await?))
}

/// Purposes and categories.
#[derive(Subcommand)]
pub(super) enum Purpose {
    /// Show the vocabulary in force.
    ///
    /// Example: `sayso purpose list`
    List,
    /// Add a purpose or replace its definition.
    ///
    /// Example: `sayso purpose define homework-help --parent personalization --title 'Help with homework'`
    Define {
        /// Its name, as consents and grants use it.
        id: String,
        /// What it is part of.
        #[arg(long, default_value = "")]
        parent: String,
        /// In words.
        #[arg(long)]
        title: String,
        /// Its term in the W3C Data Privacy Vocabulary.
        #[arg(long, default_value = "")]
        iri: String,
    },
}

impl Purpose {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client(at).await?;
        match self {
            Self::List => {
                let answer = client.list_purposes(proto::ListPurposesRequest {}).await?.into_inner();
                out.print("ListPurposesResponse", &answer, vocabulary)
            }
            Self::Define { id, parent, title, iri } => {
                let purpose = Some(proto::PurposeDefined { id, parent, iri, title });
                let request = proto::DefinePurposeRequest { purpose, options: None };
                let answer = client.define_purpose(request).await?.into_inner();
                out.print("DefinePurposeResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
            }
        }
    }
}

fn vocabulary(answer: &proto::ListPurposesResponse) -> String {
    let mut rows = vec![vec!["PURPOSE".to_owned(), "PART OF".to_owned(), "MEANING".to_owned()]];
    let purposes = answer.purposes.iter();
    rows.extend(purposes.map(|each| vec![each.id.clone(), each.parent.clone(), each.title.clone()]));
    rows.push(vec![]);
    rows.push(vec!["CATEGORY".to_owned(), "PART OF".to_owned(), "MEANING".to_owned()]);
    for category in &answer.categories {
        let special = if category.special { " (special)" } else { "" };
        let meaning = format!("{}{special}", category.title);
        rows.push(vec![category.id.clone(), category.parent.clone(), meaning]);
    }
    table(&rows)
}

/// Notices: what people are told.
#[derive(Subcommand)]
pub(super) enum Notice {
    /// Publish a notice.
    ///
    /// Example: `sayso notice publish welcome --version 1 --file welcome.txt`
    Publish {
        /// Its name, as consents refer to it.
        id: String,
        /// A changed text needs another.
        #[arg(long, default_value = "1")]
        version: String,
        /// BCP 47.
        #[arg(long, default_value = "en")]
        language: String,
        /// The text.
        #[arg(long, conflicts_with = "file", required_unless_present = "file")]
        text: Option<String>,
        /// A file with the text.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show a notice as it was published.
    ///
    /// Example: `sayso notice show welcome`
    Show {
        /// Its name.
        id: String,
        /// Default: the newest.
        #[arg(long, default_value = "")]
        version: String,
    },
}

impl Notice {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client(at).await?;
        match self {
            Self::Publish { id, version, language, text, file } => {
                let text = match (text, file) {
                    (Some(text), _) => text,
                    (None, Some(path)) => read(&path)?,
                    (None, None) => return Err(CliError::usage("--text or --file is needed")),
                };
                let request = proto::PublishNoticeRequest { id, version, language, text, options: None };
                let answer = client.publish_notice(request).await?.into_inner();
                out.print("PublishNoticeResponse", &answer, |answer| {
                    let digest = answer.notice.as_ref().map(|notice| hex::encode(&notice.digest));
                    let receipt = output::receipt(answer.receipt.as_ref());
                    format!("{receipt}; sha256 {}", digest.unwrap_or_default())
                })
            }
            Self::Show { id, version } => {
                let request = proto::GetNoticeRequest { id, version };
                let answer = client.get_notice(request).await?.into_inner();
                out.print("GetNoticeResponse", &answer, |answer| answer.text.clone())
            }
        }
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

/// The rules in force.
#[derive(Subcommand)]
pub(super) enum Bounds {
    /// Show every pack in force, as Cedar policies.
    ///
    /// Example: `sayso bounds show`
    Show,
}

impl Bounds {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let Self::Show = self;
        let answer = client(at).await?.get_bounds(proto::GetBoundsRequest {}).await?.into_inner();
        out.print("GetBoundsResponse", &answer, |answer| {
            let pack = |pack: &proto::BoundsVersion| {
                let tier = pack.tier().as_str_name().trim_start_matches("TIER_").to_lowercase();
                format!(
                    "// {tier} bounds, pack {} version {}, position {}\n{}",
                    pack.pack, pack.version, pack.position, pack.policies
                )
            };
            answer.bounds.iter().map(pack).collect::<Vec<_>>().join("\n")
        })
    }
}
