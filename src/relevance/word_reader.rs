//! Splits texts into words, leaves out stop words and reduces the others to their stems.

use super::language::Language;
use rust_stemmers::Stemmer;
use std::collections::{HashMap, HashSet};

/// Longer words are compared as they are, because they are no words of a language.
const STEMMED_BYTES_MAX: usize = 64;

/// The words of one ranking. It remembers each word that it met, so that a word is stemmed only once.
pub(super) struct Words {
    stop_words: HashSet<&'static str>,
    stemmer: Stemmer,
    /// The number of each stem that the question has.
    asked: HashMap<String, usize>,
    /// Every word met so far.
    known: HashMap<String, Word>,
    /// The current word in lower case.
    lower: String,
}

/// What a word counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It is left out.
    Stop,
    /// It has a stem that the question does not have.
    Other,
    /// It has the stem of the question with this number.
    Asked(usize),
}

impl Words {
    /// The words of a question, and how often the question has each stem.
    pub fn of_question(text: &str, language: Language) -> (Self, Vec<f64>) {
        let (stop_words, stemmer) = language.tools();
        let (asked, known, lower) = (HashMap::new(), HashMap::new(), String::new());
        let mut words = Self { stop_words, stemmer, asked, known, lower };
        let mut counts: Vec<f64> = Vec::new();
        for word in split(text) {
            let lower = word.to_lowercase();
            if words.stop_words.contains(lower.as_str()) {
                continue;
            }
            let next = counts.len();
            let number = *words.asked.entry(words.stem(&lower)).or_insert(next);
            match counts.get_mut(number) {
                Some(count) => *count += 1.0,
                None => counts.push(1.0),
            }
        }
        (words, counts)
    }

    /// Calls `each` with what every word of a text counts as.
    pub fn count(&mut self, text: &str, each: &mut dyn FnMut(Word)) {
        for word in split(text) {
            each(self.look_up(word));
        }
    }

    fn look_up(&mut self, word: &str) -> Word {
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
        let found = if self.stop_words.contains(self.lower.as_str()) {
            Word::Stop
        } else {
            self.asked.get(&self.stem(&self.lower)).map_or(Word::Other, |number| Word::Asked(*number))
        };
        self.known.insert(self.lower.clone(), found);
        found
    }

    fn stem(&self, lower: &str) -> String {
        if lower.len() > STEMMED_BYTES_MAX {
            return lower.to_owned();
        }
        self.stemmer.stem(lower).into_owned()
    }
}

/// The words of a text: runs of letters and digits.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(question: &str, text: &str, language: Language) -> Vec<Word> {
        let (mut words, _) = Words::of_question(question, language);
        let mut found = Vec::new();
        words.count(text, &mut |word| found.push(word));
        found
    }

    #[test]
    fn words_match_by_stem_and_stop_words_are_left_out() {
        let found = words("Who runs the races?", "The RUNNING race-day", Language::English);
        assert_eq!(found, [Word::Stop, Word::Asked(0), Word::Asked(1), Word::Other]);
        let found = words("Welche Häuser?", "die hauses", Language::German);
        assert_eq!(found, [Word::Stop, Word::Asked(0)]);
    }

    #[test]
    fn repeated_words_of_a_question_count_each_time() {
        let (_, counts) = Words::of_question("tea, teas and coffee", Language::English);
        assert_eq!(counts, [2.0, 1.0]);
    }
}
