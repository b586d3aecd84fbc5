//! Lexical scores: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) with the
//! usual parameters. The weight of a word depends on the ranked facts alone.

use super::calendar;
use super::fact::Fact;
use super::language::Language;
use super::word_reader::{Word, Words};
use std::borrow::Cow;

/// How fast the score of a word saturates with its repetitions.
const K1: f64 = 1.2;
/// How much longer facts are discounted.
const B: f64 = 0.75;

/// How often a fact has one word of the question.
struct Found {
    fact: usize,
    word: usize,
    count: f64,
}

/// The score of each fact. A fact of average length that has every word of the question once has a score of
/// 1; one that has none of them has a score of 0.
pub(super) fn scores(text: &str, facts: &[Fact<'_>], language: Language) -> Vec<f64> {
    let (mut words, asked) = Words::of_question(text, language);
    let mut scores = vec![0.0; facts.len()];
    if asked.is_empty() {
        return scores;
    }
    let mut lengths = Vec::with_capacity(facts.len());
    let (mut found, mut having) = (Vec::new(), vec![0.0; asked.len()]);
    let mut counts = vec![0.0; asked.len()];
    for (fact, of) in facts.iter().enumerate() {
        let mut length = 0.0;
        let mut each = |word| match word {
            Word::Stop => {}
            Word::Other => length += 1.0,
            Word::Asked(word) => {
                length += 1.0;
                if let Some(count) = counts.get_mut(word) {
                    *count += 1.0;
                }
            }
        };
        words.count(of.key, &mut each);
        words.count(&readable(of.value_json), &mut each);
        words.count(&calendar::date(of.observed_at_ms, language), &mut each);
        lengths.push(length);
        for (word, (count, having)) in counts.iter_mut().zip(&mut having).enumerate() {
            if *count > 0.0 {
                *having += 1.0;
                found.push(Found { fact, word, count: std::mem::take(count) });
            }
        }
    }
    let average = f64::max(lengths.iter().sum::<f64>() / lengths.len() as f64, 1.0);
    let weights = weights(&asked, &having, facts.len() as f64);
    let total: f64 = weights.iter().sum();
    for Found { fact, word, count } in found {
        let (Some(score), Some(weight)) = (scores.get_mut(fact), weights.get(word)) else { continue };
        let length = lengths.get(fact).copied().unwrap_or(average);
        *score += weight / total * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / average));
    }
    scores
}

/// The weight of each word of the question: how often the question has it, times how rare it is in the facts.
fn weights(asked: &[f64], having: &[f64], facts: f64) -> Vec<f64> {
    let rare = |having: f64| (1.0 + (facts - having + 0.5) / (having + 0.5)).ln();
    asked.iter().zip(having).map(|(asked, having)| asked * rare(*having)).collect()
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

    fn fact(value_json: &str) -> Fact<'_> {
        Fact { key: "k", value_json, observed_at_ms: 1_683_417_600_000 }
    }

    fn score(text: &str, values: &[&str]) -> Vec<f64> {
        let facts: Vec<Fact<'_>> = values.iter().map(|value| fact(value)).collect();
        scores(text, &facts, Language::English)
    }

    #[test]
    fn rare_words_weigh_more_and_facts_without_any_have_no_score() {
        let found = score("a red boat", &["\"red car\"", "\"red house\"", "\"old boat\"", "\"blue car\""]);
        let [car, house, boat, none] = found.try_into().unwrap_or_default();
        assert!(boat > car && (car - house).abs() < 1e-9 && car > 0.0 && none == 0.0);
        assert_eq!(score("the of and", &["\"of\""]), [0.0]);
        assert_eq!(score("", &["\"tea\""]), [0.0]);
    }

    #[test]
    fn escapes_members_and_dates_are_words() {
        let values = ["{\"city\": \"Z\\u00fcrich\"}", "[\"tea\\nmilk\"]", "12"];
        for (text, right) in [("Zürich", 0), ("city", 0), ("milk", 1), ("12", 2)] {
            let found = score(text, &values);
            assert!(found.iter().enumerate().all(|(at, score)| (*score > 0.0) == (at == right)), "{text}");
        }
        assert!(score("What happened in May 2023?", &["\"tea\""]).iter().all(|score| *score > 0.5));
    }
}
