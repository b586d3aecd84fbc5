//! The command `sayso hold`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, plain_name};
use crate::proto;
use crate::proto::rights_service_client::RightsServiceClient;
use clap::{Args, Subcommand, ValueEnum};

async fn client(at: &Connection) -> Result<RightsServiceClient<Link>, CliError> {
    Ok(client!(RightsServiceClient, at.link("steward").await?))
}

/// Legal ground for refusing a request or for a hold, which blocks an erasure.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Ground {
    /// GDPR Art. 17(3)(a): freedom of expression and information.
    Expression,
    /// GDPR Art. 17(3)(b): a legal obligation, or a task in the public interest.
    LegalObligation,
    /// GDPR Art. 17(3)(c): public health.
    PublicHealth,
    /// GDPR Art. 17(3)(d): archiving, research or statistics.
    ArchivingResearch,
    /// GDPR Art. 17(3)(e): legal claims.
    LegalClaims,
    /// GDPR Art. 12(2): the requester could not be identified. For refusing a request only, not for
    /// a hold.
    NotIdentified,
    /// GDPR Art. 12(5)(b): the request is manifestly unfounded or excessive. For refusing a request
    /// only, not for a hold.
    Excessive,
    /// GDPR Art. 21(1): compelling legitimate grounds, which override an objection. For refusing a
    /// request only, not for a hold.
    Compelling,
    /// The request does not meet the conditions of the right that it invokes. For refusing a
    /// request only, not for a hold.
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

/// Place, lift and list holds: legal grounds that block erasure.
#[derive(Subcommand)]
pub(super) enum Hold {
    /// Place a hold, which blocks the erasure of a person's data. With --category, the hold covers only
    /// some categories of the data.
    ///
    /// Example: `sayso hold place ada --ground legal-claims --code case-17`
    Place(Place),
    /// Lift a hold.
    ///
    /// A request for erasure that was refused only because of this hold is open again. If an
    /// erasure destroyed everything except the data that this hold protected, a new request to
    /// erase that data is recorded.
    ///
    /// Example: `sayso hold lift ada 01a208e3-3e5e-7e4d-accf-9b22e9f7d006`
    Lift(Lift),
    /// List a person's holds that are in force.
    ///
    /// With --json, the list is one object.
    ///
    /// Example: `sayso hold list ada`
    List(List),
}

#[derive(Args)]
pub(super) struct Place {
    /// The controller's ID for the person.
    subject: String,
    /// Legal ground of the hold.
    #[arg(long, value_enum)]
    ground: Ground,
    /// The controller's own short code that identifies the case, without personal data.
    #[arg(long)]
    code: String,
    /// Reason for the hold in words, without personal data.
    #[arg(long, default_value = "")]
    text: String,
    /// Category whose data the hold protects from erasure; may be repeated. Default: all data.
    #[arg(long)]
    category: Vec<String>,
    /// Purpose, such as legal-claims, that the legal ground requires. Once the hold has blocked an
    /// erasure, the protected data may be used only for this purpose. By default, the data may be used for
    /// no purpose.
    #[arg(long)]
    purpose: Option<String>,
}

#[derive(Args)]
pub(super) struct Lift {
    /// The controller's ID for the person.
    subject: String,
    /// ID of the hold, as in `sayso hold list`.
    hold: String,
    /// Reason for lifting the hold, without personal data.
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Args)]
pub(super) struct List {
    /// The controller's ID for the person.
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
                    purposes: place.purpose.into_iter().collect(),
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
                let mut request = proto::ListHoldsRequest { subject: list.subject, ..Default::default() };
                let mut answer = client.list_holds(request.clone()).await?.into_inner();
                while !answer.next_page_token.is_empty() {
                    request.page_token = std::mem::take(&mut answer.next_page_token);
                    let page = client.list_holds(request.clone()).await?.into_inner();
                    answer.holds.extend(page.holds);
                    answer.next_page_token = page.next_page_token;
                }
                out.print_whole("ListHoldsResponse", &answer, &[], |answer| {
                    let row = |hold: &proto::Hold| {
                        let categories = match hold.categories.as_slice() {
                            [] => "everything".to_owned(),
                            categories => categories.join(","),
                        };
                        vec![
                            hold.hold_id.clone(),
                            output::time(hold.placed_at.as_ref()),
                            plain_name(hold.ground().as_str_name(), "GROUND_"),
                            hold.code.clone(),
                            categories,
                            hold.text.clone(),
                        ]
                    };
                    output::list(&answer.holds.iter().map(row).collect::<Vec<_>>(), "no holds")
                })
            }
        }
    }
}
