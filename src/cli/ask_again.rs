//! The command `sayso consent ask`.

use super::connect::Link;
use super::error::CliError;
use super::output::{self, Out, count, people};
use crate::domain::event::Reason;
use crate::domain::wording;
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::{self, DenialReason};
use clap::Args;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// People in one request.
const PEOPLE_MAX: usize = 256;
/// Bytes of the IDs in one request.
const PEOPLE_BYTES_MAX: usize = 65_536;

/// List the people who have to be asked for consent again, and why.
///
/// There are six reasons to list a consent:
///
/// - it names an older version of its notice than the required one (`sayso notice require`);
///
/// - a purpose or category that it names, or one below, was redefined;
///
/// - a category that it names, or one below, became special;
///
/// - a rule requires a newer consent;
///
/// - a guardian gave it, and the person has reached the age at which a rule ends it;
///
/// - it ends soon (only with --within).
///
/// With each consent, the list has the purposes that need a new consent: purposes that the consent
/// names, and purposes below these. Consents that the person has taken back or that have ended are
/// not listed, nor are purposes that another consent of the person allows.
///
/// The ledger keeps no list of the IDs by which you know people. If you name people, or give a file
/// with their IDs, the list shows these IDs. Otherwise all people are examined, and each is shown
/// by a random pseudonym. With --json, each line is one object. For each person whom you name, or
/// who is in the list, an event records who viewed the list. The person can read this event.
///
/// Example: `sayso consent ask --people customers.txt --within 30d`
#[derive(Args)]
pub(super) struct AskAgain {
    /// The controller's IDs of people. Default: everybody.
    subject: Vec<String>,
    /// File with the controller's IDs of people, one on each line; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "subject")]
    people: Option<PathBuf>,
    /// Also list consents that allow uses now, and will stop allowing them within this many days,
    /// such as `30d`.
    #[arg(long, value_name = "DAYS", value_parser = days, default_value = "0d")]
    within: u32,
}

/// What was listed so far.
#[derive(Default)]
struct Listed {
    people: BTreeSet<String>,
    examined: u64,
}

impl AskAgain {
    pub async fn run(self, client: &mut ConsentServiceClient<Link>, out: Out) -> Result<(), CliError> {
        let subjects = match &self.people {
            Some(path) => ids(&read(path)?),
            None => self.subject.clone(),
        };
        let is_named = self.people.is_some() || !subjects.is_empty();
        let mut listed = Listed::default();
        if is_named {
            for part in parts(&subjects) {
                self.list(client, part.to_vec(), out, &mut listed).await?;
            }
        } else {
            self.list(client, Vec::new(), out, &mut listed).await?;
        }
        let asked = people(listed.people.len() as u64);
        let hint = if is_named || listed.people.is_empty() {
            ""
        } else {
            "; name people, or give a file with --people, to see their IDs"
        };
        out.print_note(&format!("{asked} to ask, of {} examined{hint}", count(listed.examined, "record")))
    }

    async fn list(
        &self,
        client: &mut ConsentServiceClient<Link>,
        subjects: Vec<String>,
        out: Out,
        listed: &mut Listed,
    ) -> Result<(), CliError> {
        let mut request = proto::ListOutdatedConsentsRequest {
            subjects,
            within_days: self.within,
            page_size: 0,
            page_token: String::new(),
        };
        loop {
            let page = client.list_outdated_consents(request.clone()).await?.into_inner();
            listed.examined = listed.examined.saturating_add(page.people_examined);
            for consent in &page.consents {
                listed.people.insert(consent.handle.clone());
                out.print("OutdatedConsent", consent, text_of)?;
            }
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(());
            }
        }
    }
}

fn text_of(consent: &proto::OutdatedConsent) -> String {
    let who = if consent.subject.is_empty() { &consent.handle } else { &consent.subject };
    let notice = match &consent.notice {
        Some(notice) => format!("notice `{}` version {}", notice.id, notice.version),
        None => "no notice".to_owned(),
    };
    let since = match &consent.since {
        Some(since) => format!(" (from {})", output::time(Some(since))),
        None => String::new(),
    };
    let rule = if consent.policy.is_empty() { String::new() } else { format!(", rule `{}`", consent.policy) };
    let show = match consent.required_version.as_str() {
        "" => String::new(),
        version => format!("; show version {version} or later"),
    };
    format!(
        "{who}  {}: {}{rule}{since}{show}. Consented on {}, {notice}",
        consent.purposes.join(", "),
        why(consent.reason()),
        output::time(consent.said_at.as_ref()),
    )
}

fn why(reason: DenialReason) -> &'static str {
    match Reason::try_from(i32::from(reason)).unwrap_or_default() {
        Reason::ConsentExpired => "the consent ends",
        reason => wording::reason(reason),
    }
}

/// Splits IDs into parts, each of which fits in one request.
fn parts(subjects: &[String]) -> Vec<&[String]> {
    let (mut parts, mut rest) = (Vec::new(), subjects);
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = |id: &&String| {
            bytes = bytes.saturating_add(id.len());
            bytes <= PEOPLE_BYTES_MAX
        };
        let size = rest.iter().take(PEOPLE_MAX).take_while(fits).count().max(1);
        let (part, later) = rest.split_at(size);
        parts.push(part);
        rest = later;
    }
    parts
}

fn ids(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim_end_matches('\r').to_owned()).filter(|id| !id.is_empty()).collect()
}

fn read(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().read_to_string(&mut text).map(|_| text),
        _ => std::fs::read_to_string(path),
    };
    read.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

fn days(text: &str) -> Result<u32, String> {
    let days = text.strip_suffix('d').unwrap_or(text).parse().ok().filter(|days| *days <= 3_652);
    days.ok_or_else(|| "must be a whole number of days up to 3652, like 30d".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ids_are_sent_in_parts_that_fit_in_one_request() {
        let short: Vec<String> = (0..600).map(|number| number.to_string()).collect();
        assert_eq!(parts(&short).iter().map(|part| part.len()).collect::<Vec<_>>(), [256, 256, 88]);
        let long: Vec<String> = (0..300).map(|number| format!("{number:0300}")).collect();
        let sizes: Vec<usize> = parts(&long).iter().map(|part| part.iter().map(String::len).sum()).collect();
        assert!(sizes.iter().all(|size| *size <= PEOPLE_BYTES_MAX), "{sizes:?}");
        assert_eq!(sizes.iter().sum::<usize>(), 90_000);
        assert!(parts(&[]).is_empty());
        assert_eq!(ids("ada\r\n\nben\n"), ["ada", "ben"]);
        assert_eq!((days("30d").unwrap(), days("0").unwrap(), days("4000d").is_err()), (30, 0, true));
    }

    #[test]
    fn a_line_says_who_has_to_be_asked_about_what_and_why() {
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let consent = proto::OutdatedConsent {
            subject: "ada".into(),
            purposes: vec!["memory".into()],
            notice: Some(proto::NoticeRef {
                id: "welcome".into(),
                version: "1".into(),
                ..Default::default()
            }),
            said_at: time(0),
            since: time(86_400),
            reason: DenialReason::NoticeOutdated.into(),
            required_version: "2".into(),
            ..Default::default()
        };
        assert_eq!(
            text_of(&consent),
            "ada  memory: the person consented to a version of the notice that no longer counts \
             (from 1970-01-02T00:00:00Z); show version 2 or later. Consented on 1970-01-01T00:00:00Z, \
             notice `welcome` version 1"
        );
    }
}
