//! Bar charts as SVG, with a title and a description for screen readers, without scripts, in the colors of
//! the page.

use std::fmt::Write;

/// Bars drawn in one chart; the table beside it has all rows.
const BARS_MAX: usize = 12;
const WIDTH: f64 = 400.0;
const ROW_HEIGHT: f64 = 38.0;
const BAR_HEIGHT: f64 = 13.0;
/// Width reserved for the longest number: at least this much, and this much for each of its characters.
const NUMBER_WIDTH_MIN: f64 = 70.0;
const CHARACTER_WIDTH: f64 = 8.5;
const LABEL_CHARS_MAX: usize = 50;

/// One bar.
pub(super) struct Bar {
    pub label: String,
    pub value: f64,
    /// The value as text.
    pub text: String,
    /// Whether it is the bar of *others*, which is drawn lighter.
    pub rest: bool,
}

/// Escapes text for HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Converts prose to HTML; text in backticks becomes code.
pub(super) fn prose(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escape(part);
        html.push_str(&if at % 2 == 1 { format!("<code>{part}</code>") } else { part });
    }
    html
}

/// Shortens a text that is too long for its line.
fn shortened(text: &str) -> String {
    if text.chars().count() <= LABEL_CHARS_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(LABEL_CHARS_MAX - 1).collect();
    format!("{}…", start.trim_end())
}

/// Draws bars below each other. A bar of the value `max` has the full length.
pub(super) fn bars(id: &str, title: &str, unit: &str, bars: &[Bar], max: f64) -> String {
    let drawn = bars.get(..bars.len().min(BARS_MAX)).unwrap_or_default();
    let height = ROW_HEIGHT * super::suppress::as_number(drawn.len() as u64) + 2.0;
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\n\
         <title id=\"{id}-t\">{}</title>\n<desc id=\"{id}-d\">{}</desc>\n",
        escape(title),
        escape(&description(unit, bars, drawn.len())),
    );
    let longest = drawn.iter().map(|bar| bar.text.chars().count()).max().unwrap_or_default();
    let number_width = CHARACTER_WIDTH * super::suppress::as_number(longest as u64);
    let room = WIDTH - number_width.clamp(NUMBER_WIDTH_MIN, WIDTH / 2.0);
    for (at, bar) in drawn.iter().enumerate() {
        let top = ROW_HEIGHT * super::suppress::as_number(at as u64);
        let share = if max > 0.0 { (bar.value / max).clamp(0.0, 1.0) } else { 0.0 };
        let length = (room * share).max(if bar.value > 0.0 { 2.0 } else { 0.0 });
        let class = if bar.rest { "rest" } else { "bar" };
        let (label_y, bar_y) = (top + 14.0, top + 20.0);
        let _infallible = writeln!(
            svg,
            "<text x=\"0\" y=\"{label_y}\">{}</text>\
             <rect class=\"track\" x=\"0\" y=\"{bar_y}\" width=\"{room}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>\
             <rect class=\"{class}\" x=\"0\" y=\"{bar_y}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>\
             <text class=\"number\" x=\"{WIDTH}\" y=\"{}\">{}</text>",
            escape(&shortened(&bar.label)),
            bar_y + 11.0,
            escape(&bar.text),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn description(unit: &str, bars: &[Bar], drawn: usize) -> String {
    let items: Vec<String> =
        bars.iter().take(drawn).map(|bar| format!("{}: {}", bar.label, bar.text)).collect();
    let unit = if unit.is_empty() { String::new() } else { format!(" ({unit})") };
    let more = bars.len() - drawn;
    let more = if more > 0 { format!("; and {more} more in the table") } else { String::new() };
    format!("Bar chart{unit}. {}{more}.", items.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_chosen_by_callers_are_escaped() {
        let bar =
            Bar { label: "<script>alert('x')</script>".into(), value: 1.0, text: "1".into(), rest: false };
        let svg = bars("a", "t\"", "replies", &[bar], 1.0);
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;") && svg.contains("t&quot;"));
    }
}
