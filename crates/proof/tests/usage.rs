//! Tests of the record of uses. It lists each grant with its consent, notice and rules, even in a log that
//! its operator forged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::bundle::usage::{Basis, Check, GrantRecord, LogEventKind, Query, Usage, WithheldData};
use sayso_proof::bundle::{self, Options, Source};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;

fn record(log: &Log, query: &Query) -> (Vec<GrantRecord>, Usage) {
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let recorded =
        bundle::verify_and_record(source, &log.verifier(), &Options::default(), query, &mut |_| ());
    let (report, usage) = recorded.unwrap();
    let plain = Source::Archive(Box::new(bytes.as_slice()));
    let plain = bundle::verify(plain, &log.verifier(), &Options::default(), &mut |_| ()).unwrap();
    assert_eq!(report.grants.findings, plain.grants.findings, "a record changes no verdict");
    let mut grants = Vec::new();
    usage
        .for_each(&mut |grant| {
            grants.push(grant);
            Ok(())
        })
        .unwrap();
    assert_eq!(grants.len() as u64, usage.count());
    (grants, usage)
}

/// Consents of several people, and grants that rest on them, in turn.
fn log_of(people: u8) -> Log {
    let mut log = Log::with_vocabulary();
    log.publish_documents();
    let notice =
        Some(NoticeRef { id: "n".into(), version: "1".into(), language: "en".into(), digest: vec![1; 32] });
    let consents: Vec<_> = (1..=people)
        .map(|person| {
            let attribute_id = log.append(subject(person), recorded(attribute("key", "food")));
            let terms = ConsentTerms { notice: notice.clone(), ..terms(&["personalization"], &[], &[]) };
            (person, attribute_id, log.append(subject(person), given(terms)))
        })
        .collect();
    for _ in 0..2 {
        for (person, attribute_id, consent_id) in &consents {
            log.append(subject(*person), cited(*attribute_id, *consent_id));
        }
    }
    log
}

/// A grant that cites the bounds of [`Log::publish_documents`].
fn cited(attribute_id: [u8; 16], consent_id: [u8; 16]) -> Event {
    let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else {
        return Event::GrantIssued(GrantIssued::default());
    };
    Event::GrantIssued(GrantIssued { bounds: vec![9], expires_at_ms: START_MS + 3_600_000, ..issued })
}

#[test]
fn grants_come_in_the_order_of_the_log_with_their_consent_and_notice() {
    let log = log_of(20);
    let (grants, usage) = record(&log, &Query::default());
    assert_eq!((grants.len(), usage.people()), (40, 20));
    assert!(grants.is_sorted_by_key(|grant| grant.position));
    let first = &grants[0];
    let data = &first.data[0];
    assert_eq!((data.category.as_str(), data.attributes, &data.basis), ("food", 1, &Basis::Consent));
    let consent_at = data.ground_at.unwrap();
    assert!(consent_at < first.position);
    let notice = data.notice.as_ref().unwrap();
    assert_eq!((notice.id.as_str(), notice.version.as_str()), ("n", "1"));
    let published =
        usage.log_events().iter().find(|event| event.kind == LogEventKind::NoticePublished).unwrap();
    assert_eq!(notice.published_at, Some(published.position));
    let (totals, left_out) = usage.totals();
    assert_eq!((totals.len(), left_out), (1, 0));
    assert_eq!((totals[0].grants, totals[0].people), (40, 20));
}

#[test]
fn a_query_keeps_only_grants_that_fit() {
    let log = log_of(3);
    let all = record(&log, &Query::default()).0;
    let of = |query: Query| record(&log, &query).0.len();
    assert_eq!(
        of(Query { categories: vec!["preference".into()], ..Query::default() }),
        6,
        "food is below it"
    );
    assert_eq!(of(Query { categories: vec!["work".into()], ..Query::default() }), 0);
    assert_eq!(of(Query { recipients: vec!["bot".into()], ..Query::default() }), 6);
    assert_eq!(of(Query { recipients: vec!["other".into()], ..Query::default() }), 0);
    assert_eq!(of(Query { people: vec![subject(2)], ..Query::default() }), 2);
    let after = Query { from_ms: Some(all[0].expires_at_ms + 1), ..Query::default() };
    assert_eq!(of(after), 0);
    let usage = record(&log, &Query { categories: vec!["fodo".into()], ..Query::default() }).1;
    assert_eq!(usage.undefined(), ["fodo"]);
}

#[test]
fn uses_revocations_and_findings_are_shown_with_their_grant() {
    let mut log = log_of(1);
    let (ada, size) = (subject(1), log.size());
    let (right, wrong) = (event_id(size - 2), event_id(size - 1));
    let attribute_id = record(&log, &Query::default()).0[0].clone();
    let attribute = event_id(attribute_id.data[0].ground_at.unwrap() - 1).to_vec();
    let used = |grant: [u8; 16]| {
        let (grant, shaped_by) = (grant.to_vec(), vec![attribute.clone()]);
        Event::GrantUsed(GrantUsed { grant, shaped_by, count: 2, ..GrantUsed::default() })
    };
    log.append(ada, used(right));
    let revoked =
        GrantRevoked { grant: right.to_vec(), reason: Reason::NoConsent.into(), ..GrantRevoked::default() };
    log.append(ada, Event::GrantRevoked(revoked));
    // A grant that cites a consent that never existed.
    log.append(ada, cited(attribute.clone().try_into().unwrap(), [9; 16]));
    let (grants, usage) = record(&log, &Query::default());
    let of = |id: [u8; 16]| grants.iter().find(|grant| grant.grant == hex::encode(id)).unwrap();
    let shown = of(right);
    assert_eq!((shown.uses[0].count, shown.uses[0].categories.as_slice()), (2, &["food".to_owned()][..]));
    assert_eq!(shown.revoked.as_ref().unwrap().reason, "no_consent");
    assert_eq!(of(wrong).uses, []);
    let unfounded = grants.last().unwrap();
    assert_eq!(unfounded.check, Check::Finding);
    assert_eq!((unfounded.data[0].ground_at, &unfounded.data[0].notice), (None, &None));
    assert_eq!(usage.totals().0[0].uses, 2);
}

#[test]
fn a_grant_says_what_it_withholds_and_who_decided_that() {
    let mut log = log_of(1);
    let Event::GrantIssued(mut issued) = cited([1; 16], [2; 16]) else { panic!("a grant") };
    let class = |category: &str, count, reason: Reason, tier: Tier| WithheldClass {
        category: category.to_owned(),
        count,
        reason: reason.into(),
        decided_by: tier.into(),
        ..WithheldClass::default()
    };
    issued.withheld = vec![
        WithheldClass {
            policy: "base/minors".to_owned(),
            article: "GDPR Art. 8".to_owned(),
            ..class("health", 2, Reason::NoConsent, Tier::Public)
        },
        class("work", 1, Reason::SourceWithheld, Tier::Individual),
    ];
    issued.withheld.extend((0..60).map(|_| class("food", 1, Reason::NoConsent, Tier::Provider)));
    log.append(subject(1), Event::GrantIssued(issued));
    let (grants, _) = record(&log, &Query::default());
    let shown = grants.last().unwrap();
    assert_eq!((shown.withheld, shown.withheld_data.len()), (63, 50));
    let health = WithheldData {
        category: "health".into(),
        attributes: 2,
        reason: "no_consent".into(),
        decided_by: "public".into(),
        policy: "base/minors".into(),
        article: "GDPR Art. 8".into(),
    };
    assert_eq!(shown.withheld_data[0], health);
    assert_eq!(shown.withheld_data[1].decided_by, "individual");
}

#[test]
fn a_grant_whose_consent_is_erased_is_not_said_to_be_checked_in_full() {
    let mut log = log_of(2);
    let consent_at = record(&log, &Query::default()).0[0].data[0].ground_at.unwrap();
    log.erase(&[consent_at], true);
    let grants = record(&log, &Query::default()).0;
    let checks: Vec<Check> = grants.iter().map(|grant| grant.check).collect();
    assert_eq!(checks, [Check::NotInFull, Check::Full, Check::NotInFull, Check::Full]);
    assert_eq!(grants[0].data[0].ground_at, None);
}

#[test]
fn a_bundle_that_does_not_verify_has_no_record() {
    let mut log = log_of(2);
    let last = log.recorded.len() - 1;
    log.recorded[last] += 1;
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let (options, query) = (Options::default(), Query::default());
    let recorded = bundle::verify_and_record(source, &log.verifier(), &options, &query, &mut |_| ());
    assert_eq!(recorded.err().and_then(|failure| failure.position), Some(last as u64));
}

#[test]
fn long_names_are_cut_off_in_the_record() {
    let mut log = log_of(1);
    let attribute_id = event_id(log.size() - 4);
    let Event::GrantIssued(issued) = cited(attribute_id, event_id(log.size() - 3)) else { return };
    let name = "x".repeat(5_000);
    log.append(subject(1), Event::GrantIssued(GrantIssued { recipient: name.clone(), ..issued }));
    let query = Query { recipients: vec![name], ..Query::default() };
    let grants = record(&log, &query).0;
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].recipient, format!("{}…", "x".repeat(128)));
}
