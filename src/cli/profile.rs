//! The commands `sayso record`, `sayso remove`, `sayso contest`, `sayso confirm`, `sayso profile` and `sayso
//! history`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, count, table};
use super::times::{self, WrittenTime};
use crate::domain::event::Role;
use crate::domain::wording;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::{self, Provenance};
use clap::{Args, ValueEnum};

async fn client(at: &Connection, role: &str) -> Result<ProfileServiceClient<Link>, CliError> {
    Ok(client!(ProfileServiceClient, at.link(role).await?))
}

/// Provenance of an attribute.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Source {
    /// The person stated the attribute.
    Declared,
    /// The attribute was observed in the person's behavior.
    Observed,
    /// A model inferred the attribute.
    Inferred,
}

impl From<Source> for Provenance {
    fn from(source: Source) -> Self {
        match source {
            Source::Declared => Self::Declared,
            Source::Observed => Self::Observed,
            Source::Inferred => Self::Inferred,
        }
    }
}

/// The JSON of a value on the command line. A value that is not JSON becomes a JSON string.
///
/// # Errors
/// The value begins like an object, a list or a string, but is not valid JSON.
pub(super) fn json_text(value: &str) -> Result<String, CliError> {
    match serde_json::from_str::<serde::de::IgnoredAny>(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) if value.trim_start().starts_with(['{', '[', '"']) => Err(CliError::usage(format!(
            "the value is not JSON: {error}; to record it as a text, write it as a JSON string, in double quotes"
        ))),
        Err(_) => Ok(serde_json::Value::from(value).to_string()),
    }
}

/// Record an attribute of a person.
///
/// Unless --as names another role, the command calls the daemon as `channel` to record a declared attribute,
/// and as `service` to record an observed or inferred one.
///
/// Example: `sayso record ada tone '"brief"' --category communication-style`
#[derive(Args)]
pub(super) struct Record {
    /// The controller's ID for the person.
    subject: String,
    /// Key that names the attribute.
    key: String,
    /// Value: JSON, or a text.
    value: String,
    /// ID of the attribute's category, as in `sayso category list`.
    #[arg(long)]
    category: String,
    /// Provenance of the attribute.
    #[arg(long, value_enum, default_value = "declared")]
    provenance: Source,
    /// Reference to evidence for the attribute, such as a message; may be repeated.
    #[arg(long)]
    evidence: Vec<String>,
    /// Event ID of another attribute that this one was derived from; may be repeated.
    #[arg(long, value_name = "EVENT")]
    derived_from: Vec<String>,
    /// Confidence of an inference, from 0 to 1.
    #[arg(long)]
    confidence: Option<f64>,
    /// Name of the model that inferred the attribute.
    #[arg(long, default_value = "")]
    model: String,
    /// Time at which the attribute was observed. Default: now.
    #[arg(long, value_name = "TIME", value_parser = times::beginning)]
    observed_at: Option<WrittenTime>,
    /// Time from which the attribute must no longer be used. With a date, the attribute may still
    /// be used on that day. Default: never or, for an inference, after the time that
    /// the daemon's configuration sets.
    #[arg(long, value_name = "TIME", value_parser = times::end)]
    expires_at: Option<WrittenTime>,
    /// Event ID of the attribute that this one corrects.
    #[arg(long, value_name = "EVENT", default_value = "")]
    corrects: String,
    /// ID of a reply that the attribute was inferred from, as in `sayso used --reply`; may be repeated.
    #[arg(long, value_name = "REPLY")]
    from_reply: Vec<String>,
    /// Idempotency key: a repeated request with the same key has no further effect.
    #[arg(long, default_value = "")]
    idempotency_key: String,
    /// Record only if nothing has changed since you read the person's version. The version is the
    /// number of the person's events or, for a service or channel, `ListConsentsResponse.version`.
    #[arg(long)]
    expected_version: Option<u64>,
}

impl Record {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let role = if matches!(self.provenance, Source::Declared) { "channel" } else { "service" };
        let key = self.key;
        let attribute = proto::AttributeInput {
            key: key.clone(),
            value_json: json_text(&self.value)?,
            category: self.category,
            provenance: Provenance::from(self.provenance).into(),
            evidence: self.evidence,
            derived_from: self.derived_from,
            confidence: self.confidence,
            model: self.model,
            observed_at: self.observed_at.as_ref().map(|time| time.moment),
            expires_at: self.expires_at.as_ref().map(|time| time.moment),
            corrects: self.corrects,
            from_replies: self.from_reply,
            embedding: None,
        };
        let options = proto::WriteOptions {
            idempotency_key: self.idempotency_key,
            expected_version: self.expected_version,
            ..Default::default()
        };
        let request = proto::RecordAttributesRequest {
            subject: self.subject,
            attributes: vec![attribute],
            options: Some(options),
        };
        let answer = client(at, role).await?.record_attributes(request).await?.into_inner();
        out.print("RecordAttributesResponse", &answer, |answer| {
            let event = answer.receipt.as_ref().and_then(|receipt| receipt.events.first());
            let event = event.map(|event| event.event_id.as_str()).unwrap_or_default();
            let hints =
                answer.similar_keys.iter().map(|similar| format!("\n{}", output::similar_key(&key, similar)));
            format!("event {event} {}{}", output::receipt(answer.receipt.as_ref()), hints.collect::<String>())
        })?;
        out.note_dates(&[
            ("--observed-at", self.observed_at.as_ref()),
            ("--expires-at", self.expires_at.as_ref()),
        ])
    }
}

/// Remove attributes from a person's profile. The events that recorded these attributes stay in the
/// log until they are erased.
///
/// Example: `sayso remove ada hobby sleep --reason 'no longer needed'`
#[derive(Args)]
pub(super) struct Remove {
    /// The controller's ID for the person.
    subject: String,
    /// Keys of the attributes to remove, at least one.
    #[arg(required = true)]
    keys: Vec<String>,
    /// Reason of the removal, in the person's or the controller's words.
    #[arg(long, default_value = "")]
    reason: String,
}

impl Remove {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::RemoveAttributesRequest {
            subject: self.subject,
            keys: self.keys,
            reason: self.reason,
            options: None,
        };
        let answer = client(at, "steward").await?.remove_attributes(request).await?.into_inner();
        out.print("RemoveAttributesResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
    }
}

/// Contest an attribute that is wrong. A contested attribute is no longer used.
///
/// Example: `sayso contest ada hobby --reason 'that was my sister'`
#[derive(Args)]
pub(super) struct Contest {
    /// The controller's ID for the person.
    subject: String,
    /// Key of the attribute that is wrong.
    key: String,
    /// Why the attribute is wrong, in the person's or the controller's words.
    #[arg(long, default_value = "")]
    reason: String,
}

impl Contest {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::ContestAttributeRequest {
            subject: self.subject,
            key: self.key,
            reason: self.reason,
            options: None,
        };
        let answer = client(at, "steward").await?.contest_attribute(request).await?.into_inner();
        out.print("ContestAttributeResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
    }
}

/// Confirm an attribute that is right.
///
/// Example: `sayso confirm ada tone`
#[derive(Args)]
pub(super) struct Confirm {
    /// The controller's ID for the person.
    subject: String,
    /// Key of the attribute that is right.
    key: String,
}

impl Confirm {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::ConfirmAttributeRequest { subject: self.subject, key: self.key, options: None };
        let answer = client(at, "steward").await?.confirm_attribute(request).await?.into_inner();
        out.print("ConfirmAttributeResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
    }
}

/// The selector of a past time.
pub(super) fn as_of(time: Option<&WrittenTime>) -> Option<proto::AsOf> {
    time.map(|time| proto::AsOf { moment: Some(proto::as_of::Moment::Time(time.moment)) })
}

/// Show a person's profile, now or as of an earlier time.
///
/// Example: `sayso profile ada --as-of 2026-01-31T12:00:00Z`
#[derive(Args)]
pub(super) struct Profile {
    /// The controller's ID for the person.
    subject: String,
    /// Show the profile as it was at this time.
    #[arg(long, value_name = "TIME", value_parser = times::last)]
    as_of: Option<WrittenTime>,
    /// Recompute the profile from its events, without any cache.
    #[arg(long)]
    rebuild: bool,
}

impl Profile {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::GetProfileRequest {
            subject: self.subject,
            as_of: as_of(self.as_of.as_ref()),
            rebuild: self.rebuild,
            page_size: 0,
            page_token: String::new(),
        };
        let answer = whole_profile(client(at, "steward").await?, request).await?;
        out.print_whole("GetProfileResponse", &answer, &[], text_of)?;
        out.note_dates(&[("--as-of", self.as_of.as_ref())])
    }
}

/// Reads all pages of a profile into one response.
pub(super) async fn whole_profile(
    mut client: ProfileServiceClient<Link>,
    mut request: proto::GetProfileRequest,
) -> Result<proto::GetProfileResponse, CliError> {
    let mut whole = client.get_profile(request.clone()).await?.into_inner();
    while !whole.next_page_token.is_empty() {
        request.page_token = std::mem::take(&mut whole.next_page_token);
        let page = client.get_profile(request.clone()).await?.into_inner();
        whole.attributes.extend(page.attributes);
        whole.signals.extend(page.signals);
        whole.next_page_token = page.next_page_token;
    }
    Ok(whole)
}

fn text_of(profile: &proto::GetProfileResponse) -> String {
    let mut rows = Vec::new();
    for attribute in &profile.attributes {
        let mark = match (attribute.contested, attribute.confirmed) {
            (true, _) => "contested",
            (_, true) => "confirmed",
            _ => "",
        };
        rows.push(vec![
            attribute.key.clone(),
            attribute.category.clone(),
            wording::provenance(attribute.provenance()).to_owned(),
            mark.to_owned(),
            attribute.value_json.clone(),
        ]);
    }
    let signals = profile.signals.iter().map(|signal| {
        let purposes =
            if signal.purposes.is_empty() { "all purposes".into() } else { signal.purposes.join(", ") };
        let kind = output::plain_name(signal.kind().as_str_name(), "SIGNAL_KIND_");
        format!("\nsignal: {kind} for {purposes}, since {}", output::time(signal.recorded_at.as_ref()))
    });
    let signals: String = signals.collect();
    let attributes = match rows.len() {
        0 => "no attributes".to_owned(),
        number => format!("{}\n{}", table(&rows), count(number as u64, "attribute")),
    };
    format!("{attributes} after {}{signals}", count(profile.version, "event"))
}

/// List every event about a person, oldest first. With --json, there is one event on each line.
///
/// Example: `sayso history ada`
#[derive(Args)]
pub(super) struct History {
    /// The controller's ID for the person.
    subject: String,
}

/// Events in one page of a list.
const PAGE_EVENTS: u32 = 200;

impl History {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut is_empty = true;
        let print = |event: &proto::RecordedEvent| {
            is_empty = false;
            out.print("RecordedEvent", event, line_of)
        };
        each_event(at, &self.subject, print).await?;
        if is_empty { out.print_note("no events") } else { Ok(()) }
    }
}

/// Calls `show` with every event about a person, oldest first.
async fn each_event(
    at: &Connection,
    subject: &str,
    mut show: impl FnMut(&proto::RecordedEvent) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut client = client(at, "steward").await?;
    let mut page_token = String::new();
    loop {
        let request =
            proto::ListEventsRequest { subject: subject.to_owned(), page_size: PAGE_EVENTS, page_token };
        let page = client.list_events(request).await?.into_inner();
        page.events.iter().try_for_each(&mut show)?;
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

fn line_of(event: &proto::RecordedEvent) -> String {
    let body = event.body.as_ref();
    let json = body.and_then(|body| sayso_proof::json::to_json(body).ok()).unwrap_or_default();
    let common = ["aboutMs", "actor", "requestDigest", "writerSignature"];
    let event_field =
        json.as_object().and_then(|fields| fields.iter().find(|(name, _)| !common.contains(&name.as_str())));
    let (kind, detail) =
        event_field.map_or_else(Default::default, |(name, value)| (name.clone(), value.to_string()));
    let actor = body.and_then(|body| body.actor.as_ref());
    let who = actor.map_or_else(String::new, |actor| match actor.role() {
        Role::Subject => "the person".to_owned(),
        _ => actor.name.clone(),
    });
    let at = output::time(event.recorded_at.as_ref());
    format!("{:>6}  {at}  {kind} by {who}  {detail}", event.position)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::json_text;

    #[test]
    fn a_value_is_json_or_becomes_a_json_string() {
        assert_eq!(json_text("brief").unwrap(), "\"brief\"");
        assert_eq!(json_text("\"brief\"").unwrap(), "\"brief\"");
        assert_eq!(json_text("[1, 2]").unwrap(), "[1, 2]");
        for broken in ["{\"a\": 1", "[1, 2", "\"brief", " {a: 1}"] {
            let message = json_text(broken).unwrap_err().to_string();
            assert!(message.contains("not JSON") && message.contains("as a text"), "{message}");
        }
    }
}
