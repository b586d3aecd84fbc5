//! The command `sayso uses`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, count};
use super::times::{self, WrittenTime};
use crate::domain::legal_basis::DeclaredBasis;
use crate::domain::wording;
use crate::proto::grant_service_client::GrantServiceClient;
use crate::proto::{self, UseKind};
use clap::Args;

/// List how services used a person's data, and what allowed each use.
///
/// A use is one of these: a grant that allowed data, a repeated request that was answered with an
/// earlier grant of its conversation, a reported reply, or an artifact. A grant that allowed
/// nothing is not a use. The oldest use comes first. With --json, there is one object on each line.
///
/// If an erasure destroyed the record of uses, the list shows the erasure instead, with the
/// services that had received the erased data.
///
/// Each use comes with the consents, notices and rules that allowed it.
///
/// The command calls the daemon as `steward`; an auditor adds `--as auditor`. The call is recorded,
/// so that the person can see who asked.
///
/// Example: `sayso uses ada --category health --recipient tutor --from 2026-01-01 --to 2026-01-31`
#[derive(Args)]
pub(super) struct Uses {
    /// The controller's ID for the person.
    subject: String,
    /// Only uses of data in this category, or in a category that is or ever was below it.
    #[arg(long, default_value = "")]
    category: String,
    /// Only uses by the service with this name.
    #[arg(long, value_name = "SERVICE", default_value = "")]
    recipient: String,
    /// Only uses at this time or later.
    #[arg(long, value_name = "TIME", value_parser = times::beginning)]
    from: Option<WrittenTime>,
    /// Only uses before this time. A date includes that day.
    #[arg(long, value_name = "TIME", value_parser = times::end)]
    to: Option<WrittenTime>,
}

impl Uses {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client: GrantServiceClient<Link> = client!(GrantServiceClient, at.link("steward").await?);
        let mut request = proto::ListUsesRequest {
            subject: self.subject,
            category: self.category,
            recipient: self.recipient,
            from: self.from.as_ref().map(|time| time.moment),
            to: self.to.as_ref().map(|time| time.moment),
            page_size: 0,
            page_token: String::new(),
        };
        let mut is_empty = true;
        loop {
            let page = client.list_uses(request.clone()).await?.into_inner();
            is_empty &= page.uses.is_empty() && page.erased.is_empty();
            page.uses.iter().try_for_each(|used| out.print("ListedUse", used, text_of))?;
            page.erased.iter().try_for_each(|erased| out.print("ErasedUses", erased, erased_text))?;
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        if is_empty {
            out.print_note("no uses")?;
        }
        out.note_dates(&[("--from", self.from.as_ref()), ("--to", self.to.as_ref())])
    }
}

fn text_of(used: &proto::ListedUse) -> String {
    let mut text = format!(
        "{}  {} `{}` for {}: {}",
        output::time(used.used_at.as_ref().or(used.recorded_at.as_ref())),
        what(used),
        used.recipient,
        used.purpose,
        attributes(used)
    );
    for consent in &used.consents {
        text.push_str(&format!("\n  {}", consent_text(consent)));
    }
    if used.consents_left_out > 0 {
        text.push_str(&format!("\n  {} not shown", count(used.consents_left_out.into(), "further consent")));
    }
    let rules: Vec<String> = used.rules.iter().map(rule_text).collect();
    text.push_str(&format!("\n  rules in force: {}", rules.join(", ")));
    match (&used.revoked_at, &used.expires_at) {
        (Some(at), _) => {
            let reason = wording::reason(used.revocation_reason().into());
            text.push_str(&format!("\n  revoked {}: {reason}", output::time(Some(at))));
        }
        (None, Some(end)) => text.push_str(&format!("\n  until {}", output::time(Some(end)))),
        (None, None) => {}
    }
    text
}

fn erased_text(erased: &proto::ErasedUses) -> String {
    let mut text = format!(
        "{}  erasure {} destroyed the record of uses; the erased data had been received by:",
        output::time(erased.completed_at.as_ref()),
        erased.request_id
    );
    for recipient in &erased.recipients {
        let (grants, artifacts) = (recipient.grants.into(), recipient.artifacts.into());
        let confirmed = if recipient.acknowledged { "confirmed" } else { "not confirmed yet" };
        text.push_str(&format!(
            "\n  `{}` with {} and {}; deletion {confirmed}",
            recipient.name,
            count(grants, "grant"),
            count(artifacts, "artifact")
        ));
    }
    if erased.recipients_left_out > 0 {
        text.push_str(&format!("\n  {} more", erased.recipients_left_out));
    }
    text
}

/// Describes a use. The text ends right before the name of the service, for example `grant g40 to`.
fn what(used: &proto::ListedUse) -> String {
    let grant = &used.grant_id;
    match used.kind() {
        UseKind::Granted => format!("grant {grant} to"),
        UseKind::Reused => format!("grant {grant} reused {} to", count(used.count.into(), "time")),
        UseKind::Reported => {
            let times = if used.count > 1 { format!(" ({} times)", used.count) } else { String::new() };
            format!("reply `{}`{times} under grant {grant} by", used.reply)
        }
        UseKind::Built => format!("artifact {} under grant {grant} by", used.artifact_id),
        UseKind::Unspecified => format!("use of grant {grant} by"),
    }
}

fn attributes(used: &proto::ListedUse) -> String {
    let named = used.attributes.iter().map(|used| {
        let basis = DeclaredBasis::of(used.legal_basis());
        let basis = basis.map(|basis| format!(", {}", basis.title())).unwrap_or_default();
        format!("{} ({}{basis})", used.key, used.category)
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if used.attributes_left_out > 0 {
        text.push_str(&format!(" and {} more", used.attributes_left_out));
    }
    if used.is_unspecific {
        text.push_str("; the report names none, so this is what the grant allowed");
    }
    text
}

fn consent_text(consent: &proto::UseConsent) -> String {
    let explicit = if consent.explicit { "explicit consent" } else { "consent" };
    let guardian = if consent.guardian { " of a guardian" } else { "" };
    let at = output::time(consent.recorded_at.as_ref());
    let notice = match &consent.notice {
        Some(notice) => format!("notice `{}` version {}", notice.id, notice.version),
        None => "no notice".to_owned(),
    };
    format!("{explicit}{guardian} of {at} (event {}), {notice}", consent.event_id)
}

fn rule_text(rule: &proto::UseRule) -> String {
    match (rule.tier(), rule.pack.as_str()) {
        (proto::Tier::Individual, "") => format!("the person's own (position {})", rule.position),
        (_, "") => format!("position {}", rule.position),
        (_, pack) => format!("{pack} {}", rule.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_shown_with_its_consent_notice_and_rules() {
        let used = proto::ListedUse {
            kind: UseKind::Reported.into(),
            grant_id: "g7-00".into(),
            recipient: "tutor".into(),
            purpose: "memory".into(),
            reply: "r".into(),
            count: 2,
            attributes: vec![proto::UsedAttribute {
                key: "sleep".into(),
                category: "health".into(),
                ..Default::default()
            }],
            attributes_left_out: 1,
            consents: vec![proto::UseConsent {
                explicit: true,
                notice: Some(proto::NoticeRef {
                    id: "welcome".into(),
                    version: "2".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }],
            rules: vec![proto::UseRule { pack: "gdpr".into(), version: "1".into(), ..Default::default() }],
            ..Default::default()
        };
        let text = text_of(&used);
        for part in [
            "reply `r` (2 times) under grant g7-00 by `tutor` for memory: sleep (health) and 1 more",
            "explicit consent of",
            "notice `welcome` version 2",
            "rules in force: gdpr 1",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
