//! Why a caller may not record a statement or take one back: only certain roles may. Each case has a
//! machine-readable reason (`ErrorInfo`) and the roles that are allowed, so that the caller learns which
//! credential is needed.

/// Why a caller may not record a statement or take one back. `statement_rules` finds the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Only a role that speaks for people may record this, such as `channel`.
    ChannelRoleRequired,
    /// A channel may record no observations and no inferences, unless it is also a service.
    ServiceRoleRequired,
    /// The data subject refused this with their own credential.
    RefusedBySubject,
    /// The attribute was declared or contested: only the data subject's own words may replace it.
    StatedBySubject,
    /// Another caller recorded the attribute.
    RecordedByAnother,
    /// The request would raise or retract an age that a steward stated.
    StatedBySteward,
}

impl Reserved {
    /// The `ErrorInfo` reason. `docs/errors.md` lists all reasons.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::ChannelRoleRequired => "CHANNEL_ROLE_REQUIRED",
            Self::ServiceRoleRequired => "SERVICE_ROLE_REQUIRED",
            Self::RefusedBySubject => "REFUSED_BY_SUBJECT",
            Self::StatedBySubject => "STATED_BY_SUBJECT",
            Self::RecordedByAnother => "RECORDED_BY_ANOTHER",
            Self::StatedBySteward => "STATED_BY_STEWARD",
        }
    }

    /// The roles that may record the statement or take it back, separated by commas.
    #[must_use]
    pub fn allowed_roles(self) -> &'static str {
        match self {
            Self::ServiceRoleRequired => "service, service-channel, subject, steward",
            Self::RefusedBySubject => "subject, steward",
            Self::StatedBySteward => "steward",
            Self::ChannelRoleRequired | Self::StatedBySubject | Self::RecordedByAnother => {
                "channel, service-channel, subject, steward"
            }
        }
    }
}
