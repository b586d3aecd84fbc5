//! Escapes text before it is shown on a terminal. Unescaped, other people's texts could move the cursor, hide
//! text or reorder it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::fmt::MakeWriter;

/// Whether a terminal acts on a character instead of showing it: control characters (C0, C1 and DEL) except
/// line feed and tab, the line and paragraph separators, and the characters of UAX 9 that change the
/// direction of text (`Bidi_Control`).
fn is_acted_on(letter: char) -> bool {
    (letter.is_control() && !matches!(letter, '\n' | '\t'))
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes every character that a terminal would act on as its JSON escape, such as `\u202e`. So JSON stays
/// the same JSON: it has these characters within strings only.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_acted_on) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if is_acted_on(letter) => escaped.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => escaped.push(letter),
        }
    }
    Cow::Owned(escaped)
}

/// Standard error, escaped if it is a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines;

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for Lines {
    /// Takes a whole line at once, as the subscriber writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            stderr.write_all(escaped(&String::from_utf8_lossy(line)).as_bytes())?;
        } else {
            stderr.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped_and_everything_else_is_shown() {
        assert_eq!(escaped("a\u{1b}[2Jb\u{9b}1m\r\n\tc"), "a\\u001b[2Jb\\u009b1m\\u000d\n\tc");
        assert_eq!(
            escaped("safe\u{202e}efas\u{2028}\u{200f}\u{61c}"),
            "safe\\u202eefas\\u2028\\u200f\\u061c"
        );
        let plain = "Grüße \u{200d} 日本 👩‍💻 \\ \"";
        assert!(matches!(escaped(plain), Cow::Borrowed(same) if same == plain));
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let text: String = (0..0x2100).filter_map(char::from_u32).collect();
        let json = serde_json::Value::from(text);
        let shown = escaped(&json.to_string()).into_owned();
        assert!(!shown.contains(is_acted_on));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), json);
    }
}
