//! The part of an access package that shows that nothing was left out. It contains the data subject's
//! entries, and a proof of how many there are according to the log. An erasure may have left gaps among the
//! entries. For each gap, there is an inclusion proof of the entry right before it.

use crate::app::error::AppError;
use crate::app::log::read::{CIPHER_STACK_WORDS, open};
use crate::app::rights::export_subject::export::Export;
use crate::domain::event::Role;
use crate::package::{self, Zip};
use crate::secret::clear_stack;
use sayso_proof::bundle::EntryLine;
use sayso_proof::subject_map::{RunProof, Stream};
use std::io::Write;

/// Event positions in one read.
const READ_COUNT: usize = 512;

impl Export {
    /// Adds the members. A package that has only a part of what is recorded gets none.
    pub(crate) fn write_completeness<W: Write>(&self, zip: &mut Zip<W>) -> Result<(), AppError> {
        let Some(proven) = &self.proven else { return Ok(()) };
        let Some(stream) = proven.stream else { return Err(AppError::Overtaken) };
        zip.begin(package::COMPLETENESS)?.write_all(proven.to_text()?.as_bytes())?;
        let out = zip.begin(package::ENTRIES)?;
        let (mut written, mut expected, mut tip, mut run_ends) = (0_u64, 0_u64, None, Vec::new());
        self.for_each_place(&stream, |version, position| {
            let Some(line) = self.entry_line(position)? else { return Ok(()) };
            out.write_all(&line)?;
            out.write_all(b"\n")?;
            run_ends.extend(tip.replace(position).filter(|_| version != expected));
            expected = version.saturating_add(1);
            written = written.saturating_add(1);
            Ok(())
        })?;
        // Some were erased in the meantime.
        if written != stream.present {
            return Err(AppError::Overtaken);
        }
        self.write_run_proofs(&run_ends, proven.tree_size, zip)
    }

    /// Calls `each` with the version and the position of each committed entry.
    fn for_each_place(
        &self,
        stream: &Stream,
        mut each: impl FnMut(u64, u64) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        let (store, mut next) = (self.rights.core.store(), 0);
        while next < stream.events {
            let places = store.read_subject(stream.handle, next, READ_COUNT)?;
            let Some((last, _)) = places.last() else { break };
            next = last.saturating_add(1);
            for (version, position) in places.into_iter().filter(|(version, _)| *version < stream.events) {
                if self.stream.read().erased {
                    return Err(AppError::Overtaken);
                }
                each(version, position)?;
            }
        }
        Ok(())
    }

    /// Adds the proofs of the last entries before gaps that erasures left. If there are no gaps, adds no
    /// member.
    fn write_run_proofs<W: Write>(
        &self,
        run_ends: &[u64],
        tree_size: u64,
        zip: &mut Zip<W>,
    ) -> Result<(), AppError> {
        if run_ends.is_empty() {
            return Ok(());
        }
        let out = zip.begin(package::RUN_PROOFS)?;
        for position in run_ends {
            let hashes = self.rights.core.ledger.inclusion_proof(*position, tree_size)?;
            let line = RunProof::new(*position, &hashes).to_line().map_err(std::io::Error::other)?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// The line of an entry; `None` if it is erased. An entry that staff caused names them, and the person
    /// has no right to their names (CJEU C-579/21), so its key is left out.
    fn entry_line(&self, position: u64) -> Result<Option<Vec<u8>>, AppError> {
        let stored = self.rights.core.stored_entry(position)?;
        let (recorded_at_ms, bytes) = (stored.recorded_at_ms, stored.bytes.clone());
        let event = match open(&self.stream.keys, stored) {
            Ok(event) => event,
            Err(AppError::Erased) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_staff =
            matches!(event.actor.role, Role::Steward | Role::Authority | Role::Auditor | Role::Operator);
        let key = match is_staff {
            true => None,
            false => Some(self.stream.keys.event_key(event.version, &event.event_id.0)?),
        };
        let bytes = bytes.unwrap_or_default();
        let line = EntryLine::new(position, recorded_at_ms, &bytes, key.as_ref());
        let line = line.and_then(|line| line.to_bytes()).map_err(std::io::Error::other);
        drop(key);
        clear_stack::<CIPHER_STACK_WORDS>();
        Ok(Some(line?))
    }
}
