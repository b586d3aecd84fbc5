//! Counts how many people have each inferred value, without keeping any value: each of a limited number of
//! counters identifies its value by a keyed 64-bit hash. With the counts, a report says by how much the
//! inferences about different groups of people differ (the divergence).
//!
//! Counts are exact while a category has at most [`VALUES_MAX`] different values. Beyond that, the counters
//! follow Misra and Gries (1982): they are never too high, and too low by at most `error`. To compare groups,
//! the hashes of values are sorted into [`BUCKETS`] buckets. Values that share a bucket can only make the
//! groups look more similar (the data processing inequality), so the divergence is never too high because of
//! buckets.

use super::suppress::as_number;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Different values counted exactly in each category.
pub const VALUES_MAX: usize = 1_024;
/// Buckets in which the values of groups are compared.
pub const BUCKETS: usize = 64;
/// Groups compared in each category and dimension; further ones are ignored.
pub const GROUPS_MAX: usize = 64;

/// Counters of the values of one category.
#[derive(Clone, Debug, Default, PartialEq)]
struct Values {
    people: u64,
    people_by_value: HashMap<u64, u64>,
    error: u64,
}

impl Values {
    fn add(&mut self, hash: u64, people: u64) {
        if let Some(count) = self.people_by_value.get_mut(&hash) {
            *count = count.saturating_add(people);
        } else if self.people_by_value.len() < VALUES_MAX {
            self.people_by_value.insert(hash, people);
        } else {
            self.make_room(people);
        }
    }

    fn make_room(&mut self, people: u64) {
        self.error = self.error.saturating_add(people);
        self.people_by_value.retain(|_, count| {
            *count = count.saturating_sub(people);
            *count > 0
        });
    }
}

/// Counters of the values of one group.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    people: u64,
    buckets: [u64; BUCKETS],
}

impl Default for Group {
    fn default() -> Self {
        Self { people: 0, buckets: [0; BUCKETS] }
    }
}

/// A group whose values are compared with those of the other groups of its dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName {
    /// What distinguishes the groups, such as the jurisdiction.
    pub dimension: &'static str,
    /// The name of the group.
    pub name: String,
}

/// Counters of the inferred values of all data subjects.
pub struct Spread {
    key: [u8; 32],
    categories: BTreeMap<String, Values>,
    groups: BTreeMap<(String, &'static str), BTreeMap<String, Group>>,
}

/// How concentrated the inferred values of a category are.
#[derive(Clone, Debug, PartialEq)]
pub struct Concentration {
    /// The category.
    pub category: String,
    /// Of the people with inferred values in this category, the share that has the most common value, 0 to 1.
    pub top_share: f64,
    /// By how much `top_share` may be too low, 0 to 1; 0 if it is exact.
    pub error: f64,
}

/// How far apart groups are in a category.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The category.
    pub category: String,
    /// What distinguishes the groups.
    pub dimension: &'static str,
    /// Number of groups of at least k people that were compared.
    pub groups: usize,
    /// Jensen-Shannon divergence divided by its maximum: 0 if the groups are equal, 1 if they have nothing in
    /// common.
    pub divergence: f64,
}

impl Spread {
    /// Starts with no data subject. The key must be random for each report, so that its hashes mean nothing
    /// elsewhere.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, categories: BTreeMap::new(), groups: BTreeMap::new() }
    }

    fn hash(&self, category: &str, value: &str) -> u64 {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(&(category.len() as u64).to_be_bytes());
        mac.update(category.as_bytes());
        mac.update(value.as_bytes());
        let hash = mac.finalize().into_bytes();
        hash.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
    }

    /// Adds the inferred values of one data subject, and the groups that it is in.
    pub fn add_subject<'a>(
        &mut self,
        values: impl Iterator<Item = (&'a str, &'a str)>,
        groups: &[GroupName],
    ) {
        let mut found: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for (category, value) in values {
            let hash = self.hash(category, value);
            found.entry(category.to_owned()).or_default().insert(hash);
        }
        for (category, hashes) in found {
            for GroupName { dimension, name } in groups {
                let known = self.groups.entry((category.clone(), dimension)).or_default();
                if known.len() >= GROUPS_MAX && !known.contains_key(name) {
                    continue;
                }
                let group = known.entry(name.clone()).or_default();
                group.people = group.people.saturating_add(1);
                for hash in &hashes {
                    let at = usize::try_from(hash % (BUCKETS as u64)).unwrap_or_default();
                    if let Some(count) = group.buckets.get_mut(at) {
                        *count = count.saturating_add(1);
                    }
                }
            }
            let values = self.categories.entry(category).or_default();
            values.people = values.people.saturating_add(1);
            hashes.into_iter().for_each(|hash| values.add(hash, 1));
        }
    }

    /// Categories in which at least k people have the most common value. The number of people without this
    /// value must be zero or at least k.
    #[must_use]
    pub fn concentrations(&self, k: u64) -> Vec<Concentration> {
        let found = self.categories.iter().filter_map(|(category, values)| {
            let top = values.people_by_value.values().copied().max().unwrap_or_default();
            let rest = values.people.saturating_sub(top);
            let is_shown = top >= k && (rest == 0 || rest.saturating_sub(values.error) >= k);
            let people = as_number(values.people);
            is_shown.then(|| Concentration {
                category: category.clone(),
                top_share: rounded(as_number(top) / people),
                error: rounded(as_number(values.error) / people),
            })
        });
        found.collect()
    }

    /// Categories in which at least k people have inferred values, but no value is shared by k people.
    #[must_use]
    pub fn unshared(&self, k: u64) -> Vec<String> {
        let found = self.categories.iter().filter(|(_, values)| {
            let top = values.people_by_value.values().copied().max().unwrap_or_default();
            values.people >= k && top.saturating_add(values.error) < k
        });
        found.map(|(category, _)| category.clone()).collect()
    }

    /// How far apart the groups of at least k people are, in categories for which `is_compared` holds.
    #[must_use]
    pub fn divergences(&self, k: u64, is_compared: impl Fn(&str) -> bool) -> Vec<Divergence> {
        let found = self.groups.iter().filter(|((category, _), _)| is_compared(category)).filter_map(
            |((category, dimension), groups)| {
                let large: Vec<&Group> = groups.values().filter(|group| group.people >= k).collect();
                (large.len() >= 2).then(|| Divergence {
                    category: category.clone(),
                    dimension,
                    groups: large.len(),
                    divergence: rounded(jensen_shannon(&large)),
                })
            },
        );
        found.collect()
    }
}

/// Rounds to two digits. More digits would claim too much precision and reveal more.
fn rounded(share: f64) -> f64 {
    (share * 100.0).round() / 100.0
}

/// The Jensen-Shannon divergence (Lin 1991) of groups of equal weight: the entropy of the groups' mean minus
/// the mean of the groups' entropies. It is divided by its maximum, the logarithm of the number of groups.
fn jensen_shannon(groups: &[&Group]) -> f64 {
    let weight = 1.0 / as_number(groups.len() as u64);
    let shares: Vec<Vec<f64>> = groups
        .iter()
        .map(|group| {
            let sum = as_number(group.buckets.iter().sum::<u64>()).max(1.0);
            group.buckets.iter().map(|count| as_number(*count) / sum).collect()
        })
        .collect();
    let mean = (0..BUCKETS).map(|at| shares.iter().filter_map(|share| share.get(at)).sum::<f64>() * weight);
    let within: f64 = shares.iter().map(|share| entropy(share.iter().copied()) * weight).sum();
    ((entropy(mean) - within) / as_number(groups.len() as u64).ln()).clamp(0.0, 1.0)
}

fn entropy(shares: impl Iterator<Item = f64>) -> f64 {
    shares.filter(|share| *share > 0.0).map(|share| -share * share.ln()).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn group(name: &str) -> GroupName {
        GroupName { dimension: "recipient", name: name.to_owned() }
    }

    #[test]
    fn shared_values_are_found_and_small_groups_are_not_shown() {
        let mut spread = Spread::new([7; 32]);
        for person in 0..12 {
            let own = format!("\"{person}\"");
            let values = [("work", "\"nurse\""), ("work", own.as_str()), ("family", own.as_str())];
            spread.add_subject(values.into_iter(), &[]);
        }
        for _ in 0..12 {
            spread.add_subject([("work", "\"farmer\""), ("work", "\"farmer\"")].into_iter(), &[]);
        }
        let found = spread.concentrations(10);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].category.as_str(), found[0].top_share, found[0].error), ("work", 0.5, 0.0));
        assert_eq!(spread.unshared(10), ["family"]);
        assert!(spread.concentrations(13).is_empty());
    }

    #[test]
    fn counters_stay_limited_and_are_never_too_high() {
        let mut spread = Spread::new([7; 32]);
        for person in 0..3_000 {
            let own = format!("\"{person}\"");
            let shared = if person % 2 == 0 { "\"x\"" } else { "\"y\"" };
            spread.add_subject([("work", own.as_str()), ("work", shared)].into_iter(), &[]);
        }
        let values = &spread.categories["work"];
        assert!(values.people_by_value.len() <= VALUES_MAX && values.error > 0);
        let found = &spread.concentrations(10)[0];
        assert!(found.top_share <= 0.5 && found.top_share + found.error >= 0.49, "{found:?}");
    }

    #[test]
    fn divergence_is_0_for_equal_groups_and_1_for_groups_with_nothing_in_common() {
        let (mut equal, mut apart) = (Spread::new([1; 32]), Spread::new([1; 32]));
        for person in 0..40 {
            let name = if person % 2 == 0 { "a" } else { "b" };
            equal.add_subject([("health", "\"well\"")].into_iter(), &[group(name)]);
            apart.add_subject(
                [("health", if person % 2 == 0 { "1" } else { "2" })].into_iter(),
                &[group(name)],
            );
        }
        let of = |spread: &Spread, k| spread.divergences(k, |category| category == "health");
        assert!((of(&equal, 20)[0].divergence - 0.0).abs() < 1e-9);
        assert!((of(&apart, 20)[0].divergence - 1.0).abs() < 1e-9);
        assert!(of(&apart, 21).is_empty());
        assert!(apart.divergences(1, |_| false).is_empty());
    }
}
