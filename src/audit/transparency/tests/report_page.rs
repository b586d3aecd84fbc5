//! Tests of the texts of figures, and of the page that shows them.

use super::*;

#[test]
fn every_figure_has_its_texts_and_a_unique_id() {
    let mut ids = BTreeSet::new();
    let mut populations = BTreeSet::new();
    for spec in FIGURES {
        assert!(ids.insert(spec.id), "{}", spec.id);
        assert!([spec.title, spec.definition, spec.limits, spec.paper].iter().all(|text| !text.is_empty()));
        // Each population is shown once.
        assert!(spec.populations.iter().all(|population| populations.insert(*population)), "{}", spec.id);
    }
}

#[test]
fn the_docs_contain_the_texts_of_every_figure() {
    let docs = include_str!("../../../../docs/transparency-report.md");
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let docs = plain(docs);
    for spec in FIGURES {
        assert!(docs.contains(&format!("`{}`", spec.id)), "{}", spec.id);
        for text in [spec.title, spec.definition, spec.limits, spec.paper] {
            assert!(docs.contains(&plain(text)), "{}: {text}", spec.id);
        }
    }
}

#[test]
fn the_page_has_no_external_resources_and_describes_its_charts_for_screen_readers() {
    let mut tally = Tally::new([3; 32], Contributions::Full);
    let steps = [Step::Record(1, true), Step::Grant(true), Step::Use(0, 2)].map(|step| (step, 5));
    for _ in 0..12 {
        tally.add_subject(&counted(&history(&steps), 0, DAYS));
    }
    let vocabulary = default_vocabulary();
    let input = FigureInput { tally: &tally, vocabulary: &vocabulary, k: 10, releases_a_day: None };
    let report = Report {
        origin: "sayso.localhost/<b>dev".into(),
        from_ms: 0,
        to_ms: DAYS * DAY_MS,
        generated_at_ms: 0,
        k: 10,
        epsilon: 0.0,
        epsilon_spent: 0.0,
        epsilon_max: 4.0,
        tree_size: 40,
        overlapping: 0,
        position: 40,
        summary: summary(&figures(&input, &[], None)),
        figures: figures(&input, &[], None),
    };
    let page = page(&report);
    for foreign in ["<script", "http://", "https://", "<b>dev", "url(", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!page.contains(">-0"));
    let (summary, nav) = (page.find("id=\"summary\"").unwrap(), page.find("<nav").unwrap());
    assert!(summary < nav && page[..summary].contains("<h1>") && !page[..summary].contains("<h2"));
    let charts = page.matches("<svg").count();
    assert!(charts > 8);
    assert_eq!(page.matches("<title id=").count(), charts);
    assert_eq!(page.matches("<desc id=").count(), charts);
    let ids: Vec<&str> = page.split("id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let unique: BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
}
