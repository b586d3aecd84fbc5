//! Text of anybody's for a page: whatever stands in an attribute can't become markup, nor dress up as something else.

use std::fmt::Write;

/// Markup that is safe to write: made from constants and escaped text only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Html(pub(super) String);

/// Characters that show nothing and change how others are shown or ordered: written out, so that a reader sees them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || (c.is_control() && c != '\n' && c != '\t')
}

/// Escapes text for an element's content and for quoted attributes.
pub(super) fn escape(text: &str) -> Html {
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
pub(super) fn foreign(text: &str) -> Html {
    Html(format!("<bdi translate=\"no\">{}</bdi>", escape(text).0))
}

/// A name that machines use.
pub(super) fn code(text: &str) -> Html {
    Html(format!("<code translate=\"no\">{}</code>", escape(text).0))
}

/// A time of the package as people write it, with the exact one behind it.
pub(super) fn time(rfc3339: &str) -> Html {
    let exact = escape(rfc3339).0;
    let shown: String = rfc3339.replace('T', " ").chars().take(16).collect();
    Html(format!("<time datetime=\"{exact}\">{} UTC</time>", escape(&shown).0))
}

/// A JSON value for people: a string as itself, anything else as JSON.
pub(super) fn value(json: &str) -> Html {
    match serde_json::from_str::<serde_json::Value>(json) {
        Ok(serde_json::Value::String(text)) => foreign(&text),
        Ok(value @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
            let pretty = serde_json::to_string_pretty(&value).unwrap_or_else(|_| json.to_owned());
            Html(format!("<pre translate=\"no\" dir=\"auto\">{}</pre>", escape(&pretty).0))
        }
        // Numbers keep the digits that they were recorded with.
        _ => code(json),
    }
}

/// Several, in lines.
pub(super) fn lines(parts: impl IntoIterator<Item = Html>) -> Html {
    let parts: Vec<String> = parts.into_iter().map(|part| part.0).filter(|part| !part.is_empty()).collect();
    Html(parts.join("<br>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_markup() {
        let text = escape("<script>alert('1')</script>\" & \u{202e}\u{0}").0;
        assert_eq!(text, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; &amp; [U+202E][U+0000]");
        assert_eq!(value("\"<b>\"").0, "<bdi translate=\"no\">&lt;b&gt;</bdi>");
        assert_eq!(
            value("{\"<i>\":1}").0,
            "<pre translate=\"no\" dir=\"auto\">{\n  &quot;&lt;i&gt;&quot;: 1\n}</pre>"
        );
        assert_eq!(value("1e400").0, "<code translate=\"no\">1e400</code>");
    }
}
