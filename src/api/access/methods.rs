//! What the door knows of each method, found once a call: its name, who may call it, what counts its calls.

use crate::api::access::message_limits;
use crate::api::access::message_limits::Shape;
use crate::api::access::method_names::{action_of, takes_a_stream};
use crate::api::access::quota::CallPurpose;
use crate::roles::{Permitted, RoleTable};
use crate::telemetry::{CallMeter, metrics};
use std::collections::HashMap;
use std::sync::Arc;

/// Names in logs and metrics what is not in the role table: a path is the caller's own text.
const UNKNOWN: &str = "unknown";

/// One method.
pub struct Method {
    /// As the role table calls it.
    pub name: Arc<str>,
    /// Who may call it.
    pub permitted: Permitted,
    /// What its requests may hold.
    pub shape: &'static Shape,
    /// Whether a request is a stream.
    pub takes_a_stream: bool,
    /// Counts its calls.
    pub meter: CallMeter,
    /// Somebody says no with it, or ends the doubt: a credential that may have ended by the ledger's time,
    /// while the machine's clock is not believed, is good for this alone.
    pub is_open_in_doubt: bool,
    /// Which allowance of the credential its calls count against.
    pub purpose: CallPurpose,
}

/// With which somebody says no.
const REFUSALS: [&str; 6] = [
    "ConsentService/RecordConsent",
    "ConsentService/RecordSignal",
    "BoundsService/SetPersonalBounds",
    "ProfileService/RemoveAttributes",
    "ProfileService/ContestAttribute",
    "RightsService/SubmitRequest",
];
/// With which an operator sees and ends the doubt about the clock.
const ENDS_DOUBT: [&str; 2] = ["OperatorService/GetStats", "OperatorService/AcceptClock"];

impl Method {
    fn new(name: &str, permitted: Permitted) -> Arc<Self> {
        let (shape, takes_a_stream, meter) =
            (message_limits::of(name), takes_a_stream(name), metrics().meter(name));
        let refuses = REFUSALS.contains(&name);
        let is_open_in_doubt = refuses || ENDS_DOUBT.contains(&name);
        let purpose = if refuses { CallPurpose::Refusal } else { CallPurpose::Other };
        Arc::new(Self {
            name: name.into(),
            permitted,
            shape,
            takes_a_stream,
            meter,
            is_open_in_doubt,
            purpose,
        })
    }
}

/// Every method of the role table.
pub struct Methods {
    by_name: HashMap<String, Arc<Method>>,
    unknown: Arc<Method>,
}

impl Methods {
    /// Of this table.
    pub fn new(table: &RoleTable) -> Self {
        let method = |(name, permitted): (&str, Permitted)| (name.to_owned(), Method::new(name, permitted));
        let by_name = table.actions().map(method).collect();
        Self { by_name, unknown: Method::new(UNKNOWN, Permitted::default()) }
    }

    /// The method that an HTTP path calls; one that nobody may call where there is none.
    pub fn of_path(&self, path: &str) -> &Arc<Method> {
        self.by_name.get(action_of(path)).unwrap_or(&self.unknown)
    }
}
