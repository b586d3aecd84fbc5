//! Reads the words of texts: splits them, leaves out stop words, and reduces the others to their stems.

use super::calendar;
use super::language::Language;
use rust_stemmers::Stemmer;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Longer words are compared as they are, because they are no words of a language.
const STEMMED_BYTES_MAX: usize = 64;

/// Reads words. It remembers each word that it met, so that a word is stemmed only once.
pub struct WordReader {
    language: Language,
    stop_words: &'static HashSet<&'static str>,
    stemmer: Stemmer,
    /// The hash of the stem of each word met so far; `None` for a stop word.
    known: HashMap<String, Option<u32>>,
    /// The current word in lower case.
    lower: String,
}

impl WordReader {
    /// A reader of texts in a language.
    #[must_use]
    pub fn new(language: Language) -> Self {
        let (stop_words, stemmer) = (language.stop_words(), language.stemmer());
        Self { language, stop_words, stemmer, known: HashMap::new(), lower: String::new() }
    }

    /// The hashes of the stems of a text, in order.
    #[must_use]
    pub fn read(&mut self, text: &str) -> Vec<u32> {
        let mut words = Vec::new();
        self.append(text, &mut words);
        words
    }

    /// The same of a candidate: of its key, its value, and the date when it was observed.
    #[must_use]
    pub fn read_attribute(&mut self, key: &str, value_json: &str, observed_at_ms: u64) -> Box<[u32]> {
        let mut words = self.read(key);
        self.append(&readable(value_json), &mut words);
        self.append(&calendar::date(observed_at_ms, self.language), &mut words);
        words.into_boxed_slice()
    }

    fn append(&mut self, text: &str, words: &mut Vec<u32>) {
        words.extend(split(text).filter_map(|word| self.look_up(word)));
    }

    fn look_up(&mut self, word: &str) -> Option<u32> {
        self.lower.clear();
        if word.is_ascii() {
            self.lower.push_str(word);
            self.lower.make_ascii_lowercase();
        } else {
            self.lower.push_str(&word.to_lowercase());
        }
        if let Some(known) = self.known.get(&self.lower) {
            return *known;
        }
        let is_stop_word = self.stop_words.contains(self.lower.as_str());
        let found = (!is_stop_word).then(|| hash(&self.stem(&self.lower)));
        self.known.insert(self.lower.clone(), found);
        found
    }

    fn stem<'a>(&self, lower: &'a str) -> Cow<'a, str> {
        if lower.len() > STEMMED_BYTES_MAX { Cow::Borrowed(lower) } else { self.stemmer.stem(lower) }
    }
}

/// The words of a text: runs of letters and digits.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// FNV-1a with 64 bits, folded. Two stems rarely have the same hash; then they count as the same word.
fn hash(stem: &str) -> u32 {
    let mixed = stem.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [a, b, c, d, e, f, g, h] = mixed.to_be_bytes();
    u32::from_be_bytes([a, b, c, d]) ^ u32::from_be_bytes([e, f, g, h])
}

/// The text of a JSON value. Its punctuation separates words anyway, so only escapes have to be resolved.
fn readable(value_json: &str) -> Cow<'_, str> {
    if !value_json.contains('\\') {
        return Cow::Borrowed(value_json);
    }
    let mut text = String::with_capacity(value_json.len());
    match serde_json::from_str(value_json) {
        Ok(value) => append_texts(&value, &mut text),
        Err(_) => text.push_str(value_json),
    }
    Cow::Owned(text)
}

/// Appends the texts of a value. A recorded value has at most 16 levels.
fn append_texts(value: &serde_json::Value, text: &mut String) {
    match value {
        serde_json::Value::String(own) => {
            text.push_str(own);
            text.push(' ');
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| append_texts(value, text)),
        serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
            text.push_str(name);
            text.push(' ');
            append_texts(value, text);
        }),
        other => {
            text.push_str(&other.to_string());
            text.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time on 7 May 2023.
    const MAY_MS: u64 = 1_683_417_600_000;

    #[test]
    fn words_are_equal_by_stem_and_stop_words_are_left_out() {
        let mut english = WordReader::new(Language::English);
        let found = english.read("Who RUNS the running races, a race-day?");
        let [runs, running, races, race, day] = found.try_into().unwrap_or_default();
        assert!(runs == running && races == race && race != day && runs != race);
        let mut german = WordReader::new(Language::German);
        assert_eq!(german.read("Welche Häuser?"), german.read("die hauses"));
    }

    #[test]
    fn the_words_of_a_fact_include_its_key_escapes_members_and_date() {
        let mut english = WordReader::new(Language::English);
        let candidate =
            english.read_attribute("home/city", "{\"name\": \"Z\\u00fcrich\", \"size\": 12}", MAY_MS);
        for word in ["home", "city", "name", "Zürich", "size", "12", "May", "2023", "7"] {
            assert!(candidate.contains(english.read(word).first().unwrap_or(&0)), "{word}");
        }
        assert_eq!(candidate.len(), 9);
        assert_eq!(
            *english.read_attribute("k", "[\"tea\\nmilk\"]", MAY_MS),
            *english.read("k tea milk 7 May 2023")
        );
    }
}
