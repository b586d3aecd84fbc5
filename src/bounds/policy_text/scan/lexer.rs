//! Splits policy text into the tokens of Cedar's grammar: skips whitespace and `//` comments, and takes the
//! longest token.

/// The kind of a token. Tokens that the limits treat alike have the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a number or a slot.
    Word,
    /// A string, including its quotes.
    Text,
    /// `(`, `[`, `{`.
    Open,
    /// `)`, `]`, `}`.
    Close,
    /// `.`
    Dot,
    /// `+ - * / % !`
    Arithmetic,
    /// `&&`, `||`
    Chain,
    /// `has` or a comparison, with the tree levels that it adds: `a > b` is parsed as `!(a <= b)`.
    Comparison { levels: usize },
    /// `in`
    In,
    /// `is`
    Is,
    /// `like`
    Like,
    /// `if`
    If,
    /// `then`, `else`
    Branch,
    /// `,` and `:`
    Separator,
    /// `;`
    Semicolon,
    /// Anything else: `@`, `::`, and text that is not a Cedar token, at which Cedar's parser stops.
    Other,
}

/// A token and its place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub kind: Kind,
    /// The offset of its first byte, and of the byte after its last.
    pub at: usize,
    pub end: usize,
    pub text: &'a str,
}

/// Iterates over the tokens of a text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let after = rest.trim_start();
            self.at = self.at.saturating_add(rest.len().saturating_sub(after.len()));
            if !after.starts_with("//") {
                return;
            }
            self.at = self.at.saturating_add(after.find(['\n', '\r']).unwrap_or(after.len()));
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip();
        let rest = self.rest();
        let first = rest.chars().next()?;
        let length = match first {
            '"' => string(rest),
            '?' => 1_usize.saturating_add(while_of(rest.get(1..).unwrap_or_default(), is_name)),
            '0'..='9' => while_of(rest, |byte| byte.is_ascii_digit()),
            first if first.is_ascii_alphabetic() || first == '_' => while_of(rest, is_name),
            first => sign(rest).unwrap_or(first.len_utf8()),
        };
        let text = rest.get(..length).unwrap_or(rest);
        let at = self.at;
        self.at = at.saturating_add(text.len());
        Some(Token { kind: kind(first, text), at, end: self.at, text })
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn while_of(text: &str, is_part: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len())
}

/// Length of a string in bytes, up to its closing quote or the end of the text.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at.saturating_add(1),
            _ => {}
        }
    }
    text.len()
}

/// Length of a two-character operator, if the text begins with one.
fn sign(text: &str) -> Option<usize> {
    ["::", "==", "!=", "<=", ">=", "&&", "||"].iter().find(|sign| text.starts_with(**sign)).map(|_| 2)
}

fn kind(first: char, text: &str) -> Kind {
    match text {
        "(" | "[" | "{" => Kind::Open,
        ")" | "]" | "}" => Kind::Close,
        "." => Kind::Dot,
        "+" | "-" | "*" | "/" | "%" | "!" => Kind::Arithmetic,
        "&&" | "||" => Kind::Chain,
        "==" | "=" | "<" | "<=" | "has" => Kind::Comparison { levels: 1 },
        "!=" | ">" | ">=" => Kind::Comparison { levels: 2 },
        "in" => Kind::In,
        "is" => Kind::Is,
        "like" => Kind::Like,
        "if" => Kind::If,
        "then" | "else" => Kind::Branch,
        "," | ":" => Kind::Separator,
        ";" => Kind::Semicolon,
        _ if first == '"' => Kind::Text,
        _ if first.is_ascii_alphanumeric() || first == '_' || first == '?' => Kind::Word,
        _ => Kind::Other,
    }
}
