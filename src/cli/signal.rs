//! `sayso signal`

use super::Connection;
use super::connect::{Link, client};
use super::consent::changed;
use super::error::CliError;
use super::output::Out;
use super::profile::whole_profile;
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::{self, SignalKind};
use clap::{Args, Subcommand, ValueEnum};

/// Record an objection, a restriction, an opt-out or a pause, or lift what was recorded.
///
/// Example: `sayso signal restrict ada`, and later `sayso signal lift ada`
#[derive(Subcommand)]
pub(super) enum Signal {
    /// The person objects (GDPR Art. 21).
    ///
    /// Example: `sayso signal object ada --purpose recommendation`
    Object(About),
    /// The person restricts processing (GDPR Art. 18).
    ///
    /// Example: `sayso signal restrict ada`
    Restrict(About),
    /// The person pauses personalisation for now.
    ///
    /// Example: `sayso signal pause ada`, or in one conversation `sayso signal pause ada --interaction chat-7`
    Pause(Pause),
    /// The person opts out (CCPA s. 1798.120, including Global Privacy Control).
    ///
    /// Example: `sayso signal opt-out ada`
    OptOut(About),
    /// The person limits the use of sensitive data (CPRA s. 1798.121).
    ///
    /// Example: `sayso signal limit-sensitive ada`
    LimitSensitive(About),
    /// The person takes back what was recorded.
    ///
    /// Example: `sayso signal lift ada --what pause`
    Lift(Lift),
}

/// Whom and what it is about.
#[derive(Args)]
pub(super) struct About {
    /// The controller's id of the person.
    subject: String,
    /// Only for this purpose; may be repeated. None: all.
    #[arg(long)]
    purpose: Vec<String>,
}

/// Whom a pause is about, and where it holds.
#[derive(Args)]
pub(super) struct Pause {
    #[command(flatten)]
    about: About,
    /// Only in this conversation, by the name that its grants carry.
    #[arg(long, default_value = "")]
    interaction: String,
}

/// Take back what was recorded.
#[derive(Args)]
pub(super) struct Lift {
    /// The controller's id of the person.
    subject: String,
    /// Only for this purpose; may be repeated. None: all. What was recorded for all purposes is lifted
    /// only without it.
    #[arg(long)]
    purpose: Vec<String>,
    /// Which; may be repeated. Default: whichever stands, which a steward or the person may look up.
    #[arg(long, value_enum, value_name = "KIND")]
    what: Vec<What>,
    /// Only what was said for this conversation.
    #[arg(long, default_value = "")]
    interaction: String,
}

/// What a person can say besides consent.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// GDPR Art. 21.
    Object,
    /// GDPR Art. 18.
    Restrict,
    /// No personalisation for now.
    Pause,
    /// CCPA opt-out, including Global Privacy Control.
    OptOut,
    /// CPRA: limit the use of sensitive data.
    LimitSensitive,
}

impl From<What> for SignalKind {
    fn from(what: What) -> Self {
        match what {
            What::Object => Self::Objection,
            What::Restrict => Self::Restriction,
            What::Pause => Self::Pause,
            What::OptOut => Self::OptOut,
            What::LimitSensitive => Self::LimitSensitive,
        }
    }
}

impl Signal {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let link = at.link("steward").await?;
        let (what, about) = match self {
            Self::Object(about) => (What::Object, about),
            Self::Restrict(about) => (What::Restrict, about),
            Self::Pause(Pause { about, interaction }) => {
                let signal = recording(SignalKind::Pause, about, interaction);
                return record(&link, signal, out).await;
            }
            Self::OptOut(about) => (What::OptOut, about),
            Self::LimitSensitive(about) => (What::LimitSensitive, about),
            Self::Lift(lift) => return lift.run(link, out).await,
        };
        record(&link, recording(what.into(), about, String::new()), out).await
    }
}

impl Lift {
    async fn run(self, link: Link, out: Out) -> Result<(), CliError> {
        let mut kinds: Vec<SignalKind> = self.what.iter().copied().map(SignalKind::from).collect();
        if kinds.is_empty() {
            kinds = standing(&link, &self.subject, &self.purpose).await?;
        }
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let signal = proto::RecordSignalRequest {
                subject: self.subject.clone(),
                kind: kind.into(),
                purposes: self.purpose.clone(),
                lift: true,
                // A conversation is named for pauses only.
                interaction: if kind == SignalKind::Pause { self.interaction.clone() } else { String::new() },
                options: None,
            };
            record(&link, signal, out).await?;
        }
        Ok(())
    }
}

/// What stands for one of the purposes, or for any where none is named.
async fn standing(link: &Link, subject: &str, purposes: &[String]) -> Result<Vec<SignalKind>, CliError> {
    let request = proto::GetProfileRequest { subject: subject.to_owned(), ..Default::default() };
    let profile = whole_profile(client!(ProfileServiceClient, link.clone()), request).await?;
    let kinds = kinds_of(&profile.signals, purposes);
    if kinds.is_empty() {
        return Err(CliError::failed("there is nothing to lift: no such signal stands"));
    }
    Ok(kinds)
}

fn kinds_of(signals: &[proto::Signal], purposes: &[String]) -> Vec<SignalKind> {
    let concerns = |signal: &&proto::Signal| {
        purposes.is_empty() || signal.purposes.iter().any(|purpose| purposes.contains(purpose))
    };
    signals.iter().filter(concerns).map(proto::Signal::kind).collect()
}

fn recording(kind: SignalKind, about: About, interaction: String) -> proto::RecordSignalRequest {
    let About { subject, purpose: purposes } = about;
    proto::RecordSignalRequest {
        subject,
        kind: kind.into(),
        purposes,
        lift: false,
        interaction,
        options: None,
    }
}

async fn record(link: &Link, request: proto::RecordSignalRequest, out: Out) -> Result<(), CliError> {
    let answer = client!(ConsentServiceClient, link.clone()).record_signal(request).await?.into_inner();
    out.print("RecordSignalResponse", &answer, |answer| {
        changed(answer.receipt.as_ref(), &answer.revoked_grants)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lifted_is_what_stands_for_the_purposes() {
        let signal = |kind: SignalKind, purposes: &[&str]| proto::Signal {
            kind: kind.into(),
            purposes: purposes.iter().map(|&purpose| purpose.to_owned()).collect(),
            recorded_at: None,
            interaction: String::new(),
        };
        let stand = [signal(SignalKind::Pause, &[]), signal(SignalKind::Objection, &["memory", "research"])];
        assert_eq!(kinds_of(&stand, &[]), [SignalKind::Pause, SignalKind::Objection]);
        // The daemon lifts a signal for all purposes as a whole or not at all.
        assert_eq!(kinds_of(&stand, &["memory".to_owned()]), [SignalKind::Objection]);
        assert!(kinds_of(&stand, &["safety".to_owned()]).is_empty());
    }
}
