//! Calls the daemon for a preview of new bounds, definitions or required notices, and prints what they would
//! change.

use super::connect::Link;
use super::error::CliError;
use super::output::{Out, count, people, table};
use crate::proto;
use crate::proto::bounds_service_client::BoundsServiceClient;
use indicatif::ProgressBar;

/// Runs a preview and prints its result.
pub(super) async fn preview(
    client: &mut BoundsServiceClient<Link>,
    request: proto::PreviewBoundsRequest,
    out: Out,
) -> Result<(), CliError> {
    let mut steps = client.preview_bounds(request).await?.into_inner();
    let mut bar: Option<ProgressBar> = None;
    while let Some(step) = steps.message().await? {
        let bar = bar.get_or_insert_with(|| super::progress::entries(step.people_total, "previewing people"));
        bar.set_position(step.people_done);
        if step.result.is_some() {
            bar.finish_and_clear();
            return out.print("PreviewBoundsResponse", &step, previewed);
        }
    }
    Err(CliError::failed("the daemon ended the preview early"))
}

fn previewed(step: &proto::PreviewBoundsResponse) -> String {
    let found = step.result.clone().unwrap_or_default();
    let mut text = format!(
        "{} examined; decisions would change for {}\n{} of {} would be revoked, of {}{}",
        people(step.people_done),
        people(found.people_changed),
        found.grants_to_revoke,
        count(found.grants_open, "open grant"),
        people(found.people_with_revocations),
        examples(&found.examples),
    );
    if found.lines.is_empty() {
        return text + "\nno decision would change";
    }
    let headings = ["PURPOSE", "RECIPIENT", "CATEGORY", "REFUSED", "ALLOWED", "POLICY", "FOR EXAMPLE"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    let affected = |subjects: u64, attributes: u64| match attributes {
        0 => "-".to_owned(),
        _ => format!("{attributes} of {}", people(subjects)),
    };
    rows.extend(found.lines.iter().map(|line| {
        let recipient = if line.recipient.is_empty() { "anyone" } else { &line.recipient };
        vec![
            line.purpose.clone(),
            recipient.to_owned(),
            line.category.clone(),
            affected(line.people_denied, line.attributes_denied),
            affected(line.people_allowed, line.attributes_allowed),
            line.policy.clone(),
            line.examples.first().map(|handle| handle.chars().take(8).collect()).unwrap_or_default(),
        ]
    }));
    text.push_str(&format!("\n\nAttributes that would newly be refused or allowed:\n{}", table(&rows)));
    if found.left_out > 0 {
        text.push_str(&format!("\n{} more not shown", found.left_out));
    }
    text
}

fn examples(handles: &[String]) -> String {
    if handles.is_empty() { String::new() } else { format!(" (handles {})", handles.join(", ")) }
}
