//! Tests what a grant must cite: attributes, consents, bounds and definitions, as of its own position.

use super::*;

#[test]
fn a_grant_cites_its_attributes_consents_and_bounds() {
    let mut log = Log::with_vocabulary();
    log.publish_documents();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let other = log.append(ada(), given(terms(&["advertising"], &[], &[])));
    let consent_id = log.append(ada(), given(wide()));
    let in_force = |event: Event| {
        let Event::GrantIssued(issued) = event else { panic!() };
        Event::GrantIssued(GrantIssued { bounds: vec![9], ..issued })
    };
    log.append(ada(), in_force(grant(attribute_id, other, "key", "food")));
    log.append(ada(), in_force(grant(other, consent_id, "key", "food")));
    log.append(ada(), in_force(grant(attribute_id, consent_id, "another", "food")));
    let change = |change: &dyn Fn(&mut GrantIssued)| {
        let Event::GrantIssued(mut issued) = in_force(grant(attribute_id, consent_id, "key", "food")) else {
            panic!()
        };
        change(&mut issued);
        Event::GrantIssued(issued)
    };
    log.append(ada(), change(&|grant| grant.keys = vec!["another".into()]));
    log.append(ada(), change(&|grant| grant.categories = vec!["work".into()]));
    log.append(ada(), change(&|grant| grant.bounds = vec![0]));
    log.append(ada(), change(&|grant| grant.bounds = vec![]));
    log.append(ada(), change(&|grant| grant.purpose = "unheard-of".into()));
    let found = faults(&log);
    let expected = [
        Fault::Citation,
        Fault::UnknownAttribute,
        Fault::Described,
        Fault::NotAskedFor,
        Fault::NotAskedFor,
        Fault::UnknownBounds,
        Fault::OtherBounds,
        Fault::UndefinedPurpose,
        Fault::NoConsent,
    ];
    assert_eq!(found, expected);
}

#[test]
fn events_after_a_grant_do_not_affect_it() {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    log.append(ada(), withdrawn(terms(&[], &[], &[])));
    log.append(subject(2), refused(terms(&[], &[], &[])));
    assert_eq!(faults(&log), []);
}

#[test]
fn definitions_take_effect_when_they_are_made() {
    let special = |special| {
        let (id, parent) = ("food".into(), "preference".into());
        Event::CategoryDefined(CategoryDefined { id, parent, special, ..CategoryDefined::default() })
    };
    let redefined = faults_after("food", wide(), |log, _, _| {
        log.append_system_event(special(true));
    });
    assert_eq!(redefined, [Fault::NoConsent]);
}
