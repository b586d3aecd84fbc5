//! Checks that a value is JSON that all readers understand in the same way (I-JSON, RFC 7493). So a value
//! is stored and shown exactly as it was written.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

/// Levels of nesting in a value.
pub const DEPTH_MAX: usize = 16;
/// The largest integer up to which a 64-bit float has every integer (RFC 7493 s. 2.2).
const INTEGER_MAX: u64 = 9_007_199_254_740_991;

/// Why a text is not accepted as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonProblem {
    /// It is not JSON.
    Malformed,
    /// It is nested too deeply.
    TooDeep,
    /// An object has two members of the same name. Readers differ in which of them they take.
    DuplicateName,
    /// A string has half of a surrogate pair, which is not a character.
    LoneSurrogate,
    /// Readers round the number, or can't represent it.
    Number,
}

impl JsonProblem {
    /// What is allowed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "must be JSON",
            Self::TooDeep => "must be nested at most 16 levels deep",
            Self::DuplicateName => "must not have two members of the same name in an object",
            Self::LoneSurrogate => "must not have an escape that is half of a surrogate pair",
            Self::Number => {
                "must not have numbers that readers round: integers beyond 9007199254740991, or more digits than \
                 a 64-bit float has; write them as text"
            }
        }
    }
}

/// Checks a text. Takes time linear in its length.
///
/// # Errors
/// The first problem found.
pub fn check(text: &str) -> Result<(), JsonProblem> {
    // Check the depth first, because text that is nested too deeply must not be parsed.
    let mut scan = Scan::default();
    text.bytes().enumerate().for_each(|(at, byte)| scan.take(at, byte));
    scan.end_number(text.len());
    if scan.deepest > DEPTH_MAX {
        return Err(JsonProblem::TooDeep);
    }
    let number = |(from, to): &(usize, usize)| text.get(*from..*to).unwrap_or_default();
    if !scan.numbers.iter().map(number).all(is_exact) {
        return Err(JsonProblem::Number);
    }
    if has_lone_surrogate(text) {
        return Err(JsonProblem::LoneSurrogate);
    }
    let has_duplicate = Cell::new(false);
    let mut reader = serde_json::Deserializer::from_str(text);
    let is_json = UniqueNames(&has_duplicate).deserialize(&mut reader).and_then(|()| reader.end()).is_ok();
    match (is_json, has_duplicate.get()) {
        (true, _) => Ok(()),
        (false, true) => Err(JsonProblem::DuplicateName),
        (false, false) => Err(JsonProblem::Malformed),
    }
}

/// Whether an escape of a string is half of a surrogate pair (RFC 8259 s. 7).
fn has_lone_surrogate(text: &str) -> bool {
    let mut rest = text;
    let mut awaits_low = false;
    while let Some((before, escape)) = rest.split_once('\\') {
        let unit = escape.strip_prefix('u').and_then(|escape| escape.get(..4));
        let unit = unit.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let is_low = unit.is_some_and(|unit| (0xdc00..0xe000).contains(&unit));
        if awaits_low != is_low || (awaits_low && !before.is_empty()) {
            return true;
        }
        awaits_low = unit.is_some_and(|unit| (0xd800..0xdc00).contains(&unit));
        let skipped = if unit.is_some() { 5 } else { escape.chars().next().map_or(0, char::len_utf8) };
        rest = escape.get(skipped..).unwrap_or_default();
    }
    awaits_low
}

/// Finds the depth of a JSON text, and where its numbers are.
#[derive(Default)]
struct Scan {
    depth: usize,
    deepest: usize,
    in_string: bool,
    escaped: bool,
    number_from: Option<usize>,
    numbers: Vec<(usize, usize)>,
}

impl Scan {
    fn take(&mut self, at: usize, byte: u8) {
        let is_number = !self.in_string && matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let begins = is_number && matches!(byte, b'0'..=b'9' | b'-');
        match self.number_from {
            None if begins => self.number_from = Some(at),
            Some(_) if !is_number => self.end_number(at),
            _ => {}
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'[' | b'{' if !self.in_string => {
                self.depth = self.depth.saturating_add(1);
                self.deepest = self.deepest.max(self.depth);
            }
            b']' | b'}' if !self.in_string => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn end_number(&mut self, at: usize) {
        if let Some(from) = self.number_from.take() {
            self.numbers.push((from, at));
        }
    }
}

/// Whether a reader that keeps a JSON number as a 64-bit float shows the digits that were written.
fn is_exact(number: &str) -> bool {
    let unsigned = number.trim_start_matches('-');
    if unsigned.is_empty() {
        return true;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return unsigned.parse::<u64>().is_ok_and(|integer| integer <= INTEGER_MAX);
    }
    // Rust shows a float with the fewest digits that identify it.
    let is_same = |float: f64| float.is_finite() && digits(&format!("{float:e}")) == digits(number);
    // Text that is not a number is left to the parser.
    number.parse().map_or(true, is_same)
}

/// The significant digits of a number: without sign, point, exponent, and zeros at either end.
fn digits(number: &str) -> String {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

/// Reads any JSON, and notes whether an object has two members of the same name.
#[derive(Clone, Copy)]
struct UniqueNames<'a>(&'a Cell<bool>);

impl<'de> DeserializeSeed<'de> for UniqueNames<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueNames<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                self.0.set(true);
                return Err(A::Error::custom("duplicate name"));
            }
            members.next_value_seed(self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_that_all_readers_understand_alike_is_accepted() {
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        let texts = [
            "null",
            "true",
            "\"text with [brackets\"",
            "\"1234567890123456789012\"",
            "{\"a\": {\"a\": 1}, \"b\": 2}",
            "9007199254740991",
            "-9007199254740991",
            "0.1",
            "1e300",
            "-0.0",
            "123456789.12345678",
            "1E+2",
            "0e0",
            "\"\\ud83d\\ude00\"",
            deep.as_str(),
        ];
        for text in texts {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_readers_understand_differently_is_refused_with_the_reason() {
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let cases = [
            ("", JsonProblem::Malformed),
            ("{", JsonProblem::Malformed),
            ("nope", JsonProblem::Malformed),
            ("01", JsonProblem::Malformed),
            (deep.as_str(), JsonProblem::TooDeep),
            ("{\"a\": 1, \"a\": 2}", JsonProblem::DuplicateName),
            ("[{\"a\": 1, \"\\u0061\": 2}]", JsonProblem::DuplicateName),
            ("\"\\ud83d\"", JsonProblem::LoneSurrogate),
            ("{\"\\ude00\": 1}", JsonProblem::LoneSurrogate),
            ("12345678901234567890123", JsonProblem::Number),
            ("[9007199254740992]", JsonProblem::Number),
            ("{\"a\": -9007199254740992}", JsonProblem::Number),
            ("1e400", JsonProblem::Number),
            ("1e-400", JsonProblem::Number),
            ("3.141592653589793238", JsonProblem::Number),
        ];
        for (text, problem) in cases {
            assert_eq!(check(text), Err(problem), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_check_panic(text in "[-0-9eE.\\[\\]{}\",: \\\\ud8fa]{0,40}") {
            let found = check(&text);
            prop_assert!(found.is_err() || serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }

        /// An accepted number has the same digits after a reader has kept it as a 64-bit float.
        #[test]
        fn accepted_numbers_survive_a_reader(
            number in "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,20})?(e-?[0-9]{1,3})?",
        ) {
            if check(&number).is_ok() {
                let float: f64 = number.parse().unwrap();
                prop_assert_eq!(digits(&float.to_string()), digits(&number));
            }
        }
    }
}
