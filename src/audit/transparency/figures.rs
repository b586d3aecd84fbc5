//! Figures out of populations: each population is shown through one table, everything else is computed from what that
//! table shows.

use super::catalogue::{self, Spec};
use super::labels::{NO_ARTIFACT, NOT_SAID, RELEASE_BUCKETS, word};
use super::noise::{self, Bits};
use super::requests;
use super::suppress::{Shown, as_number, suppress};
use super::table::{Base, Labels};
use super::tally::Tally;
use crate::domain::vocabulary::Vocabulary;
use sayso_proof::event::Rung;
use std::collections::{BTreeMap, BTreeSet};

/// Whether a figure is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Available,
    /// The log does not have what it needs, or it can't be shown with noise.
    NotAvailable,
    /// No ledger can see it.
    NotObservable,
}

/// A table of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct FigureTable {
    /// Stable.
    pub id: String,
    /// For people.
    pub title: String,
    /// What each number counts.
    pub unit: &'static str,
    /// Headings.
    pub dimensions: Vec<&'static str>,
    /// The numbers.
    pub shown: Shown,
    /// Computed from another table's published numbers.
    pub derived: bool,
    /// Standard deviation of the noise on each number; 0: none.
    pub noise: f64,
}

/// A number made of published numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// Stable.
    pub id: &'static str,
    /// For people.
    pub title: String,
    /// Of the number.
    pub unit: &'static str,
    /// Absent where a number that it needs is not shown.
    pub value: Option<f64>,
}

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it is.
    pub spec: &'static Spec,
    /// Whether it is there.
    pub status: Status,
    /// What is missing.
    pub missing: String,
    /// Its tables.
    pub tables: Vec<FigureTable>,
    /// Its ratios.
    pub ratios: Vec<Ratio>,
}

/// A report.
#[derive(Clone, Debug)]
pub struct Report {
    /// The log.
    pub origin: String,
    /// The period, milliseconds since the Unix epoch; the end is not part of it.
    pub from_ms: u64,
    /// As above.
    pub to_ms: u64,
    /// When it was made, milliseconds since the Unix epoch.
    pub generated_at_ms: u64,
    /// Smaller groups are not shown.
    pub k: u64,
    /// Spent by this report; 0: no noise.
    pub epsilon: f64,
    /// Spent on overlapping periods, with this report.
    pub epsilon_spent: f64,
    /// The budget.
    pub epsilon_max: f64,
    /// Entries counted over.
    pub tree_size: u64,
    /// Earlier reports of other periods that overlap with this one.
    pub overlapping: u32,
    /// Position of the event that says that it was made.
    pub position: u64,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// Noise on every population of a report.
pub struct Noise<'a> {
    /// For the whole report.
    pub epsilon: f64,
    /// Unpredictable.
    pub bits: &'a mut dyn Bits,
}

/// What figures are made of.
pub struct Making<'a> {
    /// Everybody.
    pub tally: &'a Tally,
    /// Words with their tags.
    pub vocabulary: &'a Vocabulary,
    /// Smaller groups are not shown.
    pub k: u64,
    /// Releases a day that the controller declared as the limit.
    pub releases_a_day: Option<u64>,
}

/// The figures of these ids, in the catalogue's order; none named: all.
pub fn figures(making: &Making<'_>, ids: &[String], mut noise: Option<Noise<'_>>) -> Vec<Figure> {
    let asked = |spec: &&Spec| ids.is_empty() || ids.iter().any(|id| id == spec.id);
    let specs: Vec<&'static Spec> = catalogue::FIGURES.iter().filter(asked).collect();
    let populations = specs.iter().map(|spec| spec.bases.len()).sum::<usize>().max(1);
    let epsilon = noise.as_ref().map(|noise| noise.epsilon / as_number(populations as u64));
    let made = specs.into_iter().map(|spec| {
        let mut tables = BTreeMap::new();
        for base in spec.bases {
            let table = match (&mut noise, epsilon) {
                (Some(noise), Some(epsilon)) => making.noised(*base, epsilon, noise.bits),
                _ => making.exact(*base),
            };
            tables.insert(*base, table);
        }
        making.figure(spec, &tables, noise.is_some())
    });
    made.collect()
}

impl Making<'_> {
    fn exact(&self, base: Base) -> FigureTable {
        base_table(base, suppress(&self.tally.table(base), self.k), 0.0)
    }

    fn noised(&self, base: Base, epsilon: f64, bits: &mut dyn Bits) -> FigureTable {
        let bound = catalogue::population(base).bound;
        let known = self.known(base);
        let shown = noise::show_noised(&self.tally.table(base), &known, bound, epsilon, self.k, bits);
        base_table(base, shown, noise::deviation(noise::scales(bound, epsilon).0))
    }

    /// Rows that anybody can name without the data.
    fn known(&self, base: Base) -> BTreeSet<Labels> {
        match base {
            Base::Held | Base::UsedAttribute => {
                let sources = ["declared", "observed", "inferred"];
                let of = |id: &str| sources.map(|source| vec![id.to_owned(), source.to_owned()]);
                self.vocabulary.categories().flat_map(|category| of(&category.id)).collect()
            }
            Base::Decision => {
                let kinds = ["asked", "given", "refused", "renewed", "withdrawn"];
                let of = |id: &str| kinds.map(|kind| vec![kind.to_owned(), id.to_owned()]);
                self.vocabulary.purposes().flat_map(|purpose| of(&purpose.id)).collect()
            }
            Base::ErasedFact => {
                self.vocabulary.categories().map(|category| vec![category.id.clone()]).collect()
            }
            Base::Request => requests::rows().into_iter().collect(),
            _ => catalogue::order(base).into_iter().map(|label| vec![label.to_owned()]).collect(),
        }
    }

    fn figure(&self, spec: &'static Spec, tables: &BTreeMap<Base, FigureTable>, noised: bool) -> Figure {
        let mut figure = Figure {
            spec,
            status: Status::Available,
            missing: String::new(),
            tables: spec.bases.iter().filter_map(|base| tables.get(base)).cloned().collect(),
            ratios: Vec::new(),
        };
        match spec.id {
            "use" => self.of_use(&mut figure),
            "used-data" | "inferred" => self.of_facts(&mut figure),
            "consent" => of_consent(&mut figure),
            "bite" => of_bite(&mut figure),
            "homogenisation" => self.of_likeness(&mut figure, noised),
            "polarisation" => self.of_groups(&mut figure, noised),
            "reinforcement" => of_loops(&mut figure),
            "contests" => of_contests(&mut figure),
            "reach" => of_reach(&mut figure),
            "release" => self.of_release(&mut figure),
            "footprint" => of_footprint(&mut figure),
            "stopped" => of_stopped(&mut figure),
            "requests" => of_requests(&mut figure),
            "erasures" => self.of_erasures(&mut figure),
            "oversight" => self.of_oversight(&mut figure),
            "labour" => {
                figure.status = Status::NotObservable;
                figure.missing = spec.limits.to_owned();
            }
            _ => {}
        }
        figure
    }

    fn of_use(&self, figure: &mut Figure) {
        let Some(uses) = figure.tables.first().cloned() else { return };
        figure.tables.push(marginal(&uses, 0, "use-by-purpose", "Replies, by purpose"));
        figure.tables.push(marginal(&uses, 1, "use-by-recipient", "Replies, by recipient"));
        let first = |labels: &Labels| labels.first().cloned().unwrap_or_default();
        let rung = |labels: &Labels| {
            let rung = Rung::try_from(self.vocabulary.rung(&first(labels))).unwrap_or_default();
            vec![vec![word(rung.as_str_name(), "RUNG_").replace("unspecified", "not on the ladder")]]
        };
        figure.tables.push(regrouped(&uses, "use-by-rung", "By rung of the ladder of risk", "rung", rung));
        let tags = |labels: &Labels| owned(self.vocabulary.purpose_tags(&first(labels)));
        self.by_tags(figure, &uses, tags);
    }

    fn of_facts(&self, figure: &mut Figure) {
        let Some(facts) = figure.tables.first().cloned() else { return };
        let id = |what: &str| format!("{}-by-{what}", facts.id);
        figure.tables.push(marginal(&facts, 0, &id("category"), "By category"));
        figure.tables.push(marginal(&facts, 1, &id("provenance"), "By provenance"));
        if figure.spec.id == "used-data" {
            let first = |labels: &Labels| labels.first().cloned().unwrap_or_default();
            self.by_tags(figure, &facts, |labels| owned(self.vocabulary.category_tags(&first(labels))));
        }
        let source = |labels: &Labels| labels.get(1).is_some_and(|source| source == "inferred");
        figure.ratios.push(share("inferred-share", "Inferred, of all", &facts, source));
        let special = |labels: &Labels| labels.first().is_some_and(|id| self.vocabulary.is_special(id));
        figure.ratios.push(share(
            "special-share",
            "In special categories (GDPR Art. 9), of all",
            &facts,
            special,
        ));
    }

    /// Tables of risks and benefits. Rows overlap, so they have no total.
    fn by_tags(&self, figure: &mut Figure, base: &FigureTable, tags: impl Fn(&Labels) -> [Vec<Labels>; 2]) {
        for (at, kind) in ["risk", "benefit"].into_iter().enumerate() {
            let of = |labels: &Labels| tags(labels).get(at).cloned().unwrap_or_default();
            let id = format!("{}-by-{kind}", base.id);
            let mut table = regrouped(base, &id, &format!("By {kind} tag (rows overlap)"), kind, of);
            (table.shown.total, table.shown.others) = (None, None);
            figure.tables.push(table);
        }
        let carried = self.vocabulary.categories().any(|each| !each.risks.is_empty())
            || self.vocabulary.purposes().any(|each| !each.risks.is_empty());
        if !carried {
            figure.missing = "tags: the vocabulary in force carries none".to_owned();
        }
    }

    fn of_likeness(&self, figure: &mut Figure, noised: bool) {
        if noised {
            return without_noise(figure);
        }
        let found = self.tally.spread.concentrations(self.k);
        let row = |category: &String, value: f64| (vec![category.clone()], value);
        let unshared = self.tally.spread.unshared(self.k);
        let error = found.iter().map(|each| each.error).fold(0.0, f64::max);
        let rows = found.iter().map(|each| row(&each.category, each.top_share)).collect();
        figure.tables.push(measured(
            "top-share",
            "Share who hold the most common value",
            vec!["category"],
            rows,
        ));
        let rows = unshared.iter().map(|category| row(category, 0.0)).collect();
        let title = "Categories with at least k people in which no value is shared by k";
        figure.tables.push(measured("unshared", title, vec!["category"], rows));
        let title = "Shares may be too low by up to".to_owned();
        figure.ratios.push(Ratio { id: "error", title, unit: "share of people", value: Some(error) });
    }

    fn of_groups(&self, figure: &mut Figure, noised: bool) {
        if noised {
            return without_noise(figure);
        }
        let polarising = |id: &str| self.vocabulary.category_tags(id).0.contains("polarisation");
        let tagged = self.vocabulary.categories().any(|category| polarising(&category.id));
        let contested = |id: &str| if tagged { polarising(id) } else { self.vocabulary.is_special(id) };
        let found = self.tally.spread.divergences(self.k, contested);
        let rows = found.into_iter().map(|each| {
            (vec![each.category, each.dimension.to_owned(), each.groups.to_string()], each.divergence)
        });
        let dimensions = vec!["category", "groups by", "groups compared"];
        figure.tables.push(measured("divergence", "Divergence", dimensions, rows.collect()));
    }

    fn of_release(&self, figure: &mut Figure) {
        let Some(days) = figure.tables.first() else { return };
        let Some(limit) = self.releases_a_day else {
            figure.missing = "the tail: no limit is declared (`report.releases_a_day_declared`)".to_owned();
            return;
        };
        let above: Vec<&str> =
            RELEASE_BUCKETS.iter().skip_while(|(most, _)| *most <= limit).map(|(_, label)| *label).collect();
        let title = format!("Days with more than {limit} releases, of all days with any");
        let tail = |labels: &Labels| labels.first().is_some_and(|label| above.contains(&label.as_str()));
        figure.ratios.push(Ratio { title, ..share("tail", "", days, tail) });
    }

    fn of_erasures(&self, figure: &mut Figure) {
        let totals = &self.tally.totals;
        let whole = |id, title: &str, unit, count: u64| Ratio {
            id,
            title: title.to_owned(),
            unit,
            value: Some(as_number(count)),
        };
        figure.ratios.push(whole("erasures", "People erased", "erasures", totals.erasures));
        figure.ratios.push(whole("partial", "Erasures of a part", "erasures", totals.partial));
        figure.ratios.push(whole("discarded", "Entries destroyed", "entries", totals.discarded));
        let proofs = totals.proofs.iter().map(|position| (vec![position.to_string()], 1.0)).collect();
        let title = "Proofs, by position (`sayso proof POSITION`; the first hundred)";
        figure.tables.push(measured("proofs", title, vec!["position"], proofs));
    }

    fn of_oversight(&self, figure: &mut Figure) {
        let totals = &self.tally.totals;
        let views =
            totals.views.iter().map(|(method, count)| (vec![format!("looked: {method}")], as_number(*count)));
        let mut rows: Vec<(Labels, f64)> = views.collect();
        let (exports, open) = totals.exports;
        for (label, count) in [
            ("exports of the log", exports),
            ("of these with bodies open", open),
            ("transparency reports", totals.reports),
            ("acknowledgements by recipients", totals.acknowledged),
        ] {
            rows.push((vec![label.to_owned()], as_number(count)));
        }
        figure.tables.push(measured("oversight", "Events about nobody", vec!["event"], rows));
    }
}

/// Tags as rows: risks, benefits.
fn owned((risks, benefits): (BTreeSet<&str>, BTreeSet<&str>)) -> [Vec<Labels>; 2] {
    [risks, benefits].map(|tags| tags.into_iter().map(|tag| vec![tag.to_owned()]).collect())
}

fn base_table(base: Base, mut shown: Shown, noise: f64) -> FigureTable {
    let population = catalogue::population(base);
    let order = catalogue::order(base);
    let at =
        |labels: &Labels| order.iter().position(|label| labels.first().is_some_and(|first| first == label));
    if order.is_empty() {
        shown.rows.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    } else {
        shown.rows.sort_by_key(|(labels, _)| at(labels));
    }
    FigureTable {
        id: population.id.to_owned(),
        title: population.title.to_owned(),
        unit: population.unit,
        dimensions: population.dimensions.to_vec(),
        shown,
        derived: false,
        noise,
    }
}

/// Rows put together by one of their labels. What the base table counts as others stays that.
fn marginal(base: &FigureTable, dimension: usize, id: &str, title: &str) -> FigureTable {
    let key = |labels: &Labels| labels.get(dimension).into_iter().cloned().collect();
    regrouped(base, id, title, base.dimensions.get(dimension).copied().unwrap_or_default(), |labels| {
        vec![key(labels)]
    })
}

/// Rows put together by any number of words each.
fn regrouped(
    base: &FigureTable,
    id: &str,
    title: &str,
    dimension: &'static str,
    groups: impl Fn(&Labels) -> Vec<Labels>,
) -> FigureTable {
    let mut sums: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, value) in &base.shown.rows {
        for group in groups(labels) {
            *sums.entry(group).or_default() += value;
        }
    }
    let mut rows: Vec<(Labels, f64)> = sums.into_iter().collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let (id, title, derived) = (id.to_owned(), title.to_owned(), true);
    let shown = Shown { rows, ..base.shown.clone() };
    FigureTable { id, title, unit: base.unit, dimensions: vec![dimension], shown, derived, noise: base.noise }
}

/// Numbers that are no counts of people.
fn measured(id: &str, title: &str, dimensions: Vec<&'static str>, rows: Vec<(Labels, f64)>) -> FigureTable {
    let shown = Shown { rows, ..Shown::default() };
    let (id, title) = (id.to_owned(), title.to_owned());
    FigureTable { id, title, unit: "", dimensions, shown, derived: false, noise: 0.0 }
}

/// What the rows for which `which` holds are of the total; unknown where they may be among others.
fn share(id: &'static str, title: &str, table: &FigureTable, which: impl Fn(&Labels) -> bool) -> Ratio {
    let total = table.shown.total.filter(|total| *total > 0.0);
    let part = table.shown.sum(&which);
    let known = table.shown.others.is_none() || part > 0.0;
    let value = total.filter(|_| known).map(|total| part / total);
    Ratio {
        id,
        title: title.to_owned(),
        unit: if table.shown.others.is_some() { "share, at least" } else { "share" },
        value,
    }
}

/// Rows of one kind over rows of other kinds, as far as they are shown.
fn rate(
    id: &'static str,
    title: &str,
    table: &FigureTable,
    part: impl Fn(&str) -> bool,
    whole: impl Fn(&str) -> bool,
) -> Ratio {
    let first =
        |labels: &Labels, which: &dyn Fn(&str) -> bool| labels.first().is_some_and(|label| which(label));
    let part = table.shown.sum(|labels| first(labels, &part));
    let whole = table.shown.sum(|labels| first(labels, &whole));
    let known = table.shown.others.is_none() || part > 0.0;
    let value = (whole > 0.0 && known && !table.shown.suppressed).then(|| part / whole);
    Ratio {
        id,
        title: title.to_owned(),
        unit: if table.shown.others.is_some() { "ratio, of the rows shown" } else { "ratio" },
        value,
    }
}

fn without_noise(figure: &mut Figure) {
    figure.status = Status::NotAvailable;
    figure.missing = "can't be shown with noise".to_owned();
}

fn of_consent(figure: &mut Figure) {
    let Some(decisions) = figure.tables.first().cloned() else { return };
    let ratio = |id, title, part: &'static str, whole: [&'static str; 2]| {
        rate(id, title, &decisions, |label| label == part, |label| whole.contains(&label))
    };
    figure.ratios.push(ratio(
        "refusal-rate",
        "Refused, of given and refused",
        "refused",
        ["given", "refused"],
    ));
    figure.ratios.push(ratio(
        "withdrawal-rate",
        "Withdrawn, of given and renewed",
        "withdrawn",
        ["given", "renewed"],
    ));
    figure.tables.insert(1, marginal(&decisions, 0, "decisions-by-kind", "Decisions, by kind"));
}

fn of_bite(figure: &mut Figure) {
    let Some(standing) = figure.tables.get(1) else { return };
    let late = |labels: &Labels| labels.first().is_some_and(|label| label == "after it had fallen");
    let ratio = share("late-share", "Replies reported after their grant had fallen, of all", standing, late);
    figure.ratios.push(ratio);
}

fn of_loops(figure: &mut Figure) {
    let Some(inferences) = figure.tables.first() else { return };
    let ratio = rate(
        "self-reinforcement",
        "Drawn from replies that the same fact had shaped, of those that name a reply",
        inferences,
        |label| label == "replies that the same fact had shaped",
        |label| label != "no reply named",
    );
    figure.ratios.push(ratio);
    if inferences
        .shown
        .rows
        .iter()
        .all(|(labels, _)| labels.first().is_some_and(|label| label == "no reply named"))
    {
        figure.missing = "the ratio: no inference shown names the replies that it was drawn from".to_owned();
    }
}

fn of_contests(figure: &mut Figure) {
    let Some(contests) = figure.tables.first() else { return };
    let ratio = rate(
        "success-ratio",
        "Corrected or removed, of contested",
        contests,
        |label| label == "corrected or removed after it",
        |label| label == "contested",
    );
    figure.ratios.push(ratio);
}

fn of_reach(figure: &mut Figure) {
    let Some(people) = figure.tables.first().cloned() else { return };
    let used = |labels: &Labels| labels.get(2).is_some_and(|reach| reach == "replies personalised");
    figure.ratios.push(share(
        "personalised-share",
        "People with personalised replies, of all",
        &people,
        used,
    ));
    figure.tables.insert(1, marginal(&people, 2, "reach-by-reach", "By reach"));
    figure.tables.insert(2, marginal(&people, 0, "reach-by-place", "People, by jurisdiction"));
    figure.tables.insert(3, marginal(&people, 1, "reach-by-age", "People, by age band"));
    let said = |(labels, _): &(Labels, f64)| labels.iter().take(2).any(|label| label != NOT_SAID);
    if !people.shown.rows.iter().any(said) {
        figure.missing = "jurisdiction and age band: the log says them of no group that is shown".to_owned();
    }
}

fn of_footprint(figure: &mut Figure) {
    let Some(built) = figure.tables.iter().find(|table| table.id == "artifacts") else { return };
    let some = |(labels, _): &(Labels, f64)| labels.iter().any(|label| label != NO_ARTIFACT);
    if !built.shown.suppressed && built.shown.others.is_none() && !built.shown.rows.iter().any(some) {
        figure.missing = "artefacts: none stood in this log when the period ended".to_owned();
    }
}

fn of_stopped(figure: &mut Figure) {
    let Some(withheld) = figure.tables.first().cloned() else { return };
    figure.tables.insert(1, marginal(&withheld, 0, "withheld-by-tier", "Withheld, by tier"));
    figure.tables.insert(2, marginal(&withheld, 2, "withheld-by-reason", "Withheld, by reason"));
}

fn of_requests(figure: &mut Figure) {
    let Some(steps) = figure.tables.first().cloned() else { return };
    figure.tables.insert(1, marginal(&steps, 0, "requests-by-kind", "Steps, by kind of request"));
    figure.tables.insert(2, marginal(&steps, 1, "requests-by-step", "Requests, by step"));
}
