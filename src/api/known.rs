//! What the door knows of each method, found once a call: its name, who may call it, what counts its calls.

use super::roles::action_of;
use crate::app::{Permitted, RoleTable};
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
    /// Counts its calls.
    pub meter: CallMeter,
}

impl Method {
    fn new(name: &str, permitted: Permitted) -> Arc<Self> {
        Arc::new(Self { name: name.into(), permitted, meter: metrics().meter(name) })
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
