//! The purposes that two kinds of decisions of a person stop, even if the packs permit them. An opt-out stops
//! sale, sharing and advertising. An objection to direct marketing stops direct marketing, and the controller
//! can't refuse it.

use super::vocabulary::Vocabulary;
use std::collections::BTreeSet;

/// An opt-out of sale and sharing stops uses for these purposes and those below them, wherever the person is.
/// Sharing is `cross-context-advertising`, which is below `advertising`. (Cal. Civ. Code s. 1798.120 stops
/// sale and sharing only.)
pub const OPT_OUT: [&str; 2] = ["advertising", "data-sale"];

/// The purposes of direct marketing, with those below them (GDPR Art. 21(2), (3)).
pub const DIRECT_MARKETING: [&str; 3] = ["advertising", "commercial-persuasion", "direct-marketing"];

/// Whether a purpose, given with its ancestors, is one of `roots` or below one.
#[must_use]
pub fn is_below(roots: &[&str], ancestry: &[&str]) -> bool {
    roots.iter().any(|root| ancestry.contains(root))
}

/// The purposes among `roots` and below them that a signal covers, sorted. The signal is for `purposes`;
/// empty means all. Each purpose of the result stands for all purposes below it too.
#[must_use]
pub fn covered<'a>(roots: &[&'a str], purposes: &'a [String], vocabulary: &'a Vocabulary) -> Vec<&'a str> {
    let is_covered = |root: &&&str| {
        let ancestry = vocabulary.purpose_ancestry(root);
        purposes.is_empty() || purposes.iter().any(|purpose| ancestry.contains(&purpose.as_str()))
    };
    let whole = roots.iter().filter(is_covered).copied();
    let named = purposes.iter().map(String::as_str);
    let parts = named.filter(|purpose| is_below(roots, &vocabulary.purpose_ancestry(purpose)));
    whole.chain(parts).collect::<BTreeSet<&str>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::default_vocabulary::default_vocabulary;

    #[test]
    fn a_signal_covers_the_roots_below_what_it_names_and_what_it_names_below_the_roots() {
        let vocabulary = default_vocabulary();
        let of = |purposes: &[&str]| {
            let purposes: Vec<String> = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
            covered(&DIRECT_MARKETING, &purposes, &vocabulary).join(" ")
        };
        assert_eq!(of(&[]), "advertising commercial-persuasion direct-marketing");
        assert_eq!(of(&["memory", "persuasion"]), "commercial-persuasion");
        assert_eq!(of(&["personalised-advertising", "data-sale"]), "personalised-advertising");
        assert_eq!(of(&["memory"]), "");
    }
}
