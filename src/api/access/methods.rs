//! What access control needs to know about each method: its name, its roles, its limits and its metrics. The
//! access layer (`layer.rs`) looks this up once for each call.

use crate::api::access::message_limits;
use crate::api::access::message_limits::Shape;
use crate::api::access::method_names::{action_of, takes_a_stream};
use crate::api::access::quota::CallPurpose;
use crate::roles::{Permitted, RoleTable};
use crate::telemetry::{CallMeter, metrics};
use std::collections::HashMap;
use std::sync::Arc;

/// The name that logs and metrics use for every method that is not in the role table. The path is not used,
/// because it is the caller's own text.
const UNKNOWN: &str = "unknown";

/// One method.
pub struct Method {
    /// Its name in the role table.
    pub name: Arc<str>,
    /// The roles that may call it.
    pub permitted: Permitted,
    /// The limits of its requests.
    pub shape: &'static Shape,
    /// Whether it takes a stream of requests.
    pub takes_a_stream: bool,
    /// The metrics of its calls.
    pub meter: CallMeter,
    /// Whether calls of this method are accepted with a credential that may have expired, while the machine's
    /// clock is in doubt. They are if the method records a refusal, or is one with which an operator resolves
    /// the doubt.
    pub is_open_in_doubt: bool,
    /// Which allowance of the credential its calls count against.
    pub purpose: CallPurpose,
}

/// Methods with which a data subject can refuse.
const REFUSALS: [&str; 6] = [
    "ConsentService/RecordConsent",
    "ConsentService/RecordSignal",
    "BoundsService/SetPersonalBounds",
    "ProfileService/RemoveAttributes",
    "ProfileService/ContestAttribute",
    "RightsService/SubmitRequest",
];
/// Methods with which an operator sees that the machine's clock is in doubt, and resolves the doubt.
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
    /// The methods of a role table.
    pub fn new(table: &RoleTable) -> Self {
        let method = |(name, permitted): (&str, Permitted)| (name.to_owned(), Method::new(name, permitted));
        let by_name = table.actions().map(method).collect();
        Self { by_name, unknown: Method::new(UNKNOWN, Permitted::default()) }
    }

    /// The method that an HTTP path calls. If there is none, a method that no role may call.
    pub fn of_path(&self, path: &str) -> &Arc<Method> {
        self.by_name.get(action_of(path)).unwrap_or(&self.unknown)
    }
}
