//! Which characters a new name may have. Names are ids, keys and recipients. The ledger compares them byte
//! for byte, so characters that make different names look the same, such as invisible ones, are refused.
//!
//! A name that is already recorded still matches, no matter which characters it has. Only names that are not
//! recorded yet are checked.

use std::fmt::{self, Display};
use std::sync::LazyLock;
use unicode_normalization::is_nfc;
use unicode_security::confusable_detection::skeleton;

/// Why a name is refused, with the first character that causes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameProblem {
    /// It has a control character.
    Control(char),
    /// It has a character that is not seen: a format character, a filler, or a separator of lines.
    Invisible(char),
    /// It begins or ends with white space.
    OuterSpace(char),
    /// It is not in Unicode normalization form C (UAX 15).
    NotNormalized(char),
}

impl Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code_point = |letter: &char| format!("U+{:04X}", u32::from(*letter));
        match self {
            Self::Control(letter) => {
                write!(f, "must not have the control character {}", code_point(letter))
            }
            Self::Invisible(letter) => {
                write!(f, "must not have the invisible character {}", code_point(letter))
            }
            Self::OuterSpace(letter) => {
                write!(f, "must not begin or end with white space ({})", code_point(letter))
            }
            Self::NotNormalized(letter) => {
                write!(
                    f,
                    "must be in Unicode normalization form C (NFC), which changes {}",
                    code_point(letter)
                )
            }
        }
    }
}

/// What is wrong with a new name; `None` if it is accepted. Accepting takes time linear in its length.
#[must_use]
pub fn problem(name: &str) -> Option<NameProblem> {
    if let Some(letter) = name.chars().find(|letter| letter.is_control()) {
        return Some(NameProblem::Control(letter));
    }
    if let Some(letter) = name.chars().find(|letter| is_invisible(*letter)) {
        return Some(NameProblem::Invisible(letter));
    }
    let outer = [name.chars().next(), name.chars().next_back()];
    if let Some(letter) = outer.into_iter().flatten().find(|letter| letter.is_whitespace()) {
        return Some(NameProblem::OuterSpace(letter));
    }
    if is_nfc(name) {
        return None;
    }
    // The first character with which the text so far is not normalized.
    let ends = name.char_indices().map(|(at, letter)| (at.saturating_add(letter.len_utf8()), letter));
    let found = ends.into_iter().find(|(end, _)| !name.get(..*end).is_some_and(is_nfc));
    found.map(|(_, letter)| NameProblem::NotNormalized(letter))
}

/// Whether a character is not seen: `Default_Ignorable_Code_Point` (UAX 44), separators of lines and
/// paragraphs, other format characters without a glyph, the blank of Braille, and noncharacters.
fn is_invisible(letter: char) -> bool {
    if letter.is_ascii() {
        return false;
    }
    // A skeleton has no default-ignorable code points (UTS 39, section 4), so such a character has none.
    skeleton(letter.encode_utf8(&mut [0; 4])).next().is_none()
        || matches!(letter,
            '\u{2028}' | '\u{2029}' | '\u{2800}' | '\u{fff9}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
            | '\u{fdd0}'..='\u{fdef}')
        || u32::from(letter) & 0xfffe == 0xfffe
}

/// How a name looks: names with the same look differ only in case, or in characters that are easily confused
/// (UTS 39, section 4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Skeleton(String);

impl Skeleton {
    /// The look of a name. Takes time linear in its length.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let skeleton: String = skeleton(&name.to_lowercase()).collect();
        Self(skeleton.to_lowercase())
    }

    /// Whether a name has this look. For most names, comparing the last characters is enough, and the
    /// comparison allocates no memory.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        if !name.is_ascii() {
            return *self == Self::of(name);
        }
        let look =
            |byte: u8| ASCII_SKELETONS.get(usize::from(byte)).map(|look| look.0.as_str()).unwrap_or_default();
        name.bytes().rev().flat_map(|byte| look(byte).bytes().rev()).eq(self.0.bytes().rev())
    }
}

/// The look of each ASCII character. An ASCII text looks like its characters one after another: none of them
/// combines with the one before.
static ASCII_SKELETONS: LazyLock<Vec<Skeleton>> = LazyLock::new(|| {
    (0..128_u8).map(|byte| Skeleton::of(char::from(byte).encode_utf8(&mut [0; 4]))).collect()
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use unicode_security::general_security_profile::{GeneralSecurityProfile, IdentifierType};

    #[test]
    fn ordinary_names_in_all_scripts_are_accepted() {
        for name in
            ["ada", "Zoë", "a b", "日本語", "ключ", "مفتاح", "favorite/color.1", "x@example.org", "🙂", "é"]
        {
            assert_eq!(problem(name), None, "{name}");
        }
    }

    #[test]
    fn the_character_that_is_refused_is_named() {
        let cases = [
            ("a\u{7}b", "must not have the control character U+0007"),
            ("a\u{85}b", "must not have the control character U+0085"),
            ("a\u{200b}b", "must not have the invisible character U+200B"),
            ("a\u{ad}b", "must not have the invisible character U+00AD"),
            ("a\u{2028}b", "must not have the invisible character U+2028"),
            ("a\u{202e}b", "must not have the invisible character U+202E"),
            ("\u{feff}a", "must not have the invisible character U+FEFF"),
            ("a\u{fe0f}", "must not have the invisible character U+FE0F"),
            ("a\u{e0061}", "must not have the invisible character U+E0061"),
            (" a", "must not begin or end with white space (U+0020)"),
            ("a\u{a0}", "must not begin or end with white space (U+00A0)"),
            ("\u{3000}a", "must not begin or end with white space (U+3000)"),
            ("Zoe\u{308}", "must be in Unicode normalization form C (NFC), which changes U+0308"),
            ("5 \u{212b}", "must be in Unicode normalization form C (NFC), which changes U+212B"),
        ];
        for (name, expected) in cases {
            assert_eq!(problem(name).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn every_default_ignorable_character_is_refused() {
        let ranges = [
            ('\u{ad}', '\u{ad}'),
            ('\u{34f}', '\u{34f}'),
            ('\u{61c}', '\u{61c}'),
            ('\u{115f}', '\u{1160}'),
            ('\u{17b4}', '\u{17b5}'),
            ('\u{180b}', '\u{180f}'),
            ('\u{200b}', '\u{200f}'),
            ('\u{202a}', '\u{202e}'),
            ('\u{2060}', '\u{206f}'),
            ('\u{3164}', '\u{3164}'),
            ('\u{fe00}', '\u{fe0f}'),
            ('\u{feff}', '\u{feff}'),
            ('\u{ffa0}', '\u{ffa0}'),
            ('\u{fff0}', '\u{fffb}'),
            ('\u{1bca0}', '\u{1bca3}'),
            ('\u{1d173}', '\u{1d17a}'),
            ('\u{e0000}', '\u{e0fff}'),
        ];
        for letter in ranges.into_iter().flat_map(|(first, last)| first..=last) {
            let found = problem(&format!("a{letter}b"));
            assert_eq!(found, Some(NameProblem::Invisible(letter)), "U+{:04X}", u32::from(letter));
        }
        let by_profile = (0..=0x10_ffff)
            .filter_map(char::from_u32)
            .filter(|letter| letter.identifier_type() == Some(IdentifierType::Default_Ignorable));
        for letter in by_profile {
            assert!(problem(&format!("a{letter}b")).is_some(), "U+{:04X}", u32::from(letter));
        }
    }

    #[test]
    fn names_that_differ_in_case_or_look_have_the_same_look() {
        for (one, other) in [
            ("Diet", "diet"),
            ("diet", "di\u{435}t"),
            ("DIET", "di\u{435}t"),
            ("note-1", "note-l"),
            ("o", "0"),
            ("modern", "rnodern"),
            ("\u{421}olor", "color"),
        ] {
            assert!(Skeleton::of(one).is_of(other) && Skeleton::of(other).is_of(one), "{one} {other}");
        }
        for (one, other) in [("diet", "diets"), ("a", "b"), ("note-1", "note-2"), ("", "a"), ("ключ", "key")]
        {
            assert!(!Skeleton::of(one).is_of(other) && !Skeleton::of(other).is_of(one), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn a_look_is_recognized_however_it_is_compared(name in "[ -~]{0,12}|.{0,8}") {
            prop_assert!(Skeleton::of(&name).is_of(&name));
        }

        #[test]
        fn no_name_makes_the_check_panic(name in ".{0,16}") {
            if problem(&name).is_none() {
                prop_assert!(is_nfc(&name) && name.trim() == name);
            }
        }
    }
}
