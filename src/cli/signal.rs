//! The command `sayso signal`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{Out, changed_or_unmatched, remaining_uses};
use super::profile::whole_profile;
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::{self, SignalKind};
use clap::{Args, Subcommand, ValueEnum};

/// Record or lift a signal, such as an objection, an opt-out or a pause.
///
/// Example: `sayso signal restrict ada`, and later `sayso signal lift ada`
#[derive(Subcommand)]
pub(super) enum Signal {
    /// Record that the person objects to uses of their data (GDPR Art. 21).
    ///
    /// An objection does not end uses on the legal basis of a contract or a legal obligation.
    ///
    /// Example: `sayso signal object ada --purpose recommendation`
    Object(About),
    /// Record that the person restricts processing (GDPR Art. 18). Their data is kept, but not used.
    ///
    /// Example: `sayso signal restrict ada`
    Restrict(About),
    /// Record that the person pauses personalization.
    ///
    /// Example: `sayso signal pause ada`, or in one conversation `sayso signal pause ada --interaction
    /// chat-7`
    Pause(Pause),
    /// Record that the person opts out of sale, sharing and advertising. The right to opt out of sale and
    /// sharing comes from CCPA s. 1798.120. A Global Privacy Control signal is such an opt-out.
    ///
    /// Example: `sayso signal opt-out ada`
    OptOut(About),
    /// Record that the person opts out of automated decisions. This right comes from the CCPA regulations,
    /// s. 7221, and GDPR Art. 22.
    ///
    /// Example: `sayso signal opt-out-automated ada`
    OptOutAutomated(About),
    /// Record that the person limits the use of sensitive data (CPRA s. 1798.121).
    ///
    /// Example: `sayso signal limit-sensitive ada`
    LimitSensitive(About),
    /// Lift signals that are in force for the person.
    ///
    /// Example: `sayso signal lift ada --what pause`
    Lift(Lift),
}

/// The person and the purposes of a signal.
#[derive(Args)]
pub(super) struct About {
    /// The controller's ID for the person.
    subject: String,
    /// Limit the signal to this purpose; may be repeated. Default: all purposes.
    #[arg(long)]
    purpose: Vec<String>,
}

/// A pause, and the conversation that it is limited to.
#[derive(Args)]
pub(super) struct Pause {
    #[command(flatten)]
    about: About,
    /// Limit the pause to this conversation, as the service names it when it requests grants.
    #[arg(long, default_value = "")]
    interaction: String,
}

/// Lift signals.
#[derive(Args)]
pub(super) struct Lift {
    /// The controller's ID for the person.
    subject: String,
    /// Purpose for which signals are lifted; may be repeated. A signal stays in force for its other
    /// purposes. Default: signals are lifted for all purposes. A signal that was recorded without a
    /// purpose can be lifted only without this flag.
    #[arg(long)]
    purpose: Vec<String>,
    /// Kind of signal to lift; may be repeated. Default: all kinds that are in force; with
    /// `--interaction`, only the pause. With a channel's token, name the kinds, because a channel can't
    /// read which kinds are in force.
    #[arg(long, value_enum, value_name = "KIND")]
    what: Vec<Kind>,
    /// Lift only the pause of this conversation. Nothing else is lifted.
    #[arg(long, default_value = "")]
    interaction: String,
}

/// A kind of signal.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Objection (GDPR Art. 21).
    Object,
    /// Restriction (GDPR Art. 18).
    Restrict,
    /// Pause of personalization.
    Pause,
    /// Opt-out of sale, sharing and advertising, including Global Privacy Control (CCPA; GDPR Art. 21(5)).
    OptOut,
    /// Opt-out of automated decisions (CCPA regulations, s. 7221; GDPR Art. 22).
    OptOutAutomated,
    /// Limited use of sensitive data (CPRA s. 1798.121).
    LimitSensitive,
}

impl From<Kind> for SignalKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Object => Self::Objection,
            Kind::Restrict => Self::Restriction,
            Kind::Pause => Self::Pause,
            Kind::OptOut => Self::OptOut,
            Kind::OptOutAutomated => Self::OptOutAutomated,
            Kind::LimitSensitive => Self::LimitSensitive,
        }
    }
}

impl Signal {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let link = at.link("steward").await?;
        let (kind, about) = match self {
            Self::Object(about) => (Kind::Object, about),
            Self::Restrict(about) => (Kind::Restrict, about),
            Self::Pause(Pause { about, interaction }) => {
                let signal = recording(SignalKind::Pause, about, interaction);
                return record(&link, signal, out).await;
            }
            Self::OptOut(about) => (Kind::OptOut, about),
            Self::OptOutAutomated(about) => (Kind::OptOutAutomated, about),
            Self::LimitSensitive(about) => (Kind::LimitSensitive, about),
            Self::Lift(lift) => return lift.run(link, out).await,
        };
        record(&link, recording(kind.into(), about, String::new()), out).await
    }
}

impl Lift {
    async fn run(self, link: Link, out: Out) -> Result<(), CliError> {
        let mut kinds = self.named_kinds()?;
        if kinds.is_empty() {
            kinds = in_force(&link, &self.subject, &self.purpose).await?;
        }
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let signal = proto::RecordSignalRequest {
                subject: self.subject.clone(),
                kind: kind.into(),
                purposes: self.purpose.clone(),
                lift: true,
                interaction: self.interaction.clone(),
                options: None,
            };
            record(&link, signal, out).await?;
        }
        Ok(())
    }

    /// The kinds that the arguments name. With a conversation, that is the pause, because no other signal can
    /// be limited to a conversation.
    fn named_kinds(&self) -> Result<Vec<SignalKind>, CliError> {
        let named: Vec<SignalKind> = self.what.iter().copied().map(SignalKind::from).collect();
        if self.interaction.is_empty() {
            return Ok(named);
        }
        if named.iter().any(|kind| *kind != SignalKind::Pause) {
            return Err(CliError::failed(
                "`--interaction` lifts the pause of one conversation only; lift other kinds without it",
            ));
        }
        Ok(vec![SignalKind::Pause])
    }
}

/// The kinds of signals in force that name one of `purposes`; with no `purposes`, the kinds of all signals in
/// force.
async fn in_force(link: &Link, subject: &str, purposes: &[String]) -> Result<Vec<SignalKind>, CliError> {
    let request = proto::GetProfileRequest { subject: subject.to_owned(), ..Default::default() };
    let profile = whole_profile(client!(ProfileServiceClient, link.clone()), request).await?;
    let kinds = kinds_of(&profile.signals, purposes);
    if kinds.is_empty() {
        return Err(CliError::failed("there is nothing to lift: no such signal is in force"));
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
        let done = changed_or_unmatched(answer.receipt.as_ref(), &answer.revoked_grants, &answer.unmatched);
        match &answer.opt_out {
            Some(effect) => format!("{done}\n{}", effect.explanation),
            None => done + &remaining_uses(&answer.remaining_uses),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lift_finds_the_signals_in_force_for_the_purposes() {
        let signal = |kind: SignalKind, purposes: &[&str]| proto::Signal {
            kind: kind.into(),
            purposes: purposes.iter().map(|&purpose| purpose.to_owned()).collect(),
            recorded_at: None,
            interaction: String::new(),
        };
        let signals =
            [signal(SignalKind::Pause, &[]), signal(SignalKind::Objection, &["memory", "research"])];
        assert_eq!(kinds_of(&signals, &[]), [SignalKind::Pause, SignalKind::Objection]);
        // The daemon can lift a signal for all purposes only as a whole, not for one purpose.
        assert_eq!(kinds_of(&signals, &["memory".to_owned()]), [SignalKind::Objection]);
        assert!(kinds_of(&signals, &["safety".to_owned()]).is_empty());
    }
}
