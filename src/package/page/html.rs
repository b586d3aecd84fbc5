//! Makes safe HTML from untrusted text, such as what a service recorded about the person. The text can't
//! become markup. Invisible characters, which could make it imitate other text of the page, are shown as code
//! points.

use super::json_text::indented;
use std::fmt::{self, Display, Write};

/// HTML that is safe to write: made of constants and escaped text only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(pub(super) String);

impl Html {
    /// This HTML and more after it.
    #[must_use]
    pub fn with(mut self, more: &Self) -> Self {
        self.0.push_str(&more.0);
        self
    }
}

impl Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Invisible characters that change how other characters are shown or ordered. They are written as code
/// points, so that a reader sees them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || (c.is_control() && c != '\n' && c != '\t')
}

/// Escapes text for the content of an element and for quoted attributes.
#[must_use]
pub fn escape(text: &str) -> Html {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Joiners are part of many scripts and of emoji.
            '\u{200c}' | '\u{200d}' => out.push(c),
            c if is_invisible(c) => {
                let _infallible = write!(out, "[U+{:04X}]", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Html(out)
}

/// Text of unknown language and direction.
#[must_use]
pub fn foreign(text: &str) -> Html {
    Html(format!("<bdi translate=\"no\">{}</bdi>", escape(text).0))
}

/// A name for machines.
#[must_use]
pub fn code(text: &str) -> Html {
    Html(format!("<code translate=\"no\">{}</code>", escape(text).0))
}

/// Text with less emphasis.
#[must_use]
pub fn soft(text: &str) -> Html {
    Html(format!("<span class=\"soft\">{}</span>", escape(text).0))
}

/// HTML in an element without attributes.
#[must_use]
pub fn wrapped(element: &'static str, inner: &Html) -> Html {
    Html(format!("<{element}>{inner}</{element}>"))
}

/// A time without the name of its month, for tables: `2023-11-14 22:13` for `2023-11-14T22:13:20Z`.
#[must_use]
pub fn short_time(rfc3339: &str) -> Html {
    let exact = escape(rfc3339);
    let shown = rfc3339.get(..16).map_or_else(|| rfc3339.to_owned(), |minute| minute.replace('T', " "));
    Html(format!("<time datetime=\"{exact}\">{}</time>", escape(&shown)))
}

/// A short label.
#[must_use]
pub fn tag(text: &str) -> Html {
    Html(format!("<span class=\"tag\">{}</span>", escape(text).0))
}

/// A link if the URL begins with `https:` or `http:`; otherwise the URL as plain text.
#[must_use]
pub fn link(url: &str) -> Html {
    let is_web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    let text = escape(url).0;
    if is_web { Html(format!("<a href=\"{text}\" rel=\"noreferrer\">{text}</a>")) } else { Html(text) }
}

/// An RFC 3339 time in UTC, as people write it, with the exact time in the markup.
#[must_use]
pub fn time(rfc3339: &str) -> Html {
    let exact = escape(rfc3339).0;
    let shown = in_words(rfc3339).unwrap_or_else(|| rfc3339.to_owned());
    Html(format!("<time datetime=\"{exact}\">{}</time>", escape(&shown).0))
}

/// `November 14, 2023, 22:13 UTC` for `2023-11-14T22:13:20Z`.
fn in_words(rfc3339: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (date, time) = rfc3339.split_once('T')?;
    let [year, month, day] = date.split('-').collect::<Vec<&str>>().try_into().ok()?;
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    let day: u8 = day.parse().ok()?;
    Some(format!("{month} {day}, {year}, {} UTC", time.get(..5)?))
}

/// A count with its noun: `1 detail`, `2 details`.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A JSON value for people: a string as its text, anything else as the JSON that was recorded.
#[must_use]
pub fn value(json: &str) -> Html {
    if let Ok(text) = serde_json::from_str::<String>(json) {
        return foreign(&text);
    }
    if json.trim_start().starts_with(['{', '[']) {
        return Html(format!("<pre translate=\"no\" dir=\"auto\">{}</pre>", escape(&indented(json)).0));
    }
    code(json)
}

/// Several pieces of HTML, each on its own line. On paper, semicolons separate them instead.
pub fn lines(parts: impl IntoIterator<Item = Html>) -> Html {
    let parts: Vec<String> = parts.into_iter().map(|part| part.0).filter(|part| !part.is_empty()).collect();
    Html(parts.join("<span class=\"sep\">; </span><br>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let text = escape("<script>alert('1')</script>\" & \u{202e}\u{0}").0;
        assert_eq!(text, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; &amp; [U+202E][U+0000]");
        assert_eq!(value("\"<b>\"").0, "<bdi translate=\"no\">&lt;b&gt;</bdi>");
        assert_eq!(
            value("{\"<i>\":1}").0,
            "<pre translate=\"no\" dir=\"auto\">{\n  &quot;&lt;i&gt;&quot;: 1\n}</pre>"
        );
        assert_eq!(
            value("{\"b\":12345678901234567890123,\"a\":1.50,\"b\":2}").0,
            "<pre translate=\"no\" dir=\"auto\">{\n  &quot;b&quot;: 12345678901234567890123,\n  &quot;a&quot;: \
             1.50,\n  &quot;b&quot;: 2\n}</pre>"
        );
        assert_eq!(value("1e400").0, "<code translate=\"no\">1e400</code>");
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        let html = |text: &str| time(text).0;
        let exact = "2023-11-04T22:13:20.5Z";
        let shown = "November 4, 2023, 22:13 UTC";
        assert_eq!(html(exact), format!("<time datetime=\"{exact}\">{shown}</time>"));
        assert_eq!(html("<never>"), "<time datetime=\"&lt;never&gt;\">&lt;never&gt;</time>");
        let short = format!("<time datetime=\"{exact}\">2023-11-04 22:13</time>");
        assert_eq!(short_time(exact).0, short);
        assert_eq!(short_time("<never>").0, html("<never>"));
    }

    #[test]
    fn plurals_are_right() {
        assert_eq!(
            (count(1, "detail", "details"), count(0, "detail", "details")),
            ("1 detail".into(), "0 details".into())
        );
    }
}
