//! The command `sayso retention`.

use super::connect::Connection;
use super::connect::client;
use super::error::CliError;
use super::output::{self, Out, count, plain_name};
use crate::proto;
use crate::proto::rights_service_client::RightsServiceClient;
use clap::{Args, Subcommand, ValueEnum};

/// Classes of events. A rule sets how many days the events of a class are kept.
#[derive(Clone, Copy, ValueEnum)]
enum Class {
    /// Attributes, with their corrections, contests and confirmations. The days count from when the attribute
    /// was recorded.
    Profile,
    /// Decisions about consent, and signals. The days of a decision count from when it no longer
    /// has an effect; a refusal or withdrawal has an effect until the profile is erased. The days
    /// of a signal count from when it was recorded, but a signal in force is kept.
    Consent,
    /// Requests, holds, and views: events that say who looked at a person's record. The days of a request
    /// count from when it was decided or withdrawn. The days of a hold count from when it was placed. The
    /// days of a lifting, which is an event of its own, count from when the hold was lifted. The days of a
    /// view count from when it was recorded. An open request and a hold in force are kept.
    Requests,
    /// Grants and reports of use. The days count from when the grant expires.
    Uses,
}

/// Set and list retention periods.
#[derive(Subcommand)]
pub(super) enum Retention {
    /// Set a rule: how many days a class of events is kept.
    ///
    /// `--days 0` removes the rule. Then a more general rule applies or, if there is none, the
    /// events are kept without a limit.
    ///
    /// Example: `sayso retention set profile --category health --days 365`
    Set(Set),
    /// List the rules in force.
    ///
    /// With --json, the list is one object.
    ///
    /// Example: `sayso retention list`
    List,
}

#[derive(Args)]
pub(super) struct Set {
    /// Class of events that the period applies to.
    #[arg(value_enum)]
    class: Class,
    /// With `profile`: only this category and everything below it.
    #[arg(long, default_value = "")]
    category: String,
    /// With `consent` and `uses`: only this purpose and everything below it.
    #[arg(long, default_value = "")]
    purpose: String,
    /// Days to keep the events, 0 to 36,500.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=36_500))]
    days: i64,
}

impl Retention {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client!(RightsServiceClient, at.link("steward").await?);
        match self {
            Self::Set(set) => {
                let class = match set.class {
                    Class::Profile => proto::RetentionClass::Profile,
                    Class::Consent => proto::RetentionClass::Consent,
                    Class::Requests => proto::RetentionClass::Requests,
                    Class::Uses => proto::RetentionClass::Uses,
                };
                let seconds = set.days.saturating_mul(86_400);
                let request = proto::SetRetentionRequest {
                    class: class.into(),
                    category: set.category,
                    purpose: set.purpose,
                    keep: Some(prost_types::Duration { seconds, nanos: 0 }),
                    options: None,
                };
                let answer = client.set_retention(request).await?.into_inner();
                out.print("SetRetentionResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
            }
            Self::List => {
                let mut request = proto::ListRetentionRequest::default();
                let mut answer = client.list_retention(request.clone()).await?.into_inner();
                while !answer.next_page_token.is_empty() {
                    request.page_token = std::mem::take(&mut answer.next_page_token);
                    let page = client.list_retention(request.clone()).await?.into_inner();
                    answer.retention.extend(page.retention);
                    answer.next_page_token = page.next_page_token;
                }
                out.print_whole("ListRetentionResponse", &answer, &[], |answer| {
                    let row = |rule: &proto::Retention| {
                        let seconds = rule.keep.as_ref().map_or(0, |keep| keep.seconds);
                        let kept = match (seconds / 86_400, seconds % 86_400) {
                            (days, 0) => count(days.unsigned_abs(), "day"),
                            _ => count(seconds.unsigned_abs(), "second"),
                        };
                        let class = plain_name(rule.class().as_str_name(), "RETENTION_CLASS_");
                        vec![class, rule.category.clone(), rule.purpose.clone(), kept]
                    };
                    output::list(&answer.retention.iter().map(row).collect::<Vec<_>>(), "no rules")
                })
            }
        }
    }
}
