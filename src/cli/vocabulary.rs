//! The commands `sayso purpose`, `sayso category` and `sayso notice`.

use super::connect::{Connection, Link};
use super::define::{DefineCategory, DefinePurpose};
use super::error::CliError;
use super::output::{self, Out, table};
use super::require_notice::RequireNotice;
use super::rules_client::client;
use crate::domain::legal_basis::DeclaredBasis;
use crate::domain::wording;
use crate::proto;
use crate::proto::bounds_service_client::BoundsServiceClient;
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// Show and define purposes.
#[derive(Subcommand)]
pub(super) enum Purpose {
    /// List the purposes in force.
    ///
    /// With --json, the list is one object.
    ///
    /// Example: `sayso purpose list`
    List,
    /// Define a purpose, or replace its definition.
    ///
    /// Example: `sayso purpose define homework-help --parent personalization --title 'Help with homework'`
    Define(Box<DefinePurpose>),
}

impl Purpose {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::List => {
                let answer = whole_vocabulary(&mut client(at, "steward").await?).await?;
                out.print_whole("ListVocabularyResponse", &answer, &["categories"], |answer| {
                    table(&purposes(answer))
                })
            }
            Self::Define(purpose) => purpose.run(at, out).await,
        }
    }
}

/// Reads all pages of the vocabulary: every purpose and every category.
async fn whole_vocabulary(
    client: &mut BoundsServiceClient<Link>,
) -> Result<proto::ListVocabularyResponse, CliError> {
    let mut request = proto::ListVocabularyRequest::default();
    let mut whole = client.list_vocabulary(request.clone()).await?.into_inner();
    while !whole.next_page_token.is_empty() {
        request.page_token = std::mem::take(&mut whole.next_page_token);
        let page = client.list_vocabulary(request.clone()).await?.into_inner();
        whole.purposes.extend(page.purposes);
        whole.categories.extend(page.categories);
        whole.next_page_token = page.next_page_token;
    }
    Ok(whole)
}

fn purposes(answer: &proto::ListVocabularyResponse) -> Vec<Vec<String>> {
    let header = ["PURPOSE", "PART OF", "RUNG", "MEANING", "LEGAL BASIS", "RISKS"];
    let mut rows = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    rows.extend(answer.purposes.iter().map(|each| {
        let rung = match each.rung() {
            proto::Rung::Unspecified => String::new(),
            rung => rung.as_str_name().trim_start_matches("RUNG_").to_lowercase(),
        };
        let basis = wording::legal_bases(DeclaredBasis::of(each.legal_basis()), &each.basis_reference);
        vec![each.id.clone(), each.parent.clone(), rung, each.title.clone(), basis, each.risks.join(", ")]
    }));
    rows
}

/// Show and define categories of personal data.
#[derive(Subcommand)]
pub(super) enum Category {
    /// List the categories in force.
    ///
    /// With --json, the list is one object.
    ///
    /// Example: `sayso category list`
    List,
    /// Define a category, or replace its definition.
    ///
    /// Example: `sayso category define allergies --parent health --special --title Allergies`
    Define(Box<DefineCategory>),
}

impl Category {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::List => {
                let answer = whole_vocabulary(&mut client(at, "steward").await?).await?;
                out.print_whole("ListVocabularyResponse", &answer, &["purposes"], |answer| {
                    table(&categories(answer))
                })
            }
            Self::Define(category) => category.run(at, out).await,
        }
    }
}

fn categories(answer: &proto::ListVocabularyResponse) -> Vec<Vec<String>> {
    let mut rows =
        vec![["CATEGORY", "PART OF", "MEANING", "RISKS"].into_iter().map(str::to_owned).collect::<Vec<_>>()];
    rows.extend(answer.categories.iter().map(|category| {
        let special = if category.special { " (special)" } else { "" };
        let meaning = format!("{}{special}", category.title);
        vec![category.id.clone(), category.parent.clone(), meaning, category.risks.join(", ")]
    }));
    rows
}

/// Publish and show notices: the texts that people see when they consent.
#[derive(Subcommand)]
pub(super) enum Notice {
    /// Publish a notice.
    ///
    /// Example: `sayso notice publish welcome --version 1 --file welcome.txt`
    Publish {
        /// ID of the notice, as consents name it.
        id: String,
        /// Version of the notice. A changed text needs a new version.
        #[arg(long, default_value = "1")]
        version: String,
        /// Language tag of the text (BCP 47).
        #[arg(long, default_value = "en")]
        language: String,
        /// Text of the notice.
        #[arg(long, conflicts_with = "file", required_unless_present = "file")]
        text: Option<String>,
        /// File with the text.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Require a newer version of a notice, so that people have to be asked again. Consents to earlier
    /// versions of the notice no longer allow uses.
    ///
    /// Grants that rest on a consent to an earlier version are revoked. Refusals stay in force. A
    /// consent to an earlier version never allows a use again. `sayso consent ask` lists who has to
    /// be asked.
    ///
    /// Example: `sayso notice require welcome --version 2 --from 2027-01-01 --key steward.key`
    Require(RequireNotice),
    /// Show the text of a notice.
    ///
    /// Example: `sayso notice show welcome`
    Show {
        /// ID of the notice to show.
        id: String,
        /// Version of the notice. Default: the newest.
        #[arg(long, default_value = "")]
        version: String,
    },
}

impl Notice {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::Publish { id, version, language, text, file } => {
                let text = match (text, file) {
                    (Some(text), _) => text,
                    (None, Some(path)) => read(&path)?,
                    (None, None) => return Err(CliError::usage("--text or --file is required")),
                };
                let request = proto::PublishNoticeRequest { id, version, language, text, options: None };
                let mut client = client(at, "steward").await?;
                let answer = client.publish_notice(request).await?.into_inner();
                out.print("PublishNoticeResponse", &answer, |answer| {
                    let digest = answer.notice.as_ref().map(|notice| hex::encode(&notice.digest));
                    let receipt = output::receipt(answer.receipt.as_ref());
                    format!("{receipt}; sha256 {}", digest.unwrap_or_default())
                })
            }
            Self::Require(required) => required.run(at, out).await,
            Self::Show { id, version } => {
                let request = proto::GetNoticeRequest { id, version };
                let mut client = client(at, "steward").await?;
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
