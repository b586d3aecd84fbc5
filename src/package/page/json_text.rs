//! JSON text, indented for people. Only white space changes: every number keeps its digits, and every
//! object keeps its members and their order.

/// Spaces of one level.
const INDENT: &str = "  ";

/// Indents a JSON text. Takes time linear in its length and depth; a value is at most 16 levels deep.
pub(super) fn indented(json: &str) -> String {
    let mut printer = Printer::default();
    let mut rest = json.char_indices().peekable();
    while let Some((at, letter)) = rest.next() {
        match letter {
            '"' => {
                let mut is_escaped = false;
                let end = rest.by_ref().find(|(_, next)| {
                    let is_end = *next == '"' && !is_escaped;
                    is_escaped = *next == '\\' && !is_escaped;
                    is_end
                });
                let end = end.map_or(json.len(), |(end, quote)| end.saturating_add(quote.len_utf8()));
                printer.token(json.get(at..end).unwrap_or_default());
            }
            ' ' | '\t' | '\n' | '\r' => {}
            '[' | '{' => printer.open(letter),
            ']' | '}' => printer.close(letter),
            ',' => printer.next(),
            ':' => printer.text.push_str(": "),
            other => printer.token(other.encode_utf8(&mut [0; 4])),
        }
    }
    printer.text
}

#[derive(Default)]
struct Printer {
    text: String,
    depth: usize,
    /// Whether a list or object was opened, and nothing was written since.
    is_empty: bool,
}

impl Printer {
    fn token(&mut self, text: &str) {
        self.begin();
        self.text.push_str(text);
    }

    fn open(&mut self, bracket: char) {
        self.begin();
        self.text.push(bracket);
        self.depth = self.depth.saturating_add(1);
        self.is_empty = true;
    }

    fn close(&mut self, bracket: char) {
        self.depth = self.depth.saturating_sub(1);
        if !std::mem::take(&mut self.is_empty) {
            self.line();
        }
        self.text.push(bracket);
    }

    fn next(&mut self) {
        self.text.push(',');
        self.line();
    }

    /// Begins the first line of a list or object.
    fn begin(&mut self) {
        if std::mem::take(&mut self.is_empty) {
            self.line();
        }
    }

    fn line(&mut self) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(INDENT, self.depth));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn only_white_space_changes() {
        assert_eq!(
            indented(r#"{"z":12345678901234567890123,"a":[1.50,{}, [ ]],"z":"\" ,{:\\"}"#),
            "{\n  \"z\": 12345678901234567890123,\n  \"a\": [\n    1.50,\n    {},\n    []\n  ],\n  \"z\": \
             \"\\\" ,{:\\\\\"\n}"
        );
    }

    #[test]
    fn text_that_is_not_json_is_shown_and_nothing_panics() {
        for text in ["", "\"", "}}]", "{\"a", "é\"é\\"] {
            let shown: String = indented(text).split_whitespace().collect();
            assert_eq!(shown, text);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The layout is the one of `serde_json`.
        #[test]
        fn json_without_surprises_looks_as_usual(value in json()) {
            prop_assert_eq!(indented(&value.to_string()), serde_json::to_string_pretty(&value).unwrap());
        }
    }
}
