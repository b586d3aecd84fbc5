//! The languages of lexical ranking: their stop words and stems and, for some of them, the names of the
//! months.

use rust_stemmers::{Algorithm, Stemmer};
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::{LazyLock, OnceLock};

/// The language of the texts. It decides which words are left out (stop words, from the lists of NLTK) and
/// how the others are reduced to their stems (Snowball).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Arabic.
    Arabic,
    /// Danish.
    Danish,
    /// Dutch.
    Dutch,
    /// English.
    #[default]
    English,
    /// Finnish.
    Finnish,
    /// French.
    French,
    /// German.
    German,
    /// Greek.
    Greek,
    /// Hungarian.
    Hungarian,
    /// Italian.
    Italian,
    /// Norwegian.
    Norwegian,
    /// Portuguese.
    Portuguese,
    /// Romanian.
    Romanian,
    /// Russian.
    Russian,
    /// Spanish.
    Spanish,
    /// Swedish.
    Swedish,
    /// Tamil.
    Tamil,
    /// Turkish.
    Turkish,
}

type Months = [&'static str; 12];

const ENGLISH: Months = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const GERMAN: Months = [
    "januar",
    "februar",
    "märz",
    "april",
    "mai",
    "juni",
    "juli",
    "august",
    "september",
    "oktober",
    "november",
    "dezember",
];
const FRENCH: Months = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const SPANISH: Months = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];

impl Language {
    /// The stop words.
    pub(super) fn stop_words(self) -> &'static HashSet<&'static str> {
        /// Those of each language, collected when they are first needed.
        static SETS: [OnceLock<HashSet<&'static str>>; 18] = [const { OnceLock::new() }; 18];
        static NONE: LazyLock<HashSet<&'static str>> = LazyLock::new(HashSet::new);
        let listed = || stop_words::lookup(self.names().0).unwrap_or_default().iter().copied().collect();
        SETS.get(self as usize).map_or(&*NONE, |set| set.get_or_init(listed))
    }

    /// The stemmer.
    pub(super) fn stemmer(self) -> Stemmer {
        Stemmer::create(self.names().1)
    }

    /// The names of the months in lower case, if the ranking knows them in this language.
    #[must_use]
    pub(super) fn months(self) -> Option<&'static Months> {
        match self {
            Self::English => Some(&ENGLISH),
            Self::German => Some(&GERMAN),
            Self::French => Some(&FRENCH),
            Self::Spanish => Some(&SPANISH),
            _ => None,
        }
    }

    /// The code in ISO 639-1, and the stemming algorithm.
    fn names(self) -> (&'static str, Algorithm) {
        match self {
            Self::Arabic => ("ar", Algorithm::Arabic),
            Self::Danish => ("da", Algorithm::Danish),
            Self::Dutch => ("nl", Algorithm::Dutch),
            Self::English => ("en", Algorithm::English),
            Self::Finnish => ("fi", Algorithm::Finnish),
            Self::French => ("fr", Algorithm::French),
            Self::German => ("de", Algorithm::German),
            Self::Greek => ("el", Algorithm::Greek),
            Self::Hungarian => ("hu", Algorithm::Hungarian),
            Self::Italian => ("it", Algorithm::Italian),
            Self::Norwegian => ("no", Algorithm::Norwegian),
            Self::Portuguese => ("pt", Algorithm::Portuguese),
            Self::Romanian => ("ro", Algorithm::Romanian),
            Self::Russian => ("ru", Algorithm::Russian),
            Self::Spanish => ("es", Algorithm::Spanish),
            Self::Swedish => ("sv", Algorithm::Swedish),
            Self::Tamil => ("ta", Algorithm::Tamil),
            Self::Turkish => ("tr", Algorithm::Turkish),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Language; 18] = [
        Language::Arabic,
        Language::Danish,
        Language::Dutch,
        Language::English,
        Language::Finnish,
        Language::French,
        Language::German,
        Language::Greek,
        Language::Hungarian,
        Language::Italian,
        Language::Norwegian,
        Language::Portuguese,
        Language::Romanian,
        Language::Russian,
        Language::Spanish,
        Language::Swedish,
        Language::Tamil,
        Language::Turkish,
    ];

    #[test]
    fn every_language_has_stop_words() {
        for language in ALL {
            assert!(!language.stop_words().is_empty(), "{language:?}");
        }
    }

    proptest! {
        #[test]
        fn no_word_makes_a_stemmer_fail(word in "\\PC{1,24}", latin in "[a-zäöüßéèñçåøığş]{1,20}") {
            for language in ALL {
                let stemmer = language.stemmer();
                stemmer.stem(&word.to_lowercase());
                stemmer.stem(&latin);
            }
        }
    }
}
