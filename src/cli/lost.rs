//! The command `sayso lost`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::grant::why_ended;
use super::output::{self, Out, count, int64};
use crate::proto::grant_service_client::GrantServiceClient;
use crate::proto::{self, IdStanding};
use clap::Args;
use std::io::BufRead;
use std::path::PathBuf;

/// The most ids in one call.
const IDS_MAX: usize = 1_024;
/// Largest total size of the IDs in one call to the daemon, in bytes.
const BYTES_MAX: usize = 131_072;
/// Longest line of a file with IDs, in bytes.
const LINE_BYTES_MAX: usize = 512;

/// List which of the caller's grants and artifacts have ended.
///
/// If a service watched no revocations for a while, this command tells it what to remove from its
/// cache. An ID is the ID of a grant or of an artifact, or it is GRANT/KEY for one attribute that a
/// grant allowed. Delete everything that is reported as erased or unknown. Do not use what has
/// ended for another reason.
///
/// The last line has a cursor: `sayso watch --after` with this cursor continues from here and misses
/// no revocation.
///
/// The exit status is 5 if an ID is unknown, or if the grant, artifact or attribute that it names has
/// ended. With --json, each line is one object: first one for each ID. The last object has the cursor, the
/// number of IDs checked, and the number of those that have ended or are unknown.
///
/// Example: `sayso lost g42-ba2ab4254049149d g42-ba2ab4254049149d/tone --file ids.txt`
#[derive(Args)]
pub(super) struct Lost {
    /// ID of a grant or artifact, or GRANT/KEY.
    #[arg(required_unless_present = "file")]
    ids: Vec<String>,
    /// File with more IDs, one on each line; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print only the IDs whose grant, artifact or attribute has ended or is unknown.
    #[arg(long)]
    ended_only: bool,
}

impl Lost {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client: GrantServiceClient<Link> = client!(GrantServiceClient, at.link("service").await?);
        let mut lines = Lines::open(self.file)?;
        let (mut given, mut first_cursor, mut lost, mut all) = (self.ids.into_iter(), None, 0_u64, 0_u64);
        loop {
            let ids = next_ids(&mut given, &mut lines)?;
            if ids.is_empty() {
                break;
            }
            let answer = client.check_ids(proto::CheckIdsRequest { ids }).await?.into_inner();
            first_cursor.get_or_insert(answer.cursor);
            for state in &answer.states {
                let has_ended = state.standing() != IdStanding::Valid;
                (lost, all) = (lost.saturating_add(u64::from(has_ended)), all.saturating_add(1));
                if has_ended || !self.ended_only {
                    out.print("IdState", state, text_of)?;
                }
            }
        }
        if let Some(cursor) = first_cursor {
            let value = serde_json::json!({
                "cursor": int64(cursor), "idsEnded": int64(lost), "idsChecked": int64(all)
            });
            out.print_value(
                &value,
                &format!("{lost} of {}; watch from cursor {cursor} on", count(all, "ID")),
            )?;
        }
        if lost > 0 { Err(CliError::grant_invalid()) } else { Ok(()) }
    }
}

fn text_of(state: &proto::IdState) -> String {
    let standing = match state.standing() {
        IdStanding::Valid => "valid".to_owned(),
        IdStanding::Ended => format!("ended: {}", why_ended(state.reason(), state.erased_scope())),
        IdStanding::Unknown | IdStanding::Unspecified => {
            "unknown: the ledger has nothing of yours under this ID; delete it".to_owned()
        }
    };
    output::table(&[vec![state.id.clone(), standing]])
}

/// Collects the IDs for the next call: first those of the command line, then those of the file, up
/// to the limits of one call.
fn next_ids(given: &mut impl Iterator<Item = String>, lines: &mut Lines) -> Result<Vec<String>, CliError> {
    let (mut ids, mut bytes) = (Vec::new(), 0_usize);
    while ids.len() < IDS_MAX && bytes.saturating_add(LINE_BYTES_MAX) <= BYTES_MAX {
        let Some(id) = given.next().map_or_else(|| lines.next(), |id| Ok(Some(id)))? else { break };
        bytes = bytes.saturating_add(id.len());
        ids.push(id);
    }
    Ok(ids)
}

/// The lines of a file, read one at a time.
struct Lines(Option<Box<dyn BufRead>>);

impl Lines {
    fn open(path: Option<PathBuf>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self(None)) };
        if path.as_os_str() == "-" {
            return Ok(Self(Some(Box::new(std::io::stdin().lock()))));
        }
        let file = std::fs::File::open(&path)
            .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
        Ok(Self(Some(Box::new(std::io::BufReader::new(file)))))
    }

    /// The next line that is not empty.
    fn next(&mut self) -> Result<Option<String>, CliError> {
        let Some(lines) = &mut self.0 else { return Ok(None) };
        loop {
            let mut line = Vec::new();
            let limit = LINE_BYTES_MAX as u64;
            let read = std::io::Read::take(&mut *lines, limit).read_until(b'\n', &mut line);
            if read.map_err(CliError::failed)? == 0 {
                return Ok(None);
            }
            if line.len() >= LINE_BYTES_MAX && !line.ends_with(b"\n") {
                return Err(CliError::failed("a line of the file has more than 512 bytes"));
            }
            let text = String::from_utf8(line).map_err(|_| CliError::failed("the file must be UTF-8"))?;
            if !text.trim().is_empty() {
                return Ok(Some(text.trim().to_owned()));
            }
        }
    }
}
