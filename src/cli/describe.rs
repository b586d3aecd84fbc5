//! The command `sayso describe`.

use super::connect::Connection;
use super::connect::client;
use super::error::CliError;
use super::output::{Out, changed};
use crate::proto;
use crate::proto::profile_service_client::ProfileServiceClient;
use clap::{Args, ValueEnum};

/// An age band.
#[derive(Clone, Copy, ValueEnum)]
enum Band {
    /// Under 13 years old.
    Child,
    /// 13 to 17 years old.
    Teen,
    /// 18 years old or older.
    Adult,
    /// Remove the age that was recorded before.
    Unknown,
}

/// Record a person's age band or date of birth, and jurisdiction. Some rules depend on these.
///
/// Anything that the flags do not set stays unchanged.
///
/// Example: `sayso describe ada --age-band teen --age-years 15 --jurisdiction DE`
#[derive(Args)]
pub(super) struct Describe {
    /// The controller's ID for the person.
    subject: String,
    /// The person's age band.
    #[arg(long, value_enum, value_name = "BAND", required_unless_present_any = ["jurisdiction", "born"])]
    age_band: Option<Band>,
    /// Age of a teen in years, 13 to 17. Without it a teen counts as 13.
    #[arg(long)]
    age_years: Option<u32>,
    /// Year, month or date of birth, like 2010, 2010-05 or 2010-05-17, instead of an age band. A
    /// guardian's consent ends by itself on the earliest day on which the person can be old enough
    /// to consent alone.
    #[arg(long, default_value = "", value_name = "WHEN", conflicts_with = "age_band")]
    born: String,
    /// ISO 3166 code of the jurisdiction, like `DE` or `US-CA`; or `EU`. `unknown` removes the
    /// recorded jurisdiction.
    #[arg(long, default_value = "", value_name = "CODE")]
    jurisdiction: String,
}

impl Describe {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let age_band = match self.age_band {
            None => proto::AgeBand::Unspecified,
            Some(Band::Child) => proto::AgeBand::Child,
            Some(Band::Teen) => proto::AgeBand::Teen,
            Some(Band::Adult) => proto::AgeBand::Adult,
            Some(Band::Unknown) => proto::AgeBand::Unknown,
        };
        let request = proto::DescribeSubjectRequest {
            subject: self.subject,
            age_band: age_band.into(),
            age_years: self.age_years,
            jurisdiction: self.jurisdiction,
            born: self.born,
            options: None,
        };
        let mut client = client!(ProfileServiceClient, at.link("steward").await?);
        let answer = client.describe_subject(request).await?.into_inner();
        out.print("DescribeSubjectResponse", &answer, |answer| {
            changed(answer.receipt.as_ref(), &answer.revoked_grants)
        })
    }
}
