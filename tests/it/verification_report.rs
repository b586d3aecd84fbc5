//! Tests the report that `sayso verify --report` writes about a bundle: as an HTML page, as JSON and as
//! CSV.

use crate::harness::{self, Clients, Harness, choice, consent, fact, publish_notice, sayso, stdout};
use sayso::proto::{self, ConsentDecision, Role};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Text that would be markup, a formula, and another line of a table.
const HOSTILE: &str = "=1+1,\"</td><script>alert(1)</script>";

/// An export of a daemon that knows `tone` and `sleep` (health) of ada and of bob. Both consented, and
/// `tutor` and `coach` have used it.
struct Exported {
    harness: Harness,
    bundle: PathBuf,
}

async fn grant(service: &mut Clients, subject: &str, keys: &[&str], interaction: &str) -> String {
    let request = proto::RequestGrantRequest {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        interaction: interaction.into(),
        ..harness::ask(subject)
    };
    service.grant.request_grant(request).await.unwrap().into_inner().grant_id
}

impl Exported {
    async fn start() -> Self {
        let harness = Harness::start().await;
        let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
        let mut tutor = harness.as_role(Role::Service, "tutor").await;
        let mut coach = harness.as_role(Role::Service, "coach").await;
        publish_notice(&mut steward).await;
        for subject in ["ada", "bob"] {
            for (key, category) in
                [("tone", "communication-style"), ("sleep", "health"), ("faith", "religious_belief")]
            {
                tutor.profile.record_attributes(fact(subject, key, category, "canary-value")).await.unwrap();
            }
            for yes in [
                choice(ConsentDecision::Given, "tone-adaptation", &[], false),
                choice(ConsentDecision::Given, "tone-adaptation", &["health"], true),
            ] {
                steward.consent.record_consent(consent(subject, vec![yes])).await.unwrap();
            }
        }
        let first = grant(&mut tutor, "ada", &[], HOSTILE).await;
        grant(&mut coach, "ada", &[], "two").await;
        grant(&mut tutor, "bob", &["tone"], "three").await;
        let used = proto::ReportUseRequest {
            grant_id: first,
            reply: "reply-1".into(),
            shaped_by: vec!["sleep".into()],
            count: 3,
            ..Default::default()
        };
        tutor.grant.report_use(used).await.unwrap();
        let bundle = harness.dir.path().join("log.tar.zst");
        let arguments = ["audit", "export", "-o", bundle.to_str().unwrap()];
        stdout(&harness.cli(Role::Auditor, "auditor", &arguments));
        Self { harness, bundle }
    }

    /// Runs `sayso verify` with a report, and returns what it printed and the report.
    fn report(&self, name: &str, flags: &[&str]) -> (Output, String) {
        let file = self.harness.dir.path().join(name);
        let output = verify(&self.bundle, &self.harness.daemon.vkey, &file, flags);
        if let Ok(kept) = std::env::var("SAYSO_KEEP_PAGES") {
            let _absent = std::fs::copy(&file, format!("{kept}/{name}"));
        }
        (output, std::fs::read_to_string(&file).unwrap_or_default())
    }
}

fn verify(bundle: &Path, key: &str, file: &Path, flags: &[&str]) -> Output {
    let fixed = ["verify", bundle.to_str().unwrap(), "--key", key, "--report", file.to_str().unwrap()];
    sayso(&[&fixed[..], flags].concat()).output().unwrap()
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_lists_every_use_of_a_category_by_a_service_in_a_period_with_its_consent_notice_and_rules() {
    let exported = Exported::start().await;
    let query = ["--query", "category=health", "--query", "recipient=tutor"];
    let period = ["--query", "from=2020-01-01", "--query", "to=2100-01-01"];
    let (output, text) = exported.report("all.json", &[&query[..], &period].concat());
    let printed = stdout(&output);
    assert!(printed.contains("all.json (1 grant listed)"), "{printed}");
    assert!(printed.contains("`--query from` is 2020-01-01T00:00:00Z"), "{printed}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["status"], &report["failure"]), (&Value::from(0), &Value::Null));
    assert_eq!(report["verified"]["grants"]["replayed"], "3", "the verdict is on the whole log");
    let grants = report["grants"].as_array().unwrap();
    assert_eq!(grants.len(), 1);
    let of = &grants[0];
    assert_eq!((&of["recipient"], &of["purpose"]), (&"tutor".into(), &"tone-adaptation".into()));
    assert_eq!(of["check"], "full");
    let data = of["data"].as_array().unwrap();
    assert_eq!(data.len(), 1, "only health was asked for: {of}");
    assert_eq!((&data[0]["category"], &data[0]["attributes"]), (&"health".into(), &"1".into()));
    assert_eq!((&data[0]["basis"], &data[0]["explicit"]), (&"consent".into(), &true.into()));
    assert_eq!(data[0]["recordedBy"], "steward");
    let consent_at: u64 = data[0]["groundAt"].as_str().unwrap().parse().unwrap();
    let notice = &data[0]["notice"];
    assert_eq!((&notice["id"], &notice["version"]), (&"welcome".into(), &"1".into()));
    let published_at: u64 = notice["publishedAt"].as_str().unwrap().parse().unwrap();
    let position: u64 = of["position"].as_str().unwrap().parse().unwrap();
    assert!(published_at < consent_at && consent_at < position);
    let packs = of["packs"].as_array().unwrap();
    assert!(packs.iter().any(|pack| pack["name"] == "gdpr" && pack["tier"] == "public"), "{packs:?}");
    assert!(packs.iter().all(|pack| pack["version"].as_str().is_some_and(|version| !version.is_empty())));
    assert_eq!((&of["uses"][0]["count"], &of["uses"][0]["categories"][0]), (&"3".into(), &"health".into()));
    // Nothing was used before 2021.
    let before = ["--query", "category=health", "--query", "to=2021-01-01"];
    let (_, text) = exported.report("before.json", &before);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["grants"], Value::Array(Vec::new()));
    // Values and keys stay out of a report.
    let (_, everything) = exported.report("everything.json", &[]);
    assert!(!everything.contains("canary-value") && !everything.contains("sleep"), "{everything}");
    let everything: Value = serde_json::from_str(&everything).unwrap();
    let grants = everything["grants"].as_array().unwrap();
    assert_eq!(grants.len(), 3);
    // What was withheld, and who decided that.
    assert_eq!(grants[0]["withheld"], "1");
    let withheld = &grants[0]["withheldData"][0];
    assert_eq!((&withheld["category"], &withheld["attributes"]), (&"religious_belief".into(), &"1".into()));
    assert_eq!(withheld["decidedBy"], "public", "{withheld}");
    assert!(withheld["policy"].as_str().unwrap().starts_with("gdpr/"), "{withheld}");
    let commitments: u64 = everything["subjectMapCommitments"].as_str().unwrap().parse().unwrap();
    assert!(commitments > 0);
    let (_, page) = exported.report("everything.html", &[]);
    assert!(page.contains("withheld: 1 attribute, ") && page.contains("decided by the law (public bounds)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_table_keep_hostile_text_as_text() {
    let exported = Exported::start().await;
    let (output, page) = exported.report("audit.html", &[]);
    let printed = stdout(&output);
    assert!(
        printed.starts_with("verified: ") && printed.contains("audit.html (3 grants listed)"),
        "{printed}"
    );
    assert!(page.contains("&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"));
    assert!(page.contains("default-src 'none'; style-src 'sha256-"), "no script runs and nothing is loaded");
    for external in ["src=", "http://", "https://", "url(", "@import"] {
        assert!(!page.contains(external), "{external}");
    }
    assert!(!page.contains("canary-value"));
    let parts = [
        "Verified: nothing was found that contradicts the log",
        "explicit consent at position",
        "notice <bdi translate=\"no\">welcome</bdi>, version <bdi translate=\"no\">1</bdi>, published at position",
        "used 3 times, reported at position",
        "public/gdpr",
        "What the verdict does not show",
        "that others see the same log",
    ];
    for part in parts {
        assert!(page.contains(part), "{part}");
    }
    let (_, table) = exported.report("audit.csv", &[]);
    let hostile = table.lines().find(|line| line.contains("script")).unwrap();
    assert!(hostile.contains(",\"'=1+1,\"\"</td><script>alert(1)</script>\","), "{hostile}");
    let head = table.lines().find(|line| !line.starts_with('#')).unwrap();
    assert!(head.starts_with("position,recorded_at,recipient,"), "{head}");
    // Two grants of two categories each, and one of one.
    let rows = table.lines().filter(|line| !line.starts_with('#')).count() - 1;
    assert_eq!(rows, 5, "{table}");
    assert!(table.starts_with("# Verified"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_does_not_verify_gets_a_report_that_says_so_and_lists_nothing() {
    let exported = Exported::start().await;
    harness::flip(&exported.bundle, std::fs::metadata(&exported.bundle).unwrap().len() - 1, 1);
    let (output, page) = exported.report("broken.html", &[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(page.contains("The bundle does not verify: "), "{page}");
    assert!(page.contains("Nothing in this bundle is known to be true. Exit status: 4."), "{page}");
    assert!(!page.contains("tutor") && !page.contains("welcome"), "{page}");
    let (output, json) = exported.report("broken.json", &[]);
    assert_eq!(output.status.code(), Some(4));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["verified"], &json["status"]), (&Value::Null, &Value::from(4)));
    assert_eq!((&json["failure"]["place"], &json["grants"]), (&"trailer".into(), &Value::Array(Vec::new())));
    let (_, table) = exported.report("broken.csv", &[]);
    assert!(table.starts_with("# The bundle does not verify: "), "{table}");
    assert!(table.lines().all(|line| line.starts_with('#')), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_never_replaces_a_file_unasked_and_wrong_flags_say_what_is_allowed() {
    let exported = Exported::start().await;
    let usage = |name: &str, flags: &[&str]| {
        let (output, _) = exported.report(name, flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        error_of(&output)
    };
    std::fs::write(exported.harness.dir.path().join("old.html"), "old").unwrap();
    assert!(usage("old.html", &[]).contains("replace this one with --force"));
    assert_eq!(exported.report("old.html", &["--force"]).0.status.code(), Some(0));
    assert!(usage("report.txt", &[]).contains("name a file that ends in .html, .json or .csv"));
    assert_eq!(exported.report("report.txt", &["--report-format", "csv"]).0.status.code(), Some(0));
    assert!(usage("a.html", &["--query", "topic=health"]).contains("must be KEY=VALUE, where KEY is"));
    let reversed = ["--query", "from=2026-02-01", "--query", "to=2026-01-01"];
    assert!(usage("a.html", &reversed).contains("`to` must be after `from`"));
    let (output, page) = exported.report("typo.html", &["--query", "category=helth"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(page.contains("The log does not define <bdi translate=\"no\">helth</bdi>."), "{page}");
    let path = exported.bundle.to_str().unwrap();
    let unused = sayso(&["verify", path, "--key", "k", "--query", "category=health"]).output().unwrap();
    assert!(error_of(&unused).contains("--report"), "{}", error_of(&unused));
}

/// Bundles of others, which this project does not contain. Their operator forged them with the log's key.
#[test]
fn the_report_on_a_shared_forged_bundle_begins_with_what_is_wrong() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bundles");
    if !folder.exists() {
        eprintln!("skipped: the shared bundles are not here");
        return;
    }
    let reports = tempfile::tempdir().unwrap();
    let key = folder.join("log.vkey");
    let report = |name: &str| {
        let file = reports.path().join("report.html");
        let output = verify(&folder.join(name), key.to_str().unwrap(), &file, &["--force"]);
        assert_eq!(output.status.code(), Some(4), "{name}");
        if let Ok(kept) = std::env::var("SAYSO_KEEP_PAGES") {
            std::fs::copy(&file, format!("{kept}/{name}.html")).unwrap();
        }
        std::fs::read_to_string(&file).unwrap()
    };
    let page = report("03-yes-dated-ahead-survives-withdrawal.tar.zst");
    let (top, rest) = page.split_once("id=\"totals\"").unwrap();
    assert!(top.contains("should not have been issued") && top.contains("a refusal or withdrawal overrides"));
    assert!(rest.contains("<span class=\"tag bad\">finding</span>"), "the grant is marked in the list");
    let (_, linked) = top.split_once("<a href=\"#grant-").unwrap();
    let id = linked.split('"').next().unwrap();
    assert!(rest.contains(&format!("<tr id=\"grant-{id}\">")), "the finding leads to its grant");
    let broken = report("09-unknown-field-in-a-body.tar.zst");
    assert!(broken.contains("The bundle does not verify: position "), "{broken}");
    assert!(!broken.contains("id=\"grants\""));
}
