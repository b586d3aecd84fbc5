//! The metrics of a monitor in the Prometheus text format.

use super::alert::KINDS;
use super::findings::Check;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of one log, or of one kind of alert of a log.
type Labels = Vec<(&'static str, String)>;

/// The metrics of one check, as the text of a file for the textfile collector of the Prometheus node
/// exporter.
#[must_use]
pub fn metrics_of(check: &Check) -> String {
    let mut registry = Registry::with_prefix("sayso_monitor");
    let log = vec![("log", check.origin.clone())];
    let mut gauge = |name: &str, help: &str, values: Vec<(Labels, u64)>| {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        registry.register(name, help, family);
    };
    let one = |value: u64| vec![(log.clone(), value)];
    gauge("look_timestamp_seconds", "When the log was checked at last", one(check.at_ms / 1_000));
    gauge("entries", "Entries of the newest checkpoint that continues the earlier ones", one(check.entries));
    gauge("checkpoint_age_seconds", "Age of the newest checkpoint", one(check.age_ms / 1_000));
    gauge("cosigners", "Given witnesses that cosigned the checkpoint", one(check.witnesses.len() as u64));
    let counted = |value: Option<u64>| value.map(|value| (log.clone(), value)).into_iter().collect();
    gauge("rules", "Events about rules, as the newest counts of the log state", counted(check.rules));
    gauge("erasures", "Completed erasures, as the newest counts of the log state", counted(check.erasures));
    let alerts = KINDS.map(|kind| {
        let is_raised = check.alerts.iter().any(|alert| alert.kind == kind);
        (vec![("log", check.origin.clone()), ("kind", kind.name().to_owned())], u64::from(is_raised))
    });
    gauge("alert", "1 while an alert of this kind is raised", alerts.to_vec());
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _infallible = encode(&mut text, &registry);
    text
}
