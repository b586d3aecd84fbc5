//! `sayso hold`

use super::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, plain_name, table};
use crate::proto;
use crate::proto::rights_service_client::RightsServiceClient;
use clap::{Args, Subcommand, ValueEnum};

async fn client(at: &Connection) -> Result<RightsServiceClient<Link>, CliError> {
    Ok(client!(RightsServiceClient, at.link("steward").await?))
}

/// Why a request is refused, or data kept although its erasure was asked for.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Ground {
    /// GDPR Art. 17(3)(a): freedom of expression and information.
    Expression,
    /// GDPR Art. 17(3)(b): a legal obligation, or a task in the public interest.
    LegalObligation,
    /// GDPR Art. 17(3)(c).
    PublicHealth,
    /// GDPR Art. 17(3)(d): archiving, research, statistics.
    ArchivingResearch,
    /// GDPR Art. 17(3)(e): legal claims.
    LegalClaims,
    /// GDPR Art. 12(2): who asks could not be identified. No ground of a hold.
    NotIdentified,
    /// GDPR Art. 12(5)(b): manifestly unfounded or excessive. No ground of a hold.
    Excessive,
    /// GDPR Art. 21(1): compelling legitimate grounds. No ground of a hold.
    Compelling,
    /// What the right requires is not given. No ground of a hold.
    NotMet,
}

impl Ground {
    pub fn wire(self) -> proto::Ground {
        match self {
            Self::Expression => proto::Ground::Expression,
            Self::LegalObligation => proto::Ground::LegalObligation,
            Self::PublicHealth => proto::Ground::PublicHealth,
            Self::ArchivingResearch => proto::Ground::ArchivingResearch,
            Self::LegalClaims => proto::Ground::LegalClaims,
            Self::NotIdentified => proto::Ground::NotIdentified,
            Self::Excessive => proto::Ground::Excessive,
            Self::Compelling => proto::Ground::Compelling,
            Self::NotMet => proto::Ground::NotMet,
        }
    }
}

/// Legal reasons that block erasure.
#[derive(Subcommand)]
pub(super) enum Hold {
    /// Block the erasure of a person, or of some categories.
    ///
    /// Example: `sayso hold place ada --ground legal-claims --code case-17`
    Place(Place),
    /// End a hold. What was refused because of it has to be asked for again.
    ///
    /// Example: `sayso hold lift ada 01a208e3-3e5e-7e4d-accf-9b22e9f7d006`
    Lift(Lift),
    /// Show the holds that stand.
    ///
    /// Example: `sayso hold list ada`
    List(List),
}

#[derive(Args)]
pub(super) struct Place {
    /// The controller's id of the person.
    subject: String,
    /// Why.
    #[arg(long, value_enum)]
    ground: Ground,
    /// The controller's own short code, without personal data.
    #[arg(long)]
    code: String,
    /// Why, without personal data.
    #[arg(long, default_value = "")]
    text: String,
    /// May be repeated. None: everything.
    #[arg(long)]
    category: Vec<String>,
}

#[derive(Args)]
pub(super) struct Lift {
    /// The controller's id of the person.
    subject: String,
    /// Id of the hold, as `sayso hold list` shows it.
    hold: String,
    /// Why, without personal data.
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Args)]
pub(super) struct List {
    /// The controller's id of the person.
    subject: String,
}

impl Hold {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client(at).await?;
        match self {
            Self::Place(place) => {
                let request = proto::PlaceHoldRequest {
                    subject: place.subject,
                    ground: place.ground.wire().into(),
                    code: place.code,
                    text: place.text,
                    categories: place.category,
                    options: None,
                };
                let answer = client.place_hold(request).await?.into_inner();
                out.print("PlaceHoldResponse", &answer, |answer| {
                    format!("hold {}; {}", answer.hold_id, output::receipt(answer.receipt.as_ref()))
                })
            }
            Self::Lift(lift) => {
                let request = proto::LiftHoldRequest {
                    subject: lift.subject,
                    hold_id: lift.hold,
                    reason: lift.reason,
                    options: None,
                };
                let answer = client.lift_hold(request).await?.into_inner();
                out.print("LiftHoldResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
            }
            Self::List(list) => {
                let request = proto::ListHoldsRequest { subject: list.subject };
                let answer = client.list_holds(request).await?.into_inner();
                out.print("ListHoldsResponse", &answer, |answer| {
                    let row = |hold: &proto::Hold| {
                        let all = || "everything".to_owned();
                        let of = hold.categories.join(",");
                        vec![
                            hold.hold_id.clone(),
                            output::time(hold.placed_at.as_ref()),
                            plain_name(hold.ground().as_str_name(), "GROUND_"),
                            hold.code.clone(),
                            if of.is_empty() { all() } else { of },
                            hold.text.clone(),
                        ]
                    };
                    table(&answer.holds.iter().map(row).collect::<Vec<_>>())
                })
            }
        }
    }
}
