//! Shows what an erasure would erase and keep, without erasing anything.
//!
//! Like the erasure, the preview decides about holds, selects the events, and searches for copies of
//! erased values in other events. Only what the erasure itself records first is missing: its request, and
//! revocations of grants that it erases.

use crate::app::erasure::erase_subject::find_copies;
use crate::app::error::{AppError, Cause};
use crate::app::rights::Rights;
use crate::app::rights::submit_request::ErasureVerdict;
use crate::domain::erased_copies::Copies;
use crate::domain::erasure::{self, Limits, Scope, Selection};
use crate::domain::event::Recorded;
use crate::domain::ids::SubjectId;
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

/// The most previews at once. Each reads the whole history of a person into memory.
const AT_ONCE_MAX: usize = 2;
static PREVIEWS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE_MAX)));

/// What an erasure would do now.
#[derive(Clone, Debug, Default)]
pub struct ErasurePreview {
    /// What it would erase, and the counts and recipients that its certificate would state.
    pub selection: Selection,
    /// The events that it would erase, oldest first.
    pub erased: Vec<Recorded>,
    /// Other events that hold an erased value, or nearly so.
    pub copies: Copies,
    /// Whether holds keep everything in the scope, so that nothing would be erased.
    pub is_refused: bool,
}

impl Rights {
    /// Previews an erasure. The caller records the view.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, nothing recorded is in the scope, the scope is invalid or
    /// too large, or the store fails.
    pub async fn preview_erasure(
        self: &Arc<Self>,
        subject: &SubjectId,
        scope: Scope,
    ) -> Result<ErasurePreview, AppError> {
        self.check_scope(&scope)?;
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        let turn = Arc::clone(&PREVIEWS).acquire_owned().await.map_err(|_| AppError::Stopped)?;
        let rights = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let holds = stream.read().state.rights.holds.clone();
            let all_holds = holds.clone();
            let verdict = rights.weigh_holds(&stream, rights.core.new_id(), &scope, holds)?;
            let (holds, is_refused) = match verdict {
                ErasureVerdict::Refuse(_) => (all_holds, true),
                ErasureVerdict::Erase { holds, .. } => (holds, false),
            };
            let history = rights.erasure.history(&stream)?;
            let vocabulary = &rights.core.rules().vocabulary;
            let mut selection = erasure::select(&history, &scope, &holds, vocabulary, Limits::default())?;
            rights.erasure.add_notified(&mut selection, &history, &scope, &stream.keys)?;
            // The work has the turn until it is over, even if the caller is gone.
            Ok::<_, AppError>((history, selection, scope, is_refused, turn))
        });
        let (history, selection, scope, is_refused, _turn) =
            task.await.map_err(|_| AppError::Internal(Cause::Task))??;
        if is_refused {
            let selection = Selection { kept: selection.kept, ..Selection::default() };
            return Ok(ErasurePreview { selection, is_refused, ..ErasurePreview::default() });
        }
        let is_erased = |event: &&Recorded| selection.versions.binary_search(&event.version).is_ok();
        let erased = history.iter().filter(is_erased).cloned().collect();
        let copies = match scope == Scope::All && selection.kept.is_empty() {
            // Nothing is left that could have a copy.
            true => Copies::default(),
            false => find_copies(history, &selection, &scope).await?,
        };
        Ok(ErasurePreview { selection, erased, copies, is_refused })
    }
}
