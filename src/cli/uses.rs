//! `sayso uses`

use super::Connection;
use super::error::CliError;
use super::output::Out;
use super::profile::each_event;
use crate::domain::ids::{EventId, GrantId};
use crate::domain::wording;
use crate::proto::RecordedEvent;
use clap::Args;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{GrantIssued, GrantUsed};
use serde::Serialize;

/// Show who was granted a person's data, for what, and which replies it shaped. Oldest first.
///
/// Example: `sayso uses ada`; with --json one grant a line
#[derive(Args)]
pub(super) struct Uses {
    /// The controller's id of the person.
    subject: String,
}

/// One grant and what became of it.
#[derive(Debug, Serialize)]
struct GrantHistory {
    grant_id: String,
    recipient: String,
    purpose: String,
    interaction: String,
    issued_at: String,
    expires_at: String,
    /// Keys of what it allowed.
    allowed: Vec<String>,
    /// How many attributes it withheld.
    withheld: u32,
    uses: Vec<Use>,
    /// How often it was given again in its conversation, as far as that is written down.
    given_again: u32,
    fell: Option<Fall>,
    #[serde(skip)]
    event: Vec<u8>,
    /// Attribute events and their keys.
    #[serde(skip)]
    keys: Vec<(Vec<u8>, String)>,
}

#[derive(Debug, Serialize)]
struct Use {
    reply: String,
    reported_at: String,
    count: u32,
    shaped_by: Vec<String>,
    ai_disclosure_shown: bool,
}

#[derive(Debug, Serialize)]
struct Fall {
    at: String,
    reason: &'static str,
}

impl Uses {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut grants = Vec::new();
        each_event(at, &self.subject, |event| {
            take_in(&mut grants, event);
            Ok(())
        })
        .await?;
        for grant in &grants {
            let value = serde_json::to_value(grant).map_err(CliError::failed)?;
            out.print_value(&value, &text_of(grant))?;
        }
        if grants.is_empty() && !out.json {
            return out.print_value(&serde_json::Value::Null, "nobody was granted anything");
        }
        Ok(())
    }
}

fn take_in(grants: &mut Vec<GrantHistory>, event: &RecordedEvent) {
    let at = super::output::time(event.recorded_at.as_ref());
    let Some(what) = event.body.as_ref().and_then(|body| body.event.as_ref()) else { return };
    match what {
        Event::GrantIssued(issued) => grants.extend(issue(event, issued, at)),
        Event::GrantUsed(used) => {
            if let Some(grant) = grants.iter_mut().find(|grant| grant.event == used.grant) {
                let reported = reply(grant, used, at);
                grant.uses.push(reported);
            }
        }
        Event::GrantGivenAgain(again) => {
            if let Some(grant) = grants.iter_mut().find(|grant| grant.event == again.grant) {
                grant.given_again = grant.given_again.saturating_add(again.count);
            }
        }
        Event::GrantRevoked(revoked) => {
            if let Some(grant) = grants.iter_mut().find(|grant| grant.event == revoked.grant) {
                grant.fell = Some(Fall { at, reason: wording::reason(revoked.reason()) });
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
        given_again: 0,
        fell: None,
        event: id.0.to_vec(),
        keys: allowed.map(|allowed| (allowed.attribute.clone(), allowed.key.clone())).collect(),
    })
}

fn reply(grant: &GrantHistory, used: &GrantUsed, reported_at: String) -> Use {
    let shaped = |(event, _): &&(Vec<u8>, String)| used.shaped_by.contains(event);
    Use {
        reply: used.reply.clone(),
        reported_at,
        count: used.count,
        shaped_by: grant.keys.iter().filter(shaped).map(|(_, key)| key.clone()).collect(),
        ai_disclosure_shown: used.ai_disclosure_shown,
    }
}

fn listed(keys: &[String]) -> String {
    if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
}

fn text_of(grant: &GrantHistory) -> String {
    let mut text = format!(
        "{}  grant {}  `{}` for {}: {}; withheld {}",
        grant.issued_at,
        grant.grant_id,
        grant.recipient,
        grant.purpose,
        listed(&grant.allowed),
        grant.withheld
    );
    for used in &grant.uses {
        let times = if used.count > 1 { format!(" ({} times)", used.count) } else { String::new() };
        let shaped = listed(&used.shaped_by);
        text.push_str(&format!(
            "\n  {}  reply `{}`{times}, shaped by: {shaped}",
            used.reported_at, used.reply
        ));
    }
    if grant.given_again > 0 {
        text.push_str(&format!("\n  given {} times more in the same conversation", grant.given_again));
    }
    match &grant.fell {
        Some(fell) => text.push_str(&format!("\n  {}  fell: {}", fell.at, fell.reason)),
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
    fn a_grant_is_told_with_its_uses_and_its_end() {
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
        take_in(&mut grants, &event(7, id, Event::GrantIssued(issued)));
        take_in(&mut grants, &event(8, id, Event::GrantUsed(used)));
        take_in(&mut grants, &event(9, id, Event::GrantUsed(other)));
        take_in(&mut grants, &event(10, id, Event::GrantRevoked(revoked)));
        assert_eq!(grants.len(), 1);
        assert_eq!(grants[0].grant_id, "g7-838834a90adda170");
        assert_eq!(grants[0].uses.len(), 1);
        let text = text_of(&grants[0]);
        for part in ["`tutor`", "reply `r` (2 times), shaped by: tone", "fell: the person withdrew"] {
            assert!(text.contains(part), "{text}");
        }
        let json = serde_json::to_value(&grants[0]).unwrap();
        assert_eq!(json["uses"][0]["shaped_by"][0], "tone");
        assert!(json.get("event").is_none() && json.get("keys").is_none());
    }
}
