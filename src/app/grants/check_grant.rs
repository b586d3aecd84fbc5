//! Whether a grant still stands.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::stream::SubjectStream;
use crate::clock::ClockReading;
use crate::domain::event::Reason;
use crate::domain::ids::{EventId, GrantId, Handle};
use sayso_proof::entry;
use sayso_proof::event::Role;
use std::sync::Arc;

/// How a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It may be used.
    pub stands: bool,
    /// Until when it was issued, milliseconds since the Unix epoch; 0 where that is erased.
    pub expires_at_ms: u64,
    /// Why it does not stand.
    pub reason: Option<Reason>,
}

/// Where a grant was found.
pub(crate) struct Found {
    pub stream: Arc<SubjectStream>,
    pub event: EventId,
}

impl Grants {
    /// Says whether a grant of the caller's still stands. Others' grants are as if they did not exist, also once they are
    /// erased.
    ///
    /// # Errors
    /// There is no such grant of the caller's; or the store.
    pub async fn check_grant(
        self: &Arc<Self>,
        caller: &Caller,
        grant: &GrantId,
    ) -> Result<Standing, AppError> {
        if let Some(found) = self.known_grant(grant)
            && let Some((standing, is_own)) = self.standing_now(&found, |recipient| is_for(caller, recipient))
        {
            return if is_own { Ok(standing) } else { Err(AppError::NotFound("grant")) };
        }
        let found = match self.find_grant(caller, grant).await {
            Err(AppError::Erased) => {
                let reason = Some(Reason::Erased);
                return Ok(Standing { stands: false, expires_at_ms: 0, reason });
            }
            found => found?,
        };
        let (standing, recipient) = self.standing(&found, grant)?;
        if is_for(caller, &recipient) { Ok(standing) } else { Err(AppError::NotFound("grant")) }
    }

    /// A grant that was found before, in the lane that is its subject's still.
    fn known_grant(&self, grant: &GrantId) -> Option<Found> {
        let (stream, event) = self.lookup.get(grant)?;
        let now = self.core.streams.get(&stream.keys.handle).filter(|now| Arc::ptr_eq(now, &stream))?;
        Some(Found { stream: now, event })
    }

    /// How a grant stands that may be open, and what `look` sees of its recipient; nothing where it is no longer among
    /// those.
    pub(crate) fn standing_now<T>(
        &self,
        found: &Found,
        look: impl FnOnce(&str) -> T,
    ) -> Option<(Standing, T)> {
        let ClockReading { ledger_ms: now_ms, state: clock, .. } = self.core.clock.read();
        let now = found.stream.read();
        let state = now.state.grants.get(&found.event).filter(|_| !now.erased)?;
        let expires_at_ms = state.issued.expires_at_ms;
        let reason = match state.ended() {
            Some(reason) => Some(reason),
            None if expires_at_ms <= now_ms => Some(Reason::GrantExpired),
            None if self.core.is_restore_unconfirmed() => Some(Reason::RestoreUnconfirmed),
            None if clock.is_skewed() => Some(Reason::ClockSkewed),
            None => self.core.contradicted_by_rules(&now.state, state, now_ms),
        };
        let standing = Standing { stands: reason.is_none(), expires_at_ms, reason };
        Some((standing, look(&state.issued.recipient)))
    }

    /// How a grant stands, and whose it is.
    pub(crate) fn standing(&self, found: &Found, grant: &GrantId) -> Result<(Standing, String), AppError> {
        if let Some(standing) = self.standing_now(found, str::to_owned) {
            return Ok(standing);
        }
        if found.stream.read().erased {
            let reason = Some(Reason::Erased);
            return Ok((Standing { stands: false, expires_at_ms: 0, reason }, String::new()));
        }
        // No longer among those that may be open: it has expired, and only its recipient may know even that.
        let event =
            crate::app::log::read::open(&found.stream.keys, self.core.store().read_entry(grant.position)?)?;
        let crate::domain::event::Event::GrantIssued(issued) = event.event else {
            return Err(AppError::NotFound("grant"));
        };
        let reason = Some(Reason::GrantExpired);
        Ok((Standing { stands: false, expires_at_ms: issued.expires_at_ms, reason }, issued.recipient))
    }

    /// Finds a grant by its id alone.
    ///
    /// # Errors
    /// There is no such grant. It was erased, where the caller may know that: the service that it was issued to, and staff;
    /// by what the completion of the erasure says, which is all that is left of it. To anybody else it is as if it had never
    /// been, as is any other id at its place. Or the store.
    pub(crate) async fn find_grant(
        self: &Arc<Self>,
        caller: &Caller,
        grant: &GrantId,
    ) -> Result<Found, AppError> {
        let missing = || AppError::NotFound("grant");
        if grant.position >= self.core.store().head().size {
            return Err(missing());
        }
        let erased_grant_key =
            || if self.core.may_know_erased(caller, grant)? { Err(AppError::Erased) } else { Err(missing()) };
        let Some(bytes) = self.core.store().read_entry(grant.position)?.bytes else {
            return erased_grant_key();
        };
        let header = entry::parse_header(&bytes)?;
        let event = EventId(header.event_id);
        if header.handle == Handle::SYSTEM || GrantId::new(grant.position, &event) != *grant {
            return Err(missing());
        }
        let Some(stream) = self.core.stream_by_handle(header.handle).await? else {
            return erased_grant_key();
        };
        self.lookup.put(*grant, &stream, event);
        Ok(Found { stream, event })
    }
}

/// Whether a grant to this recipient is the caller's to ask about.
fn is_for(caller: &Caller, recipient: &str) -> bool {
    caller.role != Role::Service || recipient == caller.name
}
