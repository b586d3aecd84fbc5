//! Makes the figures of a report from populations (sets of counted things, such as all replies). Each
//! population is shown in one table. Every other number about the population is computed from what this table
//! shows.

use super::amount::Amount;
use super::catalog::{self, Derivation, FigureSpec};
use super::derived::{first, marginal, measured, population_table, rate, regrouped, share};
use super::figure::{Figure, FigureTable, Ratio, Status, TableForm};
use super::labels::{
    CONTESTED, DECISIONS, GIVEN, GRANT_REVOKED, NO_ARTIFACT, NO_REPLY, NOT_RECORDED, PERSONALIZED, REFUSED,
    RELEASE_BUCKETS, RENEWED, RESOLVED, SAME_ATTRIBUTE, WITHDRAWN, provenance, word,
};
use super::noise::{self, Bits};
use super::populations;
use super::requests;
use super::suppress::{as_number, suppress};
use super::table::{Labels, Population};
use super::tally::Tally;
use crate::domain::event::Provenance;
use crate::domain::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};

/// Tag of categories on which groups are compared.
const CONTESTED_TAG: &str = "polarisation";

/// Noise on every population of a report.
pub struct Noise<'a> {
    /// Privacy budget of the whole report.
    pub epsilon: f64,
    /// Unpredictable bits.
    pub bits: &'a mut dyn Bits,
}

/// What figures are computed from.
pub struct FigureInput<'a> {
    /// The counts.
    pub tally: &'a Tally,
    /// The vocabulary in force, with its tags.
    pub vocabulary: &'a Vocabulary,
    /// Groups of fewer people are not shown.
    pub k: u64,
    /// The limit of releases a day that the controller declared.
    pub releases_a_day: Option<u64>,
}

/// Makes the figures with these ids, in the catalog's order; all of them if no ids are given.
pub fn figures(input: &FigureInput<'_>, ids: &[String], mut noise: Option<Noise<'_>>) -> Vec<Figure> {
    let is_requested = |spec: &&FigureSpec| ids.is_empty() || ids.iter().any(|id| id == spec.id);
    let specs: Vec<&'static FigureSpec> = catalog::FIGURES.iter().filter(is_requested).collect();
    let populations = specs.iter().map(|spec| spec.populations.len()).sum::<usize>().max(1);
    let epsilon = noise.as_ref().map(|noise| noise.epsilon / as_number(populations as u64));
    let figures = specs.into_iter().map(|spec| {
        let mut tables = BTreeMap::new();
        for population in spec.populations {
            let table = match (&mut noise, epsilon) {
                (Some(noise), Some(epsilon)) => input.with_noise(*population, epsilon, noise.bits),
                _ => input.exact(*population),
            };
            tables.insert(*population, table);
        }
        let figure = input.figure(spec, &tables, noise.is_some());
        Figure { tables: figure.tables.into_iter().map(FigureTable::without_noise_only).collect(), ..figure }
    });
    figures.collect()
}

impl FigureInput<'_> {
    fn exact(&self, population: Population) -> FigureTable {
        population_table(population, suppress(&self.tally.table(population), self.k), 0.0)
    }

    fn with_noise(&self, population: Population, epsilon: f64, bits: &mut dyn Bits) -> FigureTable {
        let limit = populations::population(population).limit;
        let known = self.known_rows(population);
        let shown = noise::show_noised(&self.tally.table(population), &known, limit, epsilon, self.k, bits);
        population_table(population, shown, noise::deviation(noise::scales(limit, epsilon).0))
    }

    /// Rows that anyone can name without seeing the data.
    fn known_rows(&self, population: Population) -> BTreeSet<Labels> {
        match population {
            Population::StoredAttributes | Population::UsedAttributes => {
                let provenances = [Provenance::Declared, Provenance::Observed, Provenance::Inferred];
                let rows =
                    |id: &str| provenances.map(|each| vec![id.to_owned(), provenance(each).to_owned()]);
                self.vocabulary.categories().flat_map(|category| rows(&category.id)).collect()
            }
            Population::Decisions => {
                let rows = |id: &str| DECISIONS.map(|decision| vec![decision.to_owned(), id.to_owned()]);
                self.vocabulary.purposes().flat_map(|purpose| rows(&purpose.id)).collect()
            }
            Population::ErasedAttributes => {
                self.vocabulary.categories().map(|category| vec![category.id.clone()]).collect()
            }
            Population::Requests => requests::rows().into_iter().collect(),
            _ => {
                populations::label_order(population).into_iter().map(|label| vec![label.to_owned()]).collect()
            }
        }
    }

    fn figure(
        &self,
        spec: &'static FigureSpec,
        tables: &BTreeMap<Population, FigureTable>,
        has_noise: bool,
    ) -> Figure {
        let mut figure = Figure {
            spec,
            status: Status::Available,
            missing: String::new(),
            tables: spec
                .populations
                .iter()
                .filter_map(|population| tables.get(population))
                .cloned()
                .collect(),
            ratios: Vec::new(),
        };
        match spec.derivation {
            Derivation::None => {}
            Derivation::Replies => self.derive_replies(&mut figure),
            Derivation::UsedAttributes => {
                self.derive_attributes(&mut figure);
                self.derive_attribute_tags(&mut figure);
            }
            Derivation::StoredAttributes => self.derive_attributes(&mut figure),
            Derivation::Consent => derive_consent(&mut figure),
            Derivation::RevocationDelays => derive_revocation_delays(&mut figure),
            Derivation::Concentration | Derivation::Divergence if has_noise => {
                unavailable_with_noise(&mut figure)
            }
            Derivation::Concentration => self.derive_concentration(&mut figure),
            Derivation::Divergence => self.derive_divergence(&mut figure),
            Derivation::Inferences => derive_inferences(&mut figure),
            Derivation::Contests => derive_contests(&mut figure),
            Derivation::Reach => derive_reach(&mut figure),
            Derivation::Releases => self.derive_releases(&mut figure),
            Derivation::Footprint => derive_footprint(&mut figure),
            Derivation::Withheld => derive_withheld(&mut figure),
            Derivation::Requests => derive_requests(&mut figure),
            Derivation::Erasures => self.derive_erasures(&mut figure),
            Derivation::Oversight => self.derive_oversight(&mut figure),
            Derivation::NotObservable => {
                figure.status = Status::NotObservable;
                figure.missing = spec.limits.to_owned();
            }
        }
        figure
    }

    fn derive_replies(&self, figure: &mut Figure) {
        let Some(replies) = figure.tables.first().cloned() else { return };
        figure.tables.push(marginal(&replies, 0, "use-by-purpose", "Replies, by purpose"));
        figure.tables.push(marginal(&replies, 1, "use-by-recipient", "Replies, by recipient"));
        let rung = |labels: &Labels| {
            let rung = self.vocabulary.rung(first(labels));
            vec![vec![word(rung.as_str_name(), "RUNG_").replace("unspecified", "not on the ladder")]]
        };
        let title = "By rung of the ladder of risk";
        figure.tables.push(regrouped(&replies, "use-by-rung", title, "rung", rung));
        let tags = |labels: &Labels| tag_rows(self.vocabulary.purpose_tags(first(labels)));
        self.derive_tags(figure, &replies, tags);
    }

    fn derive_attributes(&self, figure: &mut Figure) {
        let Some(attributes) = figure.tables.first().cloned() else { return };
        let id = |dimension: &str| format!("{}-by-{dimension}", attributes.id);
        figure.tables.push(marginal(&attributes, 0, &id("category"), "By category"));
        figure.tables.push(marginal(&attributes, 1, &id("provenance"), "By provenance"));
        let is_inferred =
            |labels: &Labels| labels.get(1).is_some_and(|label| label == provenance(Provenance::Inferred));
        figure.ratios.push(share("inferred-share", "Inferred, of all", &attributes, is_inferred));
        let is_special = |labels: &Labels| self.vocabulary.is_special(first(labels));
        let title = "In special categories (GDPR Art. 9), of all";
        figure.ratios.push(share("special-share", title, &attributes, is_special));
    }

    fn derive_attribute_tags(&self, figure: &mut Figure) {
        let Some(attributes) = figure.tables.first().cloned() else { return };
        let tags = |labels: &Labels| tag_rows(self.vocabulary.category_tags(first(labels)));
        self.derive_tags(figure, &attributes, tags);
    }

    /// Adds tables by risk and by benefit tag. Their rows overlap, so they have no total.
    fn derive_tags(
        &self,
        figure: &mut Figure,
        base: &FigureTable,
        tags: impl Fn(&Labels) -> [Vec<Labels>; 2],
    ) {
        for (place, kind) in ["risk", "benefit"].into_iter().enumerate() {
            let rows = |labels: &Labels| tags(labels).get(place).cloned().unwrap_or_default();
            let id = format!("{}-by-{kind}", base.id);
            let mut table = regrouped(base, &id, &format!("By {kind} tag (rows overlap)"), kind, rows);
            (table.shown.total, table.shown.others) = (None, None);
            figure.tables.push(table);
        }
        let has_tags = self.vocabulary.categories().any(|category| !category.risks.is_empty())
            || self.vocabulary.purposes().any(|purpose| !purpose.risks.is_empty());
        if !has_tags {
            figure.missing = "tags: the vocabulary in force has none".to_owned();
        }
    }

    fn derive_concentration(&self, figure: &mut Figure) {
        let found = self.tally.spread.concentrations(self.k);
        let error = found.iter().map(|each| each.error).fold(0.0, f64::max);
        let rows = found.into_iter().map(|each| (vec![each.category], each.top_share)).collect();
        let title = "Share with the most common value";
        figure.tables.push(measured("top-share", title, TableForm::Fractions, vec!["category"], rows));
        let unshared = self.tally.spread.unshared(self.k).into_iter();
        let rows = unshared.map(|category| (vec![category], 0.0)).collect();
        let title = "Categories with at least k people in which fewer than k share a value";
        figure.tables.push(measured("unshared", title, TableForm::List, vec!["category"], rows));
        let title = "Shares may be too low by up to".to_owned();
        figure.ratios.push(Ratio::exact("error", title, "share of people", error));
    }

    fn derive_divergence(&self, figure: &mut Figure) {
        let has_tag = |id: &str| self.vocabulary.category_tags(id).0.contains(CONTESTED_TAG);
        let is_tag_used = self.vocabulary.categories().any(|category| has_tag(&category.id));
        let is_contested = |id: &str| if is_tag_used { has_tag(id) } else { self.vocabulary.is_special(id) };
        let found = self.tally.spread.divergences(self.k, is_contested);
        let rows = found.into_iter().map(|each| {
            (vec![each.category, each.dimension.to_owned(), each.groups.to_string()], each.divergence)
        });
        let dimensions = vec!["category", "groups by", "groups compared"];
        let rows = rows.collect();
        figure.tables.push(measured("divergence", "Divergence", TableForm::Fractions, dimensions, rows));
    }

    fn derive_releases(&self, figure: &mut Figure) {
        let Some(days) = figure.tables.first() else { return };
        let Some(limit) = self.releases_a_day else {
            figure.missing = "the tail: no limit is configured (`report.releases_a_day_declared`)".to_owned();
            return;
        };
        let buckets = RELEASE_BUCKETS.iter().skip_while(|bucket| bucket.max <= limit);
        let above: Vec<&str> = buckets.map(|bucket| bucket.label).collect();
        let title = format!("Days with more than {limit} releases, of all days with any");
        let is_above = |labels: &Labels| above.contains(&first(labels));
        figure.ratios.push(share("tail", &title, days, is_above));
    }

    fn derive_erasures(&self, figure: &mut Figure) {
        let totals = &self.tally.totals;
        let total =
            |id, title: &str, unit, count: u64| Ratio::exact(id, title.to_owned(), unit, as_number(count));
        figure.ratios.push(total("erasures", "People erased", "erasures", totals.erasures));
        figure.ratios.push(total("partial", "Partial erasures", "erasures", totals.partial));
        figure.ratios.push(total("discarded", "Entries destroyed", "entries", totals.discarded));
        let proofs = totals.proofs.iter().map(|position| (vec![position.to_string()], 1.0)).collect();
        let title = "Proofs, by position (`sayso proof POSITION`; the first hundred)";
        figure.tables.push(measured("proofs", title, TableForm::List, vec!["position"], proofs));
    }

    fn derive_oversight(&self, figure: &mut Figure) {
        let totals = &self.tally.totals;
        let views = totals.views.iter();
        let mut rows: Vec<(Labels, f64)> =
            views.map(|(method, count)| (vec![format!("views: {method}")], as_number(*count))).collect();
        for (label, count) in [
            ("exports of the log", totals.exports),
            ("exports with bodies in the clear", totals.open_exports),
            ("transparency reports", totals.reports),
            ("acknowledgments by recipients", totals.acknowledged),
        ] {
            rows.push((vec![label.to_owned()], as_number(count)));
        }
        let table = measured("oversight", "System events", TableForm::Counts, vec!["event"], rows);
        figure.tables.push(table);
    }
}

/// Risk tags and benefit tags as rows.
fn tag_rows((risks, benefits): (BTreeSet<&str>, BTreeSet<&str>)) -> [Vec<Labels>; 2] {
    [risks, benefits].map(|tags| tags.into_iter().map(|tag| vec![tag.to_owned()]).collect())
}

fn unavailable_with_noise(figure: &mut Figure) {
    figure.status = Status::NotAvailable;
    figure.missing = "can't be shown with noise".to_owned();
}

fn derive_consent(figure: &mut Figure) {
    let Some(decisions) = figure.tables.first().cloned() else { return };
    let ratio = |id, title, part: &'static str, whole: [&'static str; 2]| {
        rate(id, title, &decisions, |label| label == part, |label| whole.contains(&label))
    };
    let refusals = ratio("refusal-rate", "Refused, of given and refused", REFUSED, [GIVEN, REFUSED]);
    let withdrawals =
        ratio("withdrawal-rate", "Withdrawn, of given and renewed", WITHDRAWN, [GIVEN, RENEWED]);
    figure.ratios.extend([refusals, withdrawals]);
    figure.tables.insert(1, marginal(&decisions, 0, "decisions-by-kind", "Decisions, by kind"));
}

fn derive_revocation_delays(figure: &mut Figure) {
    let Some(status) = figure.tables.get(1) else { return };
    let is_late = |labels: &Labels| first(labels) == GRANT_REVOKED;
    let title = "Replies reported after their grant had been revoked, of all";
    figure.ratios.push(share("late-share", title, status, is_late));
}

fn derive_inferences(figure: &mut Figure) {
    let Some(inferences) = figure.tables.first() else { return };
    let title = "Drawn from replies shaped by the same attribute, of those that name a reply";
    let names_reply = |label: &str| label != NO_REPLY;
    let ratio = rate("self-reinforcement", title, inferences, |label| label == SAME_ATTRIBUTE, names_reply);
    if !inferences.shown.rows.iter().any(|(labels, _)| names_reply(first(labels))) {
        figure.missing = "the ratio: no inference shown names the replies that it was drawn from".to_owned();
    }
    figure.ratios.push(ratio);
}

fn derive_contests(figure: &mut Figure) {
    let Some(contests) = figure.tables.first() else { return };
    let title = "Corrected or removed, of contested";
    let is_contested = |label: &str| label == CONTESTED;
    figure.ratios.push(rate("success-ratio", title, contests, |label| label == RESOLVED, is_contested));
}

fn derive_reach(figure: &mut Figure) {
    let Some(people) = figure.tables.first().cloned() else { return };
    let is_reached = |labels: &Labels| labels.get(2).is_some_and(|reach| reach == PERSONALIZED);
    let title = "People with personalized replies, of all";
    figure.ratios.push(share("personalised-share", title, &people, is_reached));
    figure.tables.insert(1, marginal(&people, 2, "reach-by-reach", "By reach"));
    figure.tables.insert(2, marginal(&people, 0, "reach-by-place", "People, by jurisdiction"));
    figure.tables.insert(3, marginal(&people, 1, "reach-by-age", "People, by age band"));
    let is_recorded =
        |(labels, _): &(Labels, Amount)| labels.iter().take(2).any(|label| label != NOT_RECORDED);
    if !people.shown.rows.iter().any(is_recorded) {
        figure.missing = "jurisdiction and age band: the log has them of no group that is shown".to_owned();
    }
}

fn derive_footprint(figure: &mut Figure) {
    let Some(artifacts) = figure.tables.get(1).map(|table| &table.shown) else { return };
    let has_some = |(labels, _): &(Labels, Amount)| labels.iter().any(|label| label != NO_ARTIFACT);
    if !artifacts.suppressed && artifacts.others.is_none() && !artifacts.rows.iter().any(has_some) {
        figure.missing = "artifacts: none was valid in this log when the period ended".to_owned();
    }
}

fn derive_withheld(figure: &mut Figure) {
    let Some(withheld) = figure.tables.first().cloned() else { return };
    figure.tables.insert(1, marginal(&withheld, 0, "withheld-by-tier", "Withheld, by tier"));
    figure.tables.insert(2, marginal(&withheld, 2, "withheld-by-reason", "Withheld, by reason"));
}

fn derive_requests(figure: &mut Figure) {
    let Some(steps) = figure.tables.first().cloned() else { return };
    figure.tables.insert(1, marginal(&steps, 0, "requests-by-kind", "Steps, by kind of request"));
    figure.tables.insert(2, marginal(&steps, 1, "requests-by-step", "Requests, by step"));
}
