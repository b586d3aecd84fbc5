//! The transparency report over real data: its figures match a second count from the events that the API
//! returned, small groups are suppressed, and the reports stay within the privacy budget.

mod activity;
mod recount;

pub use recount::labels;

use crate::harness::{self, Clients, Harness, facts};
use sayso::proto::event_body::Event;
use sayso::proto::get_transparency_report_response::Frame;
use sayso::proto::{self, Role};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;

const ERASED: &str = "47-james";
const K: u32 = 5;
const DAY_S: i64 = 86_400;

/// Rows of a table by their labels. Each row has the data subjects that count in it, and a value.
pub type Rows = BTreeMap<Vec<String>, (BTreeSet<String>, u64)>;
type Histories = BTreeMap<String, Vec<proto::RecordedEvent>>;

fn subjects() -> Vec<String> {
    let text = std::fs::read_to_string(facts()).unwrap();
    let subject = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["subject"].as_str().unwrap().to_owned()
    };
    text.lines().map(subject).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Yesterday, today and tomorrow, so that the test may run over midnight.
fn period() -> (prost_types::Timestamp, prost_types::Timestamp) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today = i64::try_from(now.as_secs()).unwrap() / DAY_S * DAY_S;
    let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
    (at(today - DAY_S), at(today + 2 * DAY_S))
}

pub fn request() -> proto::GetTransparencyReportRequest {
    let (from, to) = period();
    proto::GetTransparencyReportRequest { from: Some(from), to: Some(to), k: K, ..Default::default() }
}

pub async fn report(
    clients: &mut Clients,
    request: proto::GetTransparencyReportRequest,
) -> Result<proto::TransparencyReport, tonic::Status> {
    let mut frames = clients.audit.get_transparency_report(request).await?.into_inner();
    let mut seen = Vec::new();
    while let Some(frame) = frames.message().await? {
        seen.push(frame.frame.unwrap());
    }
    assert!(matches!(seen[0], Frame::Progress(_)));
    match seen.pop() {
        Some(Frame::Report(report)) => Ok(report),
        other => panic!("{other:?}"),
    }
}

async fn budget(
    clients: &mut Clients,
    request: proto::GetTransparencyReportRequest,
) -> Result<proto::ReportBudget, tonic::Status> {
    let request = proto::GetTransparencyReportRequest { budget_only: true, ..request };
    let mut frames = clients.audit.get_transparency_report(request).await?.into_inner();
    let only = frames.message().await?.unwrap().frame.unwrap();
    assert!(frames.message().await?.is_none());
    match only {
        Frame::Budget(budget) => Ok(budget),
        other => panic!("{other:?}"),
    }
}

fn figure<'a>(report: &'a proto::TransparencyReport, id: &str) -> &'a proto::Figure {
    report.figures.iter().find(|figure| figure.id == id).unwrap_or_else(|| panic!("{id}"))
}

fn table<'a>(report: &'a proto::TransparencyReport, id: &str) -> &'a proto::FigureTable {
    let mut tables = report.figures.iter().flat_map(|figure| &figure.tables);
    tables.find(|table| table.id == id).unwrap_or_else(|| panic!("{id}"))
}

pub fn ratio(report: &proto::TransparencyReport, id: &str) -> Option<f64> {
    let mut ratios = report.figures.iter().flat_map(|figure| &figure.ratios);
    ratios.find(|ratio| ratio.id == id).unwrap_or_else(|| panic!("{id}")).value
}

pub async fn history(steward: &mut Clients, subject: &str) -> Vec<proto::RecordedEvent> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListEventsRequest { subject: subject.into(), page_size: 400, page_token };
        let page = steward.profile.list_events(request).await.unwrap().into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return events;
        }
    }
}

/// Asserts that a table shows the expected values, that no row has fewer than k subjects, and that it hides
/// no more rows than it must.
pub fn assert_shows(report: &proto::TransparencyReport, id: &str, expected: &Rows) {
    let table = table(report, id);
    let k = K as usize;
    let all_subjects: BTreeSet<&String> = expected.values().flat_map(|(subjects, _)| subjects).collect();
    assert_eq!(table.suppressed, !all_subjects.is_empty() && all_subjects.len() < k, "{id}");
    if table.suppressed {
        assert!(table.rows.is_empty() && table.total.is_none() && table.others.is_none());
        return;
    }
    let mut shown_sum = 0.0;
    for row in &table.rows {
        let (subjects, count) = expected.get(&row.labels).unwrap_or_else(|| panic!("{id}: {:?}", row.labels));
        assert!(subjects.len() >= k, "{id}: {:?} shows {}", row.labels, subjects.len());
        assert!((row.value - *count as f64).abs() < 1e-9, "{id}: {:?} {} {count}", row.labels, row.value);
        shown_sum += row.value;
    }
    let total = expected.values().map(|(_, count)| *count).sum::<u64>() as f64;
    assert_eq!(table.total, Some(total), "{id}");
    let (large, small) = expected.values().partition::<Vec<_>, _>(|(subjects, _)| subjects.len() >= k);
    let rows_expected = if small.is_empty() { large.len() } else { large.len().saturating_sub(1) };
    assert_eq!(table.rows.len(), rows_expected, "{id}");
    assert_eq!(table.others, (!small.is_empty()).then_some(total - shown_sum), "{id}");
}

/// Starts a daemon; `differences_allowed` permits exact reports of overlapping and unfinished periods.
pub async fn start_reporting(dir: tempfile::TempDir, differences_allowed: bool) -> Harness {
    let mut config = harness::config(dir.path());
    config.report.differences_allowed = differences_allowed;
    let daemon = sayso::daemon::Daemon::start(&config).await.unwrap();
    Harness { dir, daemon }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_match_a_second_count_from_the_events() {
    // Reports of an unfinished day can be subtracted from each other; this configuration allows them.
    let harness = start_reporting(tempfile::tempdir().unwrap(), true).await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    activity::run_day(&harness, &mut steward).await;
    let mut histories = Histories::new();
    for subject in subjects().iter().filter(|subject| *subject != ERASED) {
        histories.insert(subject.clone(), history(&mut steward, subject).await);
    }
    assert_eq!(histories.len(), 9);
    let report = report(&mut steward, request()).await.unwrap();

    for (id, expected) in ["use", "used-data", "disclosure", "standing"].iter().zip(recount::uses(&histories))
    {
        assert!(!expected.is_empty(), "{id}");
        assert_shows(&report, id, &expected);
    }
    assert_shows(&report, "stored", &recount::current_attributes(&histories));
    assert_shows(&report, "decisions", &recount::decisions(&histories));
    assert_shows(&report, "contests", &recount::contests(&histories));
    assert_shows(&report, "loops", &recount::feedback_loops(&histories));
    let expected = recount::feedback_loops(&histories);
    let of = |from: &str| expected[&labels(&[from])].1 as f64;
    let shaped = of("replies shaped by the same attribute");
    let expected = shaped / (shaped + of("other replies"));
    assert!(expected > 0.0 && (ratio(&report, "self-reinforcement").unwrap() - expected).abs() < 1e-9);
    // Inferences in special categories were refused.
    assert!(!recount::refused_recordings(&histories).is_empty());
    assert_shows(&report, "refused-recordings", &recount::refused_recordings(&histories));
    assert_shows(&report, "bite", &recount::revocation_delays(&histories));
    assert!(recount::requests(&histories).len() >= 6 && recount::artifacts(&histories).len() >= 3);
    assert_shows(&report, "requests", &recount::requests(&histories));
    assert_shows(&report, "request-ages", &recount::request_ages(&histories));
    assert_shows(&report, "artifacts", &recount::artifacts(&histories));
    assert_shows(&report, "bytes", &recount::entry_sizes(&harness, &histories).await);
    for (id, expected) in ["asked", "withheld"].iter().zip(recount::requested_and_withheld(&histories)) {
        assert_shows(&report, id, &expected);
    }
    for (id, expected) in ["reach", "release-days"].iter().zip(recount::reach_and_days(&histories)) {
        assert_shows(&report, id, &expected);
    }
    assert_ratios(&report, &recount::contests(&histories));
    // No subject's id, key or value is anywhere in the report.
    let text = format!("{report:?}");
    for subject in subjects() {
        assert!(!text.contains(&subject));
    }
    assert!(!text.contains("memory/s"));
    assert_logged(&harness, &report).await;
    assert_commands_write_pages(&harness);
}

fn assert_ratios(report: &proto::TransparencyReport, contests: &Rows) {
    let expected = contests;
    let of = |step: &str| expected[&labels(&[step])].1 as f64;
    let success = of("corrected or removed after a contest") / of("contested");
    assert!((ratio(report, "success-ratio").unwrap() - success).abs() < 1e-9);
    // The erased subject appears only in totals: one erasure is too few for a row.
    assert_eq!((ratio(report, "erasures"), ratio(report, "partial")), (Some(1.0), Some(0.0)));
    assert!(ratio(report, "discarded").unwrap() > 100.0);
    assert!(table(report, "erasure-spans").suppressed);
    // Completed erasures have no counts by category.
    assert!(table(report, "erased-facts").rows.is_empty());
    // No two subjects have a text with the same words.
    let homogenization = figure(report, "homogenisation");
    assert!(homogenization.tables[0].rows.is_empty() && !homogenization.tables[1].rows.is_empty());
    assert_eq!(figure(report, "labour").status(), proto::FigureStatus::NotObservable);
}

/// Asserts that the report is recorded in the log.
async fn assert_logged(harness: &Harness, report: &proto::TransparencyReport) {
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let request = proto::GetEntryRequest { position: report.position };
    let entry = auditor.audit.get_entry(request).await.unwrap().into_inner().entry;
    let entry = sayso_proof::entry::Entry::parse(&entry).unwrap();
    let body = entry.plain_body().unwrap().unwrap();
    let Some(Event::FiguresReported(figures)) = body.event else { panic!("{body:?}") };
    assert_eq!((figures.k, figures.name.as_str(), figures.epsilon), (K, "privacy-team", 0.0));
    assert_eq!(figures.role(), Role::Steward);
}

/// Asserts that `sayso report` and `sayso record-of-processing` print JSON and write HTML pages.
fn assert_commands_write_pages(harness: &Harness) {
    let (from, to) = period();
    let day = |time: prost_types::Timestamp| sayso::domain::wording::time(time.seconds as u64 * 1000);
    let page = harness.dir.path().join("report.html");
    let (from, to, file) = (day(from), day(to), page.to_str().unwrap());
    let command = ["--json", "report", "--from", &from, "--to", &to, "--k", "5", "-o", file];
    let json = harness::json(&harness.cli(Role::Auditor, "auditor", &command));
    assert_eq!(json["figures"].as_array().unwrap().len(), 18);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && !html.contains("<script") && !html.contains(ERASED));
    let text = harness::stdout(&harness.cli(Role::Steward, "privacy-team", &command[1..8]));
    assert!(text.contains("WHO GETS PERSONALIZATION AT ALL") && text.contains("not observable"), "{text}");
    if let Ok(folder) = std::env::var("SAYSO_KEEP_PAGES") {
        std::fs::copy(&page, format!("{folder}/report.html")).unwrap();
    }

    let record = harness.dir.path().join("record.html");
    let command = ["--json", "record-of-processing", "-o", record.to_str().unwrap()];
    let json = harness::json(&harness.cli(Role::Auditor, "auditor", &command));
    let names: Vec<&str> =
        json["recipients"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["coach", "tutor"]);
    let used = json["categories"].as_array().unwrap().iter().filter(|each| each["stored"] == true).count();
    assert!(used >= 8, "{used} categories with attributes");
    assert!(!json["securityMeasures"].as_array().unwrap().is_empty());
    assert!(json["gaps"].as_array().unwrap().iter().any(|gap| gap.as_str().unwrap().contains("(f)")));
    let html = std::fs::read_to_string(&record).unwrap();
    assert!(html.contains("Art. 30(1)") && !html.contains("<script"));
    if let Ok(folder) = std::env::var("SAYSO_KEEP_PAGES") {
        std::fs::copy(&record, format!("{folder}/record.html")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_require_a_steward_or_auditor_and_stay_within_the_privacy_budget() {
    let harness = Harness::start().await;
    for role in [Role::Service, Role::Subject, Role::Authority, Role::Operator] {
        let mut clients = harness.as_role(role, "caller").await;
        let refused = clients.audit.get_transparency_report(request()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{role:?}");
        let refused = clients.audit.get_record_of_processing(proto::GetRecordOfProcessingRequest::default());
        assert_eq!(refused.await.unwrap_err().code(), Code::PermissionDenied, "{role:?}");
    }
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let (from, to) = period();
    let later = |time: prost_types::Timestamp, seconds| prost_types::Timestamp {
        seconds: time.seconds + seconds,
        ..time
    };
    let bad = [
        proto::GetTransparencyReportRequest { k: 4, ..request() },
        proto::GetTransparencyReportRequest { from: Some(later(from, 60)), ..request() },
        proto::GetTransparencyReportRequest { to: Some(from), ..request() },
        proto::GetTransparencyReportRequest { to: None, ..request() },
        proto::GetTransparencyReportRequest { epsilon: -1.0, ..request() },
        proto::GetTransparencyReportRequest { epsilon: f64::NAN, ..request() },
        proto::GetTransparencyReportRequest { epsilon: 4.1, ..request() },
        proto::GetTransparencyReportRequest { figures: vec!["nothing".into()], ..request() },
    ];
    for wrong in bad {
        let refused = report(&mut auditor, wrong.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong:?}");
    }
    let spend = |epsilon| proto::GetTransparencyReportRequest { epsilon, ..request() };
    // Asking what a report would spend spends nothing and leaves no event.
    for _ in 0..2 {
        let asked = budget(&mut auditor, spend(3.0)).await.unwrap();
        assert_eq!((asked.epsilon, asked.epsilon_spent, asked.epsilon_max), (3.0, 0.0, 4.0));
    }
    assert_eq!(budget(&mut auditor, spend(4.1)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(report(&mut auditor, spend(3.0)).await.unwrap().epsilon_spent, 3.0);
    assert_eq!(report(&mut auditor, spend(2.0)).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(budget(&mut auditor, spend(2.0)).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(budget(&mut auditor, spend(0.5)).await.unwrap().epsilon_spent, 3.0);
    // Overlapping periods share the privacy budget, and a restart does not renew it.
    let harness = harness.restart().await;
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let wider = proto::GetTransparencyReportRequest { to: Some(later(to, DAY_S)), ..spend(2.0) };
    assert_eq!(report(&mut auditor, wider).await.unwrap_err().code(), Code::FailedPrecondition);
    let next =
        proto::GetTransparencyReportRequest { from: Some(to), to: Some(later(to, DAY_S)), ..spend(2.0) };
    let made = report(&mut auditor, next).await.unwrap();
    assert_eq!((made.epsilon_spent, made.overlapping_reports), (2.0, 0));
    assert_no_differences_between_exact_reports(&mut auditor).await;
    drop(auditor);
    let harness = start_reporting(harness.stop().await, true).await;
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let exact = report(&mut auditor, request()).await.unwrap();
    assert_eq!((exact.epsilon, exact.epsilon_spent), (0.0, 3.0));
}

/// Asserts that a report without noise is refused if its period has not ended. It is also refused if its
/// period overlaps another period with such a report, because the difference of the two reports could reveal
/// single people. The same period is allowed again.
async fn assert_no_differences_between_exact_reports(auditor: &mut Clients) {
    let (today, _) = period();
    let days = |from: i64, to: i64, epsilon| {
        let at = |days| prost_types::Timestamp { seconds: today.seconds - days * DAY_S, nanos: 0 };
        let (from, to) = (Some(at(from)), Some(at(to)));
        proto::GetTransparencyReportRequest { from, to, epsilon, ..request() }
    };
    let refused = report(auditor, request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("not ended"), "{refused}");
    for allowed in [days(30, 20, 0.0), days(30, 20, 0.0), days(20, 10, 0.0), days(30, 19, 0.5)] {
        report(auditor, allowed).await.unwrap();
    }
    for overlaps in [days(30, 19, 0.0), days(31, 20, 0.0), days(25, 24, 0.0), days(40, 2, 0.0)] {
        let refused = report(auditor, overlaps).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("single people"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_before_it_spends_the_privacy_budget_and_prints_no_number_below_its_noise() {
    let harness = Harness::start().await;
    let run = |more: &[&str]| {
        let period = ["report", "--from", "2026-10-01", "--to", "2026-11-01", "--epsilon", "0.5"];
        harness.cli(Role::Auditor, "auditor", &[&period, more].concat())
    };
    // There is no terminal to ask at, so nothing is spent.
    let asked = run(&[]);
    assert_eq!(asked.status.code(), Some(2));
    let problem = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(
        problem.contains("spends 0.5") && problem.contains("0 of 4") && problem.contains("--yes"),
        "{problem}"
    );
    let text = harness::stdout(&run(&["--yes"]));
    assert!(text.contains("(0.5 of 4 spent)"), "{text}");
    assert!(text.find("SUMMARY").unwrap() < text.find("WHO GETS").unwrap(), "{text}");
    // The ledger has no people, so every number is noise.
    assert!(text.contains("no larger than the noise"), "{text}");
    assert!(text.lines().all(|line| !line.trim_start().starts_with('-')), "{text}");
}
