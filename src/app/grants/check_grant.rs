//! Checks whether a grant is still valid.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::grants::standing::{CheckedGrant, Standing};
use crate::app::log::stream::SubjectStream;
use crate::clock::ClockReading;
use crate::domain::event::{Event, Reason, Role};
use crate::domain::ids::{EventId, GrantId, Handle};
use std::sync::Arc;

/// A grant that was found: its stream and its event.
pub(crate) struct FoundGrant {
    pub stream: Arc<SubjectStream>,
    pub event: EventId,
}

impl Grants {
    /// Checks whether a grant of the caller is still valid. To a service, a grant of another recipient looks
    /// like one that does not exist, even after the grant was erased. If a grant of the caller was erased,
    /// the answer says which of the caller's `keys` were erased.
    ///
    /// # Errors
    /// The caller has no such grant, or the store failed.
    pub async fn check_grant(
        self: &Arc<Self>,
        caller: &Caller,
        grant: &GrantId,
        keys: &[String],
    ) -> Result<CheckedGrant, AppError> {
        if let Some(found) = self.cached_grant(grant)
            && let Some((standing, is_own)) = self.standing_now(&found, |recipient| is_for(caller, recipient))
        {
            return if is_own { Ok(standing.into()) } else { Err(AppError::NotFound("grant")) };
        }
        let found = match self.find_grant(caller, grant).await {
            Err(AppError::GrantErased(erased)) => return self.check_erased(*erased, keys).await,
            found => found?,
        };
        let (standing, recipient) = self.standing(&found, grant)?;
        if is_for(caller, &recipient) { Ok(standing.into()) } else { Err(AppError::NotFound("grant")) }
    }

    /// A grant from the lookup cache, if the cached stream is still the subject's stream in use.
    fn cached_grant(&self, grant: &GrantId) -> Option<FoundGrant> {
        let (stream, event) = self.lookup.get(grant)?;
        let current =
            self.core.streams.get(&stream.keys.handle).filter(|current| Arc::ptr_eq(current, &stream))?;
        Some(FoundGrant { stream: current, event })
    }

    /// The standing of a grant, and the result of `read`, which is called with the name of the grant's
    /// recipient. `None` if the grant is no longer in the subject's state.
    pub(crate) fn standing_now<T>(
        &self,
        found: &FoundGrant,
        read: impl FnOnce(&str) -> T,
    ) -> Option<(Standing, T)> {
        let ClockReading { ledger_ms: now_ms, state: clock, .. } = self.core.clock.read();
        let now = found.stream.read();
        let grant = now.state.grants.get(&found.event).filter(|_| !now.erased)?;
        let expires_at_ms = grant.issued.expires_at_ms;
        let reason = match grant.ended() {
            Some(reason) => Some(reason),
            None if expires_at_ms <= now_ms => Some(Reason::GrantExpired),
            None if self.core.is_restore_unconfirmed() => Some(Reason::RestoreUnconfirmed),
            None if clock.is_skewed() => Some(Reason::ClockSkewed),
            None => self.core.contradicted_by_rules(&now.state, grant, now_ms),
        };
        let standing = Standing { is_valid: reason.is_none(), expires_at_ms, reason };
        Some((standing, read(&grant.issued.recipient)))
    }

    /// The standing of a grant, and its recipient.
    pub(crate) fn standing(
        &self,
        found: &FoundGrant,
        grant: &GrantId,
    ) -> Result<(Standing, String), AppError> {
        if let Some(standing) = self.standing_now(found, str::to_owned) {
            return Ok(standing);
        }
        if found.stream.read().erased {
            let reason = Some(Reason::Erased);
            return Ok((Standing { is_valid: false, expires_at_ms: 0, reason }, String::new()));
        }
        // The grant is no longer in the state, so it has expired. Its recipient is read from the log, because
        // a service may learn of the expiry only for its own grants.
        // The key of the entry may be destroyed already, and its bytes not yet.
        let event = self.core.event_at(&found.stream.keys, grant.position).map_err(|error| match error {
            AppError::Erased => AppError::NotFound("grant"),
            error => error,
        })?;
        let Event::GrantIssued(issued) = event.event else {
            return Err(AppError::NotFound("grant"));
        };
        let reason = Some(Reason::GrantExpired);
        Ok((Standing { is_valid: false, expires_at_ms: issued.expires_at_ms, reason }, issued.recipient))
    }

    /// Finds a grant by its id alone.
    ///
    /// # Errors
    /// There is no such grant, the grant was erased ([`Grants::gone_grant`]), or the store failed. All that
    /// is left of an erased grant is its mention in the event that completed the erasure.
    pub(crate) async fn find_grant(
        self: &Arc<Self>,
        caller: &Caller,
        grant: &GrantId,
    ) -> Result<FoundGrant, AppError> {
        let missing = || AppError::NotFound("grant");
        if grant.position >= self.core.store().head().size {
            return Err(missing());
        }
        let Some(header) = self.core.header_at(grant.position)? else {
            return Err(self.gone_grant(caller, grant).await);
        };
        let event = EventId(header.event_id);
        if header.handle == Handle::SYSTEM || GrantId::new(grant.position, &event) != *grant {
            return Err(missing());
        }
        let Some(stream) = self.core.stream_by_handle(header.handle).await? else {
            return Err(self.gone_grant(caller, grant).await);
        };
        self.lookup.put(*grant, &stream, event);
        Ok(FoundGrant { stream, event })
    }
}

/// Whether the caller may ask about a grant to this recipient.
fn is_for(caller: &Caller, recipient: &str) -> bool {
    caller.role != Role::Service || recipient == caller.name
}
