//! Thresholds: the numbers with which the bounds in force compare an attribute's age and confidence, and a
//! consent's age. All values between two thresholds lead to the same outcome. So an outcome is cached once
//! for all of them, and not for each day of age, for example. If a policy calculates with a value, every
//! number counts as a threshold.

use crate::domain::DAY_MS;
use cedar_policy::Policy;
use serde_json::Value;
use std::collections::BTreeSet;

/// The numbers that policies compare ages and confidences with, and whether policies refer to notices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Thresholds {
    age_days: Precision,
    confidence: Precision,
    consent_days: Precision,
    notices: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Precision {
    /// Policies compare with these numbers only, so values between two of them are equivalent.
    At(BTreeSet<u64>),
    /// A policy calculates with the value, so every number may matter.
    Exact,
}

impl Default for Precision {
    fn default() -> Self {
        Self::At(BTreeSet::new())
    }
}

impl Thresholds {
    /// The thresholds of these policies. A policy without a JSON form makes every value matter.
    pub fn of<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut thresholds = Self::default();
        for policy in policies {
            match policy.to_json() {
                Ok(json) => thresholds.collect(json.get("conditions").unwrap_or(&Value::Null)),
                Err(_) => thresholds = Self::exact(),
            }
        }
        thresholds
    }

    /// The thresholds of policies to which every value matters.
    fn exact() -> Self {
        let exact = Precision::Exact;
        Self { age_days: exact.clone(), confidence: exact.clone(), consent_days: exact, notices: true }
    }

    /// The thresholds of both sets of policies.
    pub fn and(mut self, others: &Self) -> Self {
        self.age_days.and(&others.age_days);
        self.confidence.and(&others.confidence);
        self.consent_days.and(&others.consent_days);
        self.notices |= others.notices;
        self
    }

    /// Rounds an age and a confidence to values that no policy in force distinguishes from them.
    pub fn round(&self, age_days: u64, confidence: u8) -> (u64, u8) {
        let round = self.confidence.round(u64::from(confidence));
        (self.age_days.round(age_days), u8::try_from(round).unwrap_or(confidence))
    }

    /// Rounds the age of a consent, in days, to an age that no policy in force distinguishes from it.
    pub fn round_consent(&self, days: u64) -> u64 {
        self.consent_days.round(days)
    }

    /// The first time after `now_ms` at which a policy may distinguish the age of a consent that was given at
    /// `said_ms` from its age now; `None` if there is none. Milliseconds since the Unix epoch.
    pub fn consent_changes_ms(&self, said_ms: u64, now_ms: u64) -> Option<u64> {
        let days = self.next_consent_days(now_ms.saturating_sub(said_ms) / DAY_MS)?;
        Some(said_ms.saturating_add(days.saturating_mul(DAY_MS)))
    }

    /// Whether a policy in force compares the age of a consent.
    pub fn compare_consents(&self) -> bool {
        self.consent_days != Precision::default()
    }

    /// The first higher age of a consent, in days, that a policy may distinguish from this age.
    pub fn next_consent_days(&self, days: u64) -> Option<u64> {
        self.consent_days.next(days)
    }

    /// Whether a policy in force refers to the notice of a consent.
    pub fn distinguish_notices(&self) -> bool {
        self.notices
    }

    fn collect(&mut self, json: &Value) {
        if let Some((name, number)) = comparison(json) {
            if let Some(Precision::At(numbers)) = self.precision(name) {
                numbers.insert(number);
            }
            return;
        }
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(fields) => {
                if let Some(name) = accessed(json) {
                    self.notices |= name == "notice" || name == "notice_version";
                    // The value is read but not compared with a number, so the policy calculates with it.
                    if let Some(precision) = self.precision(name) {
                        *precision = Precision::Exact;
                    }
                    return;
                }
                if json.get("Var").and_then(Value::as_str) == Some("context") {
                    *self = Self::exact();
                }
                fields.values().for_each(|field| self.collect(field));
            }
            _ => {}
        }
    }

    fn precision(&mut self, name: &str) -> Option<&mut Precision> {
        match name {
            "age_days" => Some(&mut self.age_days),
            "confidence" => Some(&mut self.confidence),
            "consent_days" => Some(&mut self.consent_days),
            _ => None,
        }
    }
}

impl Precision {
    fn and(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::At(numbers), Self::At(more)) => numbers.extend(more),
            (Self::Exact, _) | (_, Self::Exact) => *self = Self::Exact,
        }
    }

    /// The first number above this one that is not equivalent to it.
    fn next(&self, number: u64) -> Option<u64> {
        let following = number.checked_add(1)?;
        match self {
            Self::Exact => Some(following),
            Self::At(numbers) if numbers.contains(&number) => Some(following),
            Self::At(numbers) => numbers.range(following..).next().copied(),
        }
    }

    fn round(&self, number: u64) -> u64 {
        match self {
            Self::Exact => number,
            Self::At(numbers) if numbers.contains(&number) => number,
            Self::At(numbers) => {
                numbers.range(..number).next_back().map_or(0, |below| below.saturating_add(1))
            }
        }
    }
}

/// Parses a comparison of `context.name` with a number.
fn comparison(json: &Value) -> Option<(&str, u64)> {
    let fields = json.as_object()?;
    let (operator, sides) = fields.iter().next().filter(|_| fields.len() == 1)?;
    if !["<", "<=", ">", ">=", "==", "!="].contains(&operator.as_str()) {
        return None;
    }
    let (left, right) = (sides.get("left")?, sides.get("right")?);
    let number = |side: &Value| side.get("Value").and_then(Value::as_u64);
    match (accessed(left), number(right), accessed(right), number(left)) {
        (Some(name), Some(number), _, _) | (_, _, Some(name), Some(number)) => Some((name, number)),
        _ => None,
    }
}

/// Parses `context.name` and returns the name.
fn accessed(json: &Value) -> Option<&str> {
    let access = json.get(".")?;
    let context = access.get("left")?.get("Var").and_then(Value::as_str) == Some("context");
    access.get("attr").and_then(Value::as_str).filter(|_| context)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn thresholds(condition: &str) -> Thresholds {
        let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
        let policy = Policy::parse(None, text).unwrap();
        Thresholds::of(std::iter::once(&policy))
    }

    #[test]
    fn values_that_no_policy_distinguishes_are_rounded_together() {
        let thresholds =
            thresholds("context.age_days > 30 && (90 < context.age_days || context.confidence >= 50)");
        let days: Vec<u64> =
            [0, 29, 30, 31, 60, 89, 90, 91, 4_000].map(|age| thresholds.round(age, 0).0).to_vec();
        assert_eq!(days, [0, 0, 30, 31, 31, 31, 90, 91, 91]);
        let per_cents: Vec<u8> =
            [0, 49, 50, 51, 100].map(|confidence| thresholds.round(0, confidence).1).to_vec();
        assert_eq!(per_cents, [0, 0, 50, 51, 51]);
    }

    #[test]
    fn the_age_of_a_consent_changes_only_where_a_policy_compares_it() {
        let days = |thresholds: &Thresholds, days: u64| {
            let changes_ms = thresholds.consent_changes_ms(7, 7 + days * DAY_MS);
            changes_ms.map(|changes_ms| (changes_ms - 7) / DAY_MS)
        };
        let compared = thresholds("context.consent_days > 180 || context.consent_days >= 365");
        let found = [0, 179, 180, 181, 364, 365, 366].map(|age| days(&compared, age));
        assert_eq!(found, [Some(180), Some(180), Some(181), Some(365), Some(365), Some(366), None]);
        assert_eq!([0, 180, 200, 4_000].map(|age| compared.round_consent(age)), [0, 180, 181, 366]);
        assert_eq!(days(&thresholds("context.consent_days * 2 > 9"), 3), Some(4));
        assert_eq!(days(&thresholds("context.age_days > 30"), 3), None);
        assert!(thresholds("context.notice_version == \"2\"").distinguish_notices());
        assert!(!compared.distinguish_notices());
    }

    #[test]
    fn thresholds_of_all_packs_are_combined() {
        let (one, other) = (thresholds("context.age_days > 30"), thresholds("context.age_days < 9"));
        assert_eq!(one.clone().and(&other), thresholds("context.age_days > 30 || context.age_days < 9"));
        let exact = thresholds("context.age_days * 2 > 30");
        assert_eq!(one.clone().and(&exact).round(77, 0).0, 77);
        assert_eq!(exact.and(&one).round(77, 0).0, 77);
    }

    #[test]
    fn values_that_policies_calculate_with_stay_exact() {
        for condition in ["context.age_days * 2 > 30", "context.age_days == context.confidence"] {
            assert_eq!(thresholds(condition).round(77, 0).0, 77, "{condition}");
        }
        assert_eq!(thresholds("context.paused").round(77, 13), (0, 0));
        assert_eq!(thresholds("[context].contains(context)").round(77, 13), (77, 13));
    }
}
