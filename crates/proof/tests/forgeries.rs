//! Tests that the verifier detects forgeries by an operator who has the log's key. Each forged log has a
//! finding or does not verify. If the operator erased a decision, it is enough that the verifier reports a
//! grant as not fully checked. SAYSO_FORGERIES sets the number of forgeries. Forgeries of the same kind
//! differ in their contents and details.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod forgery;
mod log;

use forgery::{World, bytes, ends, grants, rules, times, uses};
use sayso_proof::bundle::{self, Options, Source};

/// How `sayso verify` exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Verified,
    Contradicted,
    Unchecked,
}

fn exit(log: &log::Log, bytes: &[u8]) -> Exit {
    let source = Source::Archive(Box::new(bytes));
    match bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ()) {
        Ok(report) if report.grants_hold() && report.is_fully_checked() => Exit::Verified,
        Ok(report) if report.grants_hold() => Exit::Unchecked,
        _ => Exit::Contradicted,
    }
}

/// A kind of forgery: what it does to a log, or to its bundle.
#[derive(Clone, Copy)]
enum Kind {
    Log(fn(&mut World)),
    Bundle(fn(&mut World) -> Vec<u8>),
    /// What is missing can only be counted.
    Missing(fn(&mut World)),
}

use Kind::{Bundle, Log, Missing};

const KINDS: [(&str, Kind); 64] = [
    ("a grant that cites no consent of the person", Log(grants::citing_no_consent)),
    ("a grant that cites no attribute of the person", Log(grants::citing_no_attribute)),
    ("a grant that describes its attribute otherwise", Log(grants::described_otherwise)),
    ("a grant outside of the consent", Log(grants::outside_of_the_consent)),
    ("a grant of a special category", Log(grants::of_a_special_category)),
    ("a grant after a decision against it", Log(grants::after_a_decision_against_it)),
    ("a grant of an attribute that ended", Log(grants::of_an_attribute_that_ended)),
    ("a grant by other bounds", Log(grants::by_other_bounds)),
    ("a grant during a restore", Log(grants::during_a_restore)),
    ("a grant for an unknown purpose", Log(grants::for_an_unknown_purpose)),
    ("a grant of what was not requested", Log(grants::of_what_was_not_requested)),
    ("a grant for longer than a day", Log(grants::for_longer_than_a_day)),
    ("a grant after an erased decision", Missing(grants::after_an_erased_decision)),
    ("a grant that cites more than was erased", Log(grants::citing_more_than_was_erased)),
    ("a grant of an attribute that was erased", Log(grants::of_an_attribute_that_was_erased)),
    ("a consent behind an erased attribute", Log(grants::on_a_consent_behind_an_erased_attribute)),
    ("an erasure that nothing states", Log(grants::after_an_erasure_that_nothing_states)),
    ("a use after the expiry", Log(uses::after_the_expiry)),
    ("a use after the revocation", Log(uses::after_the_revocation)),
    ("a use before the grant", Log(uses::before_the_grant)),
    ("a use of no grant", Log(uses::of_no_grant)),
    ("a use shaped by something else", Log(uses::shaped_by_something_else)),
    ("a use by another recipient", Log(uses::by_another_recipient)),
    ("a consent that the service recorded", Log(uses::of_what_the_service_says_for_the_person)),
    ("a decision without a revocation", Log(uses::without_a_revocation)),
    ("announced revocations", Log(uses::with_something_allowed_before_announced_revocations)),
    ("a revocation of something else", Log(uses::with_a_revocation_of_something_else)),
    ("a false artifact", Log(uses::with_a_false_artifact)),
    ("a grant that is given again after its end", Log(uses::given_again_after_its_end)),
    ("a missing revocation behind an invented erasure", Log(ends::behind_an_invented_erasure)),
    ("a grant that outlives its basis", Log(ends::of_what_ends_before_the_grant)),
    ("a use of no grant behind an erased attribute", Log(ends::of_no_grant_behind_an_erased_attribute)),
    ("uses of more grants than are missing", Log(ends::of_more_grants_than_are_missing)),
    ("announced revocations that never come", Log(ends::of_announced_revocations)),
    ("fewer announced revocations than are due", Log(ends::of_more_than_was_announced)),
    ("a grant that is given again at no stated time", Log(ends::given_again_at_no_stated_time)),
    ("a missing end of an artifact", Log(ends::of_an_artifact)),
    ("a false reason for withholding", Log(uses::with_a_false_reason_for_withholding)),
    ("a decision about a false notice", Log(uses::about_a_false_notice)),
    ("another text of a notice", Log(uses::with_another_text_of_a_notice)),
    ("a person's event about nobody", Log(uses::about_nobody)),
    ("a system event about a person", Log(uses::about_a_person_instead_of_the_log)),
    ("an id that occurs twice", Log(uses::with_an_id_that_occurs_twice)),
    ("a name of what the person does not have", Log(uses::naming_what_the_person_does_not_have)),
    ("a yes ahead of a withdrawal", Log(times::a_yes_ahead_of_a_withdrawal)),
    ("a yes about a later time", Log(times::a_yes_about_a_later_time)),
    ("a late yes from before a withdrawal", Log(times::a_late_yes_from_before_a_withdrawal)),
    ("a grant from before an expiry", Log(times::a_grant_from_before_an_expiry)),
    ("an old entry", Log(times::an_old_entry)),
    ("unsigned rules", Log(rules::unsigned)),
    ("rules that are signed for another place", Log(rules::signed_for_another_place)),
    ("rules that changed after the signature", Log(rules::changed_after_the_signature)),
    ("rules that are published again", Log(rules::published_again)),
    ("rules by the wrong author", Log(rules::by_the_wrong_author)),
    ("rules with a key of the other tier", Log(rules::with_a_key_of_the_other_tier)),
    ("what no definition may say", Log(rules::that_no_definition_may_say)),
    ("words that widen a consent", Log(rules::that_widen_a_consent)),
    ("a required notice", Log(rules::that_require_another_notice)),
    ("unsigned rules after everybody was erased", Log(rules::unsigned_after_everybody_was_erased)),
    ("a body in another encoding", Bundle(bytes::in_another_encoding)),
    ("other entries", Bundle(bytes::with_other_entries)),
    ("another text of an entry", Bundle(bytes::with_another_text_of_an_entry)),
    ("other files", Bundle(bytes::with_other_files)),
    ("other headers of the archive", Bundle(bytes::with_other_tar_headers)),
];

fn number() -> u64 {
    let number = std::env::var("SAYSO_FORGERIES").ok().map(|number| number.parse().unwrap());
    number.unwrap_or(KINDS.len() as u64)
}

#[test]
fn honest_random_logs_verify() {
    for seed in 0..number().min(50) {
        let world = World::new(seed);
        assert_eq!(exit(&world.log, &world.log.bundle()), Exit::Verified, "seed {seed}");
        let forger = world.log.forged_bundle(world.log.forged_files());
        assert_eq!(exit(&world.log, &forger), Exit::Verified, "seed {seed}");
    }
}

#[test]
fn every_forgery_with_the_key_of_the_log_is_found() {
    let mut missed = Vec::new();
    for seed in 0..number() {
        let (name, kind) = KINDS[seed as usize % KINDS.len()];
        let mut world = World::new(seed);
        let bundle = match kind {
            Log(forge) | Missing(forge) => {
                forge(&mut world);
                world.log.bundle()
            }
            Bundle(forge) => forge(&mut world),
        };
        let exit = exit(&world.log, &bundle);
        let is_counted = matches!(kind, Missing(_)) && exit == Exit::Unchecked;
        if exit != Exit::Contradicted && !is_counted {
            missed.push(format!("seed {seed}: {name}: {exit:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
