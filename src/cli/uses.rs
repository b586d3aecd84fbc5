//! The command `sayso uses`.

use super::connect::Connection;
use super::error::CliError;
use super::output::{Out, count};
use super::profile::each_event;
use crate::domain::ids::{EventId, GrantId};
use crate::domain::wording;
use crate::proto::RecordedEvent;
use clap::Args;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{GrantIssued, GrantUsed};
use serde::Serialize;

/// List the grants of a person's data, and the replies for which each grant was used.
///
/// The oldest grant comes first. With --json, there is one grant on each line.
///
/// Example: `sayso uses ada`
#[derive(Args)]
pub(super) struct Uses {
    /// The controller's ID of the person.
    subject: String,
}

/// A grant, its uses and its end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantHistory {
    grant_id: String,
    recipient: String,
    purpose: String,
    interaction: String,
    issued_at: String,
    expires_at: String,
    /// Keys of the attributes that it allowed.
    allowed: Vec<String>,
    /// Number of attributes that it withheld.
    withheld: u32,
    uses: Vec<Use>,
    /// Number of repeated requests that it answered, according to the log. The daemon records the number with
    /// a delay, so the newest requests may be missing.
    reused: u32,
    revoked: Option<Revocation>,
    /// Event ID of the grant.
    #[serde(skip)]
    event: Vec<u8>,
    /// Event IDs of the allowed attributes, with their keys.
    #[serde(skip)]
    keys: Vec<(Vec<u8>, String)>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Use {
    reply: String,
    reported_at: String,
    count: u32,
    shaped_by: Vec<String>,
    ai_disclosure_shown: bool,
}

#[derive(Debug, Serialize)]
struct Revocation {
    at: String,
    reason: &'static str,
}

impl Uses {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut grants = Vec::new();
        each_event(at, &self.subject, |event| {
            add_event(&mut grants, event);
            Ok(())
        })
        .await?;
        for grant in &grants {
            let value = serde_json::to_value(grant).map_err(CliError::failed)?;
            out.print_value(&value, &text_of(grant))?;
        }
        if grants.is_empty() { out.print_note("no grants") } else { Ok(()) }
    }
}

fn add_event(grants: &mut Vec<GrantHistory>, event: &RecordedEvent) {
    let at = super::output::time(event.recorded_at.as_ref());
    let Some(recorded) = event.body.as_ref().and_then(|body| body.event.as_ref()) else { return };
    match recorded {
        Event::GrantIssued(issued) => grants.extend(issue(event, issued, at)),
        Event::GrantUsed(used) => {
            if let Some(grant) = grants.iter_mut().find(|grant| grant.event == used.grant) {
                let reported = reported(grant, used, at);
                grant.uses.push(reported);
            }
        }
        Event::GrantGivenAgain(again) => {
            if let Some(grant) = grants.iter_mut().find(|grant| grant.event == again.grant) {
                grant.reused = grant.reused.saturating_add(again.count);
            }
        }
        Event::GrantRevoked(revoked) => {
            if let Some(grant) = grants.iter_mut().find(|grant| grant.event == revoked.grant) {
                grant.revoked = Some(Revocation { at, reason: wording::reason(revoked.reason()) });
            }
        }
        _ => {}
    }
}

fn issue(event: &RecordedEvent, issued: &GrantIssued, issued_at: String) -> Option<GrantHistory> {
    let id: EventId = event.event_id.parse().ok()?;
    let allowed = issued.allowed.iter();
    Some(GrantHistory {
        grant_id: GrantId::new(event.position, &id).to_string(),
        recipient: issued.recipient.clone(),
        purpose: issued.purpose.clone(),
        interaction: issued.interaction.clone(),
        issued_at,
        expires_at: wording::time(issued.expires_at_ms),
        allowed: allowed.clone().map(|allowed| allowed.key.clone()).collect(),
        withheld: issued.withheld.iter().map(|class| class.count).fold(0, u32::saturating_add),
        uses: Vec::new(),
        reused: 0,
        revoked: None,
        event: id.0.to_vec(),
        keys: allowed.map(|allowed| (allowed.attribute.clone(), allowed.key.clone())).collect(),
    })
}

fn reported(grant: &GrantHistory, used: &GrantUsed, reported_at: String) -> Use {
    let shaped = |(event, _): &&(Vec<u8>, String)| used.shaped_by.contains(event);
    Use {
        reply: used.reply.clone(),
        reported_at,
        count: used.count,
        shaped_by: grant.keys.iter().filter(shaped).map(|(_, key)| key.clone()).collect(),
        ai_disclosure_shown: used.ai_disclosure_shown,
    }
}

fn key_list(keys: &[String]) -> String {
    if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
}

fn text_of(grant: &GrantHistory) -> String {
    let mut text = format!(
        "{}  grant {}  `{}` for {}: {}; withheld {}",
        grant.issued_at,
        grant.grant_id,
        grant.recipient,
        grant.purpose,
        key_list(&grant.allowed),
        grant.withheld
    );
    for used in &grant.uses {
        let times = if used.count > 1 { format!(" ({} times)", used.count) } else { String::new() };
        let shaped = key_list(&used.shaped_by);
        text.push_str(&format!(
            "\n  {}  reply `{}`{times}, shaped by: {shaped}",
            used.reported_at, used.reply
        ));
    }
    if grant.reused > 0 {
        let times = count(grant.reused.into(), "time");
        text.push_str(&format!("\n  reused {times} in the same conversation"));
    }
    match &grant.revoked {
        Some(revoked) => text.push_str(&format!("\n  {}  revoked: {}", revoked.at, revoked.reason)),
        None => text.push_str(&format!("\n  until {}", grant.expires_at)),
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use sayso_proof::event::{EventBody, GrantRevoked, GrantedAttribute, Reason};

    fn event(position: u64, event_id: &str, what: Event) -> RecordedEvent {
        let body = Some(EventBody { event: Some(what), ..Default::default() });
        RecordedEvent { event_id: event_id.into(), position, body, ..Default::default() }
    }

    #[test]
    fn a_grant_is_listed_with_its_uses_and_its_revocation() {
        let id = "01a208e9-0c43-7f51-8388-34a90adda170";
        let bytes = id.parse::<EventId>().unwrap().0.to_vec();
        let allowed = GrantedAttribute { attribute: vec![1; 16], key: "tone".into(), ..Default::default() };
        let issued = GrantIssued { recipient: "tutor".into(), allowed: vec![allowed], ..Default::default() };
        let used = GrantUsed {
            grant: bytes.clone(),
            reply: "r".into(),
            shaped_by: vec![vec![1; 16]],
            count: 2,
            ..Default::default()
        };
        let other = GrantUsed { grant: vec![9; 16], ..used.clone() };
        let revoked =
            GrantRevoked { grant: bytes, reason: Reason::ConsentWithdrawn.into(), ..Default::default() };
        let mut grants = Vec::new();
        add_event(&mut grants, &event(7, id, Event::GrantIssued(issued)));
        add_event(&mut grants, &event(8, id, Event::GrantUsed(used)));
        add_event(&mut grants, &event(9, id, Event::GrantUsed(other)));
        add_event(&mut grants, &event(10, id, Event::GrantRevoked(revoked)));
        assert_eq!(grants.len(), 1);
        assert_eq!(grants[0].grant_id, "g7-838834a90adda170");
        assert_eq!(grants[0].uses.len(), 1);
        let text = text_of(&grants[0]);
        for part in ["`tutor`", "reply `r` (2 times), shaped by: tone", "revoked: the person withdrew"] {
            assert!(text.contains(part), "{text}");
        }
        let json = serde_json::to_value(&grants[0]).unwrap();
        assert_eq!(json["uses"][0]["shapedBy"][0], "tone");
        assert!(json.get("event").is_none() && json.get("keys").is_none());
    }
}
