//! The summary of a report: its most important numbers in a few lines, and what it can't show.

use super::figure::{Figure, FigureTable, Status, SummaryLine};
use super::number_format;

/// A number of a figure that the summary shows.
enum Headline {
    /// The total of this table.
    Total(&'static str),
    /// This ratio.
    Ratio(&'static str),
}

/// The figures with their numbers for the summary, in the order of the report.
const HEADLINES: [(&str, Headline); 13] = [
    ("reach", Headline::Total("reach")),
    ("reach", Headline::Ratio("personalised-share")),
    ("use", Headline::Total("use")),
    ("consent", Headline::Ratio("refusal-rate")),
    ("consent", Headline::Ratio("withdrawal-rate")),
    ("bite", Headline::Ratio("late-share")),
    ("inferred", Headline::Total("held")),
    ("inferred", Headline::Ratio("inferred-share")),
    ("reinforcement", Headline::Ratio("self-reinforcement")),
    ("contests", Headline::Ratio("success-ratio")),
    ("stopped", Headline::Total("withheld")),
    ("requests", Headline::Total("requests")),
    ("erasures", Headline::Ratio("erasures")),
];

/// Makes the summary of figures. Groups of fewer than `k` people are not shown.
#[must_use]
pub fn summary(figures: &[Figure], k: u64) -> Vec<SummaryLine> {
    let mut lines: Vec<SummaryLine> =
        HEADLINES.iter().filter_map(|(id, headline)| line(figures, id, headline, k)).collect();
    let missing = figures.iter().filter(|figure| figure.status != Status::Available);
    let missing: Vec<&str> = missing.map(|figure| figure.spec.title).collect();
    if !missing.is_empty() {
        lines.push(SummaryLine { figure: "", title: "Not available".into(), text: missing.join("; ") });
    }
    lines
}

fn line(figures: &[Figure], id: &'static str, headline: &Headline, k: u64) -> Option<SummaryLine> {
    let figure = figures.iter().find(|figure| figure.spec.id == id && figure.status == Status::Available)?;
    let (title, text) = match headline {
        Headline::Total(id) => {
            let table = figure.tables.iter().find(|table| table.id == *id)?;
            (table.title.clone(), total(table, k)?)
        }
        Headline::Ratio(id) => {
            let ratio = figure.ratios.iter().find(|ratio| ratio.id == *id)?;
            let text = match number_format::caveat(ratio) {
                "" => number_format::ratio(ratio),
                caveat => format!("{}, {caveat}", number_format::ratio(ratio)),
            };
            (ratio.title.clone(), text)
        }
    };
    Some(SummaryLine { figure: figure.spec.id, title, text })
}

fn total(table: &FigureTable, k: u64) -> Option<String> {
    if table.shown.suppressed {
        return Some(format!("not shown: fewer than {k} people"));
    }
    if let Some(margin) = table.unprinted.total {
        return Some(number_format::below_noise(margin));
    }
    table.shown.total.map(|total| format!("{} {}", number_format::amount(total), table.unit))
}
