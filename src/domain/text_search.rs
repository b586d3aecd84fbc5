//! Looks for texts in other texts, exactly or nearly, in time that is linear in the length of what is read.
//!
//! Both texts are normalized first (Unicode NFKC, full case folding) and divided into words (UAX 29), so
//! that case, white space and punctuation make no difference. Then a text holds another one under these
//! conditions:
//!
//! - If the other one is *too short* ([`LETTERS_MIN`]), the two must be equal as a whole.
//! - Otherwise, if the other one has fewer than [`SHINGLES_FROM_WORDS`] words, the text must have at least
//!   four fifths of the other one's different words.
//! - Otherwise, the text must have at least half of the other one's *shingles*, which are sequences of
//!   three words.
//!
//! So a text always holds another one that it contains as a whole, unless the other one is too short.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash};
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// From this number of words on, shingles are compared; below, words.
pub const SHINGLES_FROM_WORDS: usize = 6;
/// Texts with fewer letters and digits are compared only as a whole. A letter of a script that writes whole
/// syllables or words in one counts twice.
pub const LETTERS_MIN: usize = 4;
/// The most bytes of text that are read in one search, counted after they were normalized.
pub const BYTES_MAX: usize = 16 << 20;
/// The most words and shingles of wanted texts in one search. Each takes 16 bytes of memory, and up to three
/// times as much while the list grows.
pub const POSTINGS_MAX: usize = 2 << 20;
/// The most comparisons of a word or shingle with a wanted text in one search.
pub const COMPARISONS_MAX: usize = 4 << 20;

/// The words of a shingle.
const SHINGLE_WORDS: usize = 3;
/// Words that are values of JSON, and are too short whatever their length.
const LITERALS: [&str; 3] = ["true", "false", "null"];

/// The hash of a word, of a shingle or of a whole text. It is keyed with random numbers of its own in each
/// search, so no one can make texts whose hashes collide.
type Hashed = u64;
/// The number of a wanted text.
type Number = u32;

/// A search did not read everything, because of [`BYTES_MAX`], [`POSTINGS_MAX`] or [`COMPARISONS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished;

/// The texts that are looked for. It keeps no word of them, only hashes.
pub struct TextSearch {
    hasher: RandomState,
    /// For each wanted text that is not too short, how many different words or shingles a text must have.
    needed: Vec<usize>,
    /// Every wanted text as a whole.
    whole: BTreeSet<Hashed>,
    by_word: Postings,
    by_shingle: Postings,
    /// How many more bytes are read.
    bytes_left: usize,
    /// How many more words and shingles of wanted texts are kept.
    postings_left: usize,
    comparisons: usize,
}

/// The wanted texts that have a word or shingle.
#[derive(Default)]
struct Postings {
    pairs: Vec<(Hashed, Number)>,
    is_unsorted: bool,
}

impl Postings {
    fn add(&mut self, hashed: Hashed, number: Number) {
        self.pairs.push((hashed, number));
        self.is_unsorted = true;
    }

    /// Sorts the pairs, which [`Postings::with`] needs.
    fn sort(&mut self) {
        if std::mem::take(&mut self.is_unsorted) {
            self.pairs.sort_unstable();
        }
    }

    fn with(&self, hashed: Hashed) -> impl Iterator<Item = Number> {
        let start = self.pairs.partition_point(|(other, _)| *other < hashed);
        let found = self.pairs.iter().skip(start).take_while(move |(other, _)| *other == hashed);
        found.map(|(_, number)| *number)
    }
}

impl Default for TextSearch {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl TextSearch {
    /// A search that reads at most this many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            needed: Vec::new(),
            whole: BTreeSet::new(),
            by_word: Postings::default(),
            by_shingle: Postings::default(),
            bytes_left: bytes_max,
            postings_left: POSTINGS_MAX,
            comparisons: 0,
        }
    }

    /// Adds a text to look for. A text without letters and digits is looked for as it is written.
    ///
    /// # Errors
    /// The texts to look for have too many bytes or words.
    pub fn want(&mut self, text: &str) -> Result<(), Unfinished> {
        let words = self.read(text)?;
        if words.is_empty() {
            return Ok(());
        }
        let hashes = self.hashes(&words);
        if !self.whole.insert(self.hash(&hashes)) || is_too_short(&words) {
            return Ok(());
        }
        self.postings_left = self.postings_left.checked_sub(hashes.len()).ok_or(Unfinished)?;
        let number = Number::try_from(self.needed.len()).unwrap_or(Number::MAX);
        let needed = if hashes.len() < SHINGLES_FROM_WORDS {
            let different: BTreeSet<Hashed> = hashes.into_iter().collect();
            different.iter().for_each(|word| self.by_word.add(*word, number));
            different.len().saturating_mul(4).div_ceil(5)
        } else {
            let different = self.shingles(&hashes);
            different.iter().for_each(|shingle| self.by_shingle.add(*shingle, number));
            different.len().div_ceil(2)
        };
        self.needed.push(needed);
        Ok(())
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// Whether a text holds one of the wanted texts.
    ///
    /// # Errors
    /// The limit of the search is reached.
    pub fn is_held_by(&mut self, text: &str) -> Result<bool, Unfinished> {
        if self.is_empty() {
            return Ok(false);
        }
        self.by_word.sort();
        self.by_shingle.sort();
        let words = self.read(text)?;
        let words = self.hashes(&words);
        if self.whole.contains(&self.hash(&words)) {
            return Ok(true);
        }
        let different: BTreeSet<Hashed> = words.iter().copied().collect();
        let shingles = self.shingles(&words);
        let wanting = different.iter().flat_map(|word| self.by_word.with(*word));
        let wanting = wanting.chain(shingles.iter().flat_map(|shingle| self.by_shingle.with(*shingle)));
        let mut found: BTreeMap<Number, usize> = BTreeMap::new();
        for number in wanting {
            self.comparisons = self.comparisons.saturating_add(1);
            if self.comparisons > COMPARISONS_MAX {
                return Err(Unfinished);
            }
            let count = found.entry(number).or_default();
            *count = count.saturating_add(1);
            let needed = usize::try_from(number).ok().and_then(|at| self.needed.get(at));
            if needed.is_some_and(|needed| *count >= *needed) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The words of a text, if the limit allows to read it.
    fn read(&mut self, text: &str) -> Result<Vec<String>, Unfinished> {
        // A text that is too long is not even normalized.
        if text.len() > self.bytes_left {
            self.bytes_left = 0;
            return Err(Unfinished);
        }
        let folded = folded(text);
        // Some letters become longer.
        self.bytes_left = self.bytes_left.checked_sub(text.len().max(folded.len())).ok_or(Unfinished)?;
        Ok(words(&folded))
    }

    fn hash(&self, value: impl Hash) -> Hashed {
        self.hasher.hash_one(value)
    }

    fn hashes(&self, words: &[String]) -> Vec<Hashed> {
        words.iter().map(|word| self.hash(word)).collect()
    }

    /// The different shingles of a text with these words.
    fn shingles(&self, words: &[Hashed]) -> BTreeSet<Hashed> {
        words.windows(SHINGLE_WORDS).map(|shingle| self.hash(shingle)).collect()
    }
}

/// Whether a text is compared only as a whole, because it is found by chance in others: it is `true`, `false`
/// or `null`, or has fewer than [`LETTERS_MIN`] letters and digits.
fn is_too_short(words: &[String]) -> bool {
    let is_literal = matches!(words, [word] if LITERALS.contains(&word.as_str()));
    let letters = words.iter().flat_map(|word| word.chars()).map(|letter| match letter {
        '\u{3040}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{20000}'..='\u{3ffff}' => 2,
        letter => usize::from(letter.is_alphanumeric()),
    });
    is_literal || letters.sum::<usize>() < LETTERS_MIN
}

/// A text, normalized.
fn folded(text: &str) -> String {
    let composed: String = text.nfkc().collect();
    UniCase::new(composed).to_folded_case().nfkc().collect()
}

/// The words of a normalized text. If it has no letters and digits, the text itself.
fn words(folded: &str) -> Vec<String> {
    let words: Vec<String> = folded.unicode_words().map(str::to_owned).collect();
    let trimmed = folded.trim();
    if words.is_empty() && !trimmed.is_empty() { vec![trimmed.to_owned()] } else { words }
}

/// The text of a JSON value: its strings, numbers and literals, without the names of members.
#[must_use]
pub fn text_of_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    match serde_json::from_str(json) {
        Ok(value) => collect(&value, &mut text),
        Err(_) => text.push_str(json),
    }
    text
}

fn collect(value: &serde_json::Value, text: &mut String) {
    match value {
        serde_json::Value::String(string) => text.push_str(string),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, text)),
        serde_json::Value::Object(members) => members.values().for_each(|member| collect(member, text)),
        other => text.push_str(&other.to_string()),
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn holds(text: &str, wanted: &str) -> bool {
        let mut search = TextSearch::default();
        search.want(&text_of_json(wanted)).unwrap();
        search.is_held_by(&text_of_json(text)).unwrap()
    }

    #[test]
    fn a_text_holds_what_it_contains_whatever_the_case_white_space_and_punctuation() {
        for (text, wanted) in [
            ("\"She is a  BAKER, in Ulm.\"", "\"a baker in ulm\""),
            ("\"Straße\"", "\"STRASSE\""),
            ("\"ﬁne ﬂour\"", "\"fine flour\""),
            ("\"ΟΔΟΣ\"", "\"οδος\""),
            ("\"用户说：我喜欢猫。\"", "\"喜欢猫\""),
            ("{\"about\": [\"likes jazz\", 7]}", "\"Jazz\""),
            ("\"a dog, Rex, of 12345 grams\"", "{\"name\": \"Rex\", \"kind\": \"dog\", \"grams\": 12345}"),
            ("\"42\"", "42"),
            ("true", "\"True\""),
            ("\"🦊\"", "\"🦊\""),
        ] {
            assert!(holds(text, wanted), "{text} holds {wanted}");
        }
    }

    #[test]
    fn short_values_are_found_only_as_whole_values() {
        for (text, wanted) in [
            ("\"yes, she is a baker\"", "\"yes\""),
            ("\"she is 42 years old\"", "42"),
            ("\"it is true\"", "true"),
            ("\"a false friend\"", "false"),
            ("\"artful\"", "\"arts\""),
            ("\"a 🦊 and more\"", "\"🦊\""),
            ("\"anything\"", "\"\""),
        ] {
            assert!(!holds(text, wanted), "{text} does not hold {wanted}");
        }
    }

    #[test]
    fn nearly_means_four_fifths_of_the_words_or_half_of_the_shingles() {
        let five = "\"bakes rye bread every morning\"";
        assert!(holds("\"Every morning: bakes bread.\"", five), "four of five words");
        assert!(!holds("\"bakes bread every day\"", five), "three of five words");
        // Eight words, so six shingles.
        let eight = "\"she sold the old bakery to her sister\"";
        assert!(holds("\"Summary: she sold the old bakery in May\"", eight), "three of six shingles");
        assert!(!holds("\"Summary: she sold the old car in May\"", eight), "two of six shingles");
        assert!(
            !holds("\"sister her to bakery old the sold she\"", eight),
            "the same words in another order"
        );
    }

    #[test]
    fn a_search_that_reaches_its_limit_says_so() {
        let mut search = TextSearch::default();
        search.want("a baker in Ulm").unwrap();
        let page = "word ".repeat(1 << 18);
        let read = (0..).take_while(|_| search.is_held_by(&page).is_ok()).count();
        assert_eq!(read, BYTES_MAX / page.len());
        let mut search = TextSearch::default();
        for number in 0..4_096 {
            search.want(&format!("common text {number}")).unwrap();
        }
        let read = (0..).take_while(|_| search.is_held_by("common word").is_ok()).count();
        assert_eq!(read, COMPARISONS_MAX / 4_096);
    }

    #[test]
    fn letters_that_become_longer_count_as_often_as_they_are_read() {
        let mut search = TextSearch::default();
        search.want("a baker in Ulm").unwrap();
        // One letter of three bytes becomes 18 letters of 33 bytes.
        let page = "\u{fdfa}".repeat(1 << 12);
        let read = (0..).take_while(|_| search.is_held_by(&page).is_ok()).count();
        assert!(read <= BYTES_MAX / (page.len() * 10), "{read}");
    }

    #[test]
    fn the_words_that_are_looked_for_are_limited() {
        let mut search = TextSearch { postings_left: 5, ..TextSearch::default() };
        assert_eq!(search.want("a baker in Ulm"), Ok(()));
        assert_eq!(search.want("a baker in Bonn"), Err(Unfinished));
    }

    #[test]
    fn a_text_that_does_not_fit_ends_the_search() {
        let mut search = TextSearch::new(64);
        search.want("a baker in Ulm").unwrap();
        assert_eq!(search.is_held_by(&"x".repeat(65)), Err(Unfinished));
        assert_eq!(search.is_held_by("a baker in Ulm"), Err(Unfinished), "what follows is not read either");
    }

    proptest! {
        #[test]
        fn every_text_holds_itself_and_is_held_by_what_contains_it(
            text in "\\PC{1,80}", before in "[a-z ]{0,20}", after in "[a-z ]{0,20}",
        ) {
            let mut search = TextSearch::default();
            search.want(&text).unwrap();
            prop_assert!(search.is_empty() || search.is_held_by(&text).unwrap());
            let all = words(&folded(&text));
            if !all.is_empty() && !is_too_short(&all) && text.chars().any(char::is_alphanumeric) {
                let containing = format!("{before}. {text} .{after}");
                // Marks and joiners at the ends of a text can change where its words end.
                let is_same = words(&folded(&containing)).windows(all.len()).any(|words| words == all);
                prop_assert!(!is_same || search.is_held_by(&containing).unwrap());
            }
        }
    }
}
