//! Whether a grant still stands.

use super::error::AppError;
use super::lane::Lane;
use super::{App, Caller};
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
pub(super) struct Found {
    pub lane: Arc<Lane>,
    pub event: EventId,
}

impl App {
    /// Says whether a grant of the caller's still stands. Others' grants are as if they did not exist.
    ///
    /// # Errors
    /// There is no such grant of the caller's; or the store.
    pub async fn check_grant(
        self: &Arc<Self>,
        caller: &Caller,
        grant: &GrantId,
    ) -> Result<Standing, AppError> {
        let Some(found) = self.find_grant(grant).await? else {
            let reason = Some(Reason::Erased);
            return Ok(Standing { stands: false, expires_at_ms: 0, reason });
        };
        let (standing, recipient) = self.standing(&found, grant)?;
        if caller.role == Role::Service && recipient != caller.name {
            return Err(AppError::NotFound("grant"));
        }
        Ok(standing)
    }

    /// How a grant stands, and whose it is.
    pub(super) fn standing(&self, found: &Found, grant: &GrantId) -> Result<(Standing, String), AppError> {
        let now_ms = self.now_ms();
        {
            let now = found.lane.read();
            if now.erased {
                let reason = Some(Reason::Erased);
                return Ok((Standing { stands: false, expires_at_ms: 0, reason }, String::new()));
            }
            if let Some(state) = now.state.grants.get(&found.event) {
                let expires_at_ms = state.issued.expires_at_ms;
                let reason = match state.revoked {
                    Some((reason, _)) => Some(reason),
                    None if expires_at_ms <= now_ms => Some(Reason::GrantExpired),
                    None if self.waits_for_confirmation() => Some(Reason::RestoreUnconfirmed),
                    None => self.contradicted_by_rules(&now.state, state, now_ms),
                };
                let standing = Standing { stands: reason.is_none(), expires_at_ms, reason };
                return Ok((standing, state.issued.recipient.clone()));
            }
        }
        // No longer among those that may be open: it has expired, and only its recipient may know even that.
        let event = super::lane::open(&found.lane.keys, self.store().read_entry(grant.position)?)?;
        let crate::domain::event::Event::GrantIssued(issued) = event.event else {
            return Err(AppError::NotFound("grant"));
        };
        let reason = Some(Reason::GrantExpired);
        Ok((Standing { stands: false, expires_at_ms: issued.expires_at_ms, reason }, issued.recipient))
    }

    /// Finds a grant by its id alone; nothing where it was erased.
    pub(super) async fn find_grant(self: &Arc<Self>, grant: &GrantId) -> Result<Option<Found>, AppError> {
        let missing = || AppError::NotFound("grant");
        if grant.position >= self.store().head().size {
            return Err(missing());
        }
        let Some(bytes) = self.store().read_entry(grant.position)?.bytes else { return Ok(None) };
        let header = entry::parse_header(&bytes)?;
        let event = EventId(header.event_id);
        if header.handle == Handle::NOBODY || GrantId::new(grant.position, &event) != *grant {
            return Err(missing());
        }
        let lane = self.lane_by_handle(header.handle).await?;
        Ok(lane.map(|lane| Found { lane, event }))
    }
}
