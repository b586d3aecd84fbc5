//! How finely ages and confidences matter to the bounds in force: outcomes are remembered by steps, not by days.

use cedar_policy::Policy;
use serde_json::Value;
use std::collections::BTreeSet;

/// The numbers that policies compare with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Thresholds {
    age_days: Step,
    confidence: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Only these numbers are compared with, so whatever lies between two of them is alike.
    At(BTreeSet<u64>),
    /// A policy calculates with it: every number may matter.
    Exact,
}

impl Default for Step {
    fn default() -> Self {
        Self::At(BTreeSet::new())
    }
}

impl Thresholds {
    /// Of all policies in force. A policy that can't be read as JSON makes everything matter.
    pub fn of<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut steps = Self::default();
        for policy in policies {
            match policy.to_json() {
                Ok(json) => steps.take(json.get("conditions").unwrap_or(&Value::Null)),
                Err(_) => (steps.age_days, steps.confidence) = (Step::Exact, Step::Exact),
            }
        }
        steps
    }

    /// Of these policies and of others.
    pub fn and(mut self, others: &Self) -> Self {
        self.age_days.and(&others.age_days);
        self.confidence.and(&others.confidence);
        self
    }

    /// An age and a confidence that no policy in force tells apart from these.
    pub fn coarse(&self, age_days: u64, confidence: u8) -> (u64, u8) {
        let coarse = self.confidence.coarse(u64::from(confidence));
        (self.age_days.coarse(age_days), u8::try_from(coarse).unwrap_or(confidence))
    }

    fn take(&mut self, json: &Value) {
        if let Some((name, number)) = comparison(json) {
            if let Some(Step::At(numbers)) = self.step(name) {
                numbers.insert(number);
            }
            return;
        }
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.take(item)),
            Value::Object(fields) => {
                if let Some(name) = accessed(json) {
                    // Read, but not compared with a number: calculated with.
                    if let Some(step) = self.step(name) {
                        *step = Step::Exact;
                    }
                    return;
                }
                if json.get("Var").and_then(Value::as_str) == Some("context") {
                    (self.age_days, self.confidence) = (Step::Exact, Step::Exact);
                }
                fields.values().for_each(|field| self.take(field));
            }
            _ => {}
        }
    }

    fn step(&mut self, name: &str) -> Option<&mut Step> {
        match name {
            "age_days" => Some(&mut self.age_days),
            "confidence" => Some(&mut self.confidence),
            _ => None,
        }
    }
}

impl Step {
    fn and(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::At(numbers), Self::At(more)) => numbers.extend(more),
            (Self::Exact, _) | (_, Self::Exact) => *self = Self::Exact,
        }
    }

    fn coarse(&self, number: u64) -> u64 {
        match self {
            Self::Exact => number,
            Self::At(numbers) if numbers.contains(&number) => number,
            Self::At(numbers) => {
                numbers.range(..number).next_back().map_or(0, |below| below.saturating_add(1))
            }
        }
    }
}

/// `context.name` on one side, a number on the other.
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

/// The name in `context.name`.
fn accessed(json: &Value) -> Option<&str> {
    let access = json.get(".")?;
    let context = access.get("left")?.get("Var").and_then(Value::as_str) == Some("context");
    access.get("attr").and_then(Value::as_str).filter(|_| context)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn steps(condition: &str) -> Thresholds {
        let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
        let policy = Policy::parse(None, text).unwrap();
        Thresholds::of(std::iter::once(&policy))
    }

    #[test]
    fn what_no_policy_tells_apart_is_one() {
        let steps = steps("context.age_days > 30 && (90 < context.age_days || context.confidence >= 50)");
        let days: Vec<u64> =
            [0, 29, 30, 31, 60, 89, 90, 91, 4_000].map(|age| steps.coarse(age, 0).0).to_vec();
        assert_eq!(days, [0, 0, 30, 31, 31, 31, 90, 91, 91]);
        let per_cents: Vec<u8> =
            [0, 49, 50, 51, 100].map(|confidence| steps.coarse(0, confidence).1).to_vec();
        assert_eq!(per_cents, [0, 0, 50, 51, 51]);
    }

    #[test]
    fn what_matters_to_any_pack_matters() {
        let (one, other) = (steps("context.age_days > 30"), steps("context.age_days < 9"));
        assert_eq!(one.clone().and(&other), steps("context.age_days > 30 || context.age_days < 9"));
        let exact = steps("context.age_days * 2 > 30");
        assert_eq!(one.clone().and(&exact).coarse(77, 0).0, 77);
        assert_eq!(exact.and(&one).coarse(77, 0).0, 77);
    }

    #[test]
    fn what_is_calculated_with_stays_exact() {
        for condition in ["context.age_days * 2 > 30", "context.age_days == context.confidence"] {
            assert_eq!(steps(condition).coarse(77, 0).0, 77, "{condition}");
        }
        assert_eq!(steps("context.paused").coarse(77, 13), (0, 0));
        assert_eq!(steps("[context].contains(context)").coarse(77, 13), (77, 13));
    }
}
