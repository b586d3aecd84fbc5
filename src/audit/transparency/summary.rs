//! The summary of a report: its most important numbers in a few lines, and which of them are not shown, and
//! why.

use super::figure::{Figure, FigureTable, Ratio, Status, SummaryLine};
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
    ("inferred", Headline::Total("stored")),
    ("inferred", Headline::Ratio("inferred-share")),
    ("reinforcement", Headline::Ratio("self-reinforcement")),
    ("contests", Headline::Ratio("success-ratio")),
    ("stopped", Headline::Total("withheld")),
    ("requests", Headline::Total("requests")),
    ("erasures", Headline::Ratio("erasures")),
];

/// Why a number of the summary is not shown, as a title for the list of such numbers.
const BELOW_NOISE: &str = "Not shown, because no larger than the noise";
const SMALL_GROUP: &str = "Not shown, because too few people";
const NOT_SHOWN: &str = "Not shown, because a number that it needs is not shown";

/// Makes the summary of figures: first the numbers that are shown, then what is not shown, by reason.
#[must_use]
pub fn summary(figures: &[Figure]) -> Vec<SummaryLine> {
    let mut lines = Vec::new();
    let mut hidden: [(&str, Vec<String>); 4] =
        [BELOW_NOISE, SMALL_GROUP, NOT_SHOWN, "Not available"].map(|reason| (reason, Vec::new()));
    for (id, headline) in &HEADLINES {
        let available = |figure: &&Figure| figure.spec.id == *id && figure.status == Status::Available;
        let Some(figure) = figures.iter().find(available) else { continue };
        let Some((title, number)) = headline.number(figure) else { continue };
        match number {
            Ok(text) => lines.push(SummaryLine { figure: id, title, text }),
            Err(reason) => {
                let list = hidden.iter_mut().find(|(listed, _)| *listed == reason);
                list.into_iter().for_each(|(_, titles)| titles.push(title.clone()));
            }
        }
    }
    let missing = figures.iter().filter(|figure| figure.status != Status::Available);
    if let Some((_, titles)) = hidden.last_mut() {
        titles.extend(missing.map(|figure| figure.spec.title.to_owned()));
    }
    let hidden = hidden.into_iter().filter(|(_, titles)| !titles.is_empty());
    lines.extend(hidden.map(|(reason, titles)| SummaryLine {
        figure: "",
        title: reason.into(),
        text: titles.join("; "),
    }));
    lines
}

impl Headline {
    /// The title of this number of a figure, and the number as text or the reason why it is not shown. None
    /// if the figure does not have the number.
    fn number(&self, figure: &Figure) -> Option<(String, Result<String, &'static str>)> {
        match self {
            Self::Total(id) => {
                let table = figure.tables.iter().find(|table| table.id == *id)?;
                Some((table.title.clone(), total(table)))
            }
            Self::Ratio(id) => {
                let ratio = figure.ratios.iter().find(|ratio| ratio.id == *id)?;
                Some((ratio.title.clone(), quotient(ratio)))
            }
        }
    }
}

fn total(table: &FigureTable) -> Result<String, &'static str> {
    let reason = match table.unprinted.total {
        Some(_) => BELOW_NOISE,
        None if table.shown.suppressed => SMALL_GROUP,
        None => NOT_SHOWN,
    };
    let total = table.shown.total.ok_or(reason)?;
    Ok(format!("{} {}", number_format::amount(total), table.unit))
}

fn quotient(ratio: &Ratio) -> Result<String, &'static str> {
    let reason = if ratio.below_noise { BELOW_NOISE } else { NOT_SHOWN };
    ratio.value.ok_or(reason)?;
    Ok(match number_format::caveat(ratio) {
        "" => number_format::ratio(ratio),
        caveat => format!("{}, {caveat}", number_format::ratio(ratio)),
    })
}
