//! The cells of a table row, for each kind of record.

use super::html::{Html, code, count, escape, foreign, lines, soft, tag, time, value};
use super::merged::Merged;
use super::titles::Titles;
use crate::domain::event::Reason;
use crate::domain::wording;
use crate::package::record::{
    ActorName, Artifact, Attribute, Consent, History, NamedAttribute, PermittedUse, PriorRecipient,
    Recipient, RevokedGrant, Signal, Use, VocabularyTerm, Withheld,
};
use std::collections::{BTreeMap, BTreeSet};

fn actor(of: &ActorName) -> Html {
    let role = match of.role {
        "subject" => "you",
        "service" => "the service",
        "channel" => "the application",
        "steward" => "the controller’s privacy team",
        "ledger" => "the ledger",
        other => other,
    };
    match &of.name {
        Some(name) => Html(format!("{role} {}", code(name).0)),
        None => Html(role.to_owned()),
    }
}

pub(super) fn attribute(of: &Attribute) -> [Html; 6] {
    let mut kind = vec![escape(&of.category_title)];
    if of.special_category {
        kind.push(tag("special category"));
    }
    let mut source = vec![
        Html(format!("{} by {}", escape(of.provenance).0, actor(&of.source).0)),
        Html(format!("observed on {}", time(&of.observed_at).0)),
    ];
    if let Some(claimed) = of.claimed_provenance {
        source.push(escape(&format!("stated as {claimed}; concluded from details of a special category")));
    }
    if let Some(model) = &of.model {
        source.push(Html(format!("model {}", code(model).0)));
    }
    if let Some(confidence) = of.confidence {
        source.push(escape(&format!("confidence {confidence}")));
    }
    if !of.evidence.is_empty() {
        let evidence: Vec<String> = of.evidence.iter().map(|piece| foreign(piece).0).collect();
        source.push(Html(format!("based on {}", evidence.join(", "))));
    }
    if !of.derived_from.is_empty() {
        let sources = count(of.derived_from.len() as u64, "other detail", "other details");
        source.push(Html(format!("derived from {sources}")));
    }
    let mut shown = vec![value(of.value.get())];
    if of.contested {
        shown.push(tag("you said that this is wrong; it is not used"));
    }
    if of.confirmed {
        shown.push(tag("you said that this is right"));
    }
    let uses = match &of.may_be_used_for {
        None => Html::default(),
        Some(purposes) if purposes.is_empty() => nothing(),
        Some(purposes) => lines(purposes.iter().map(|purpose| escape(purpose))),
    };
    let until = match &of.erased_at {
        Some(end) => Html(format!("until {}; then it is erased", time(end).0)),
        None => escape(&of.retention),
    };
    let kept = [Html(format!("since {}", time(&of.recorded_at).0)), until];
    [foreign(&of.key), lines(shown), lines(kind), lines(source), lines(kept), uses]
}

fn nothing() -> Html {
    Html("<span class=\"none\">nothing</span>".into())
}

/// One line for each category and legal basis, with the keys of the attributes.
fn keys(of: &[NamedAttribute], titles: &Titles) -> Html {
    let mut categories: BTreeMap<(&str, Option<&str>), Vec<String>> = BTreeMap::new();
    for named in of {
        categories.entry((&named.category, named.legal_basis)).or_default().push(foreign(&named.key).0);
    }
    lines(categories.into_iter().map(|((category, basis), keys)| {
        // Consent is the usual basis, so only another basis is named.
        let without = basis.map(|basis| format!("; without consent, on the basis of {basis}"));
        let category = titles.category(category);
        let about = soft(&format!("({category}{})", without.unwrap_or_default()));
        Html(format!("{} {}", keys.join(", "), about.0))
    }))
}

pub(super) fn permitted_use(of: &PermittedUse, titles: &Titles) -> [Html; 4] {
    let recipient = match &of.recipient {
        Some(name) => code(name),
        None => Html("any other service that asks".into()),
    };
    let allowed = if of.allowed.is_empty() { nothing() } else { keys(&of.allowed, titles) };
    let basis = soft(&format!("legal basis: {}", of.legal_bases));
    let purpose = lines([escape(&of.purpose_title), code(&of.purpose), basis]);
    [purpose, recipient, allowed, withheld(&of.withheld, titles)]
}

/// Shows one line for each reason, because people care about the reason. `package.json` lists each class
/// separately.
fn withheld(classes: &[Withheld], titles: &Titles) -> Html {
    let mut reasons: Vec<(String, u64, Vec<&str>)> = Vec::new();
    for class in classes {
        let reason = reason(class);
        let number = u64::from(class.count);
        match reasons.iter_mut().find(|(known, ..)| *known == reason) {
            Some((_, total, categories)) => {
                *total = total.saturating_add(number);
                if !categories.contains(&class.category.as_str()) {
                    categories.push(&class.category);
                }
            }
            None => reasons.push((reason, number, vec![&class.category])),
        }
    }
    lines(reasons.into_iter().map(|(reason, number, categories)| {
        let categories: Vec<&str> = categories.into_iter().map(|id| titles.category(id)).collect();
        let categories = soft(&format!("({})", categories.join(", "))).0;
        Html(format!("{}: {} {categories}", count(number, "detail", "details"), escape(&reason).0))
    }))
}

/// A reason in words to the person. For a denial by a rule, the words are the explanation in the record.
fn reason(of: &Withheld) -> String {
    match Reason::from_str_name(of.reason).unwrap_or_default() {
        Reason::Unspecified | Reason::Forbidden | Reason::NotPermitted => of.explanation.replace('`', ""),
        reason => wording::reason_to_subject(reason).to_owned(),
    }
}

pub(super) fn recipient(of: &Recipient, titles: &Titles) -> [Html; 6] {
    let times = |number: u64| if number == 1 { "once".to_owned() } else { format!("{number} times") };
    let often = match (of.kind, of.disclosures) {
        ("auditor", number) => format!("received or saw data {}, as an auditor", times(number)),
        (_, number) if of.uses == 0 => format!("received data {}, reported no use", times(number)),
        (_, number) => format!("received data {}, reported a use {}", times(number), times(of.uses)),
    };
    let ended = "The record of earlier disclosures has ended";
    let often = match (of.earlier_records_ended, of.disclosures) {
        (false, _) => often,
        (true, 0) => ended.to_owned(),
        (true, _) => format!("{often}. {ended}"),
    };
    let purposes = lines(of.purposes.iter().map(|id| escape(titles.purpose(id))));
    let categories = lines(of.categories.iter().map(|id| escape(titles.category(id))));
    let (first, last) = (time(&of.first_received_at), time(&of.last_received_at));
    [code(&of.name), first, last, escape(&often), purposes, categories]
}

/// The consents, and the legal bases other than consent.
fn allowed_by(consents: &[String], attributes: &[NamedAttribute]) -> Html {
    let bases: BTreeSet<&str> = attributes.iter().filter_map(|named| named.legal_basis).collect();
    let consents = consents.iter().map(|consent| Html(format!("your consent {}", code(consent).0)));
    lines(consents.chain(bases.into_iter().map(escape)))
}

pub(super) fn disclosure(of: &Merged, titles: &Titles) -> [Html; 6] {
    let Merged { first, last_at, count: number } = of;
    let (mut when, mut grant) = (vec![time(&first.at)], Vec::new());
    if *number > 1 {
        when.push(Html(format!("to {}", time(last_at).0)));
        grant.push(escape(&count(*number, "permission", "permissions")));
    } else {
        grant.push(code(&first.grant_id));
        grant.push(Html(format!("until {}", time(&first.expires_at).0)));
        if !first.interaction.is_empty() {
            grant.push(Html(format!("in {}", foreign(&first.interaction).0)));
        }
    }
    let (details, purpose) = (keys(&first.attributes, titles), escape(&first.purpose_title));
    let allowed_by = allowed_by(&first.consents, &first.attributes);
    [lines(when), code(&first.recipient), details, purpose, allowed_by, lines(grant)]
}

pub(super) fn prior_recipient(of: &PriorRecipient, titles: &Titles) -> [Html; 5] {
    let what = match (of.scope, &of.category) {
        ("key", _) => Html("what was stored under one key".into()),
        ("category", Some(category)) => {
            Html(format!("one kind of data: {}", escape(titles.category(category)).0))
        }
        ("category", None) => Html("one kind of data".into()),
        ("profile", _) => Html("your profile".into()),
        ("content", _) => Html("what had a certain text".into()),
        _ => Html("everything that could be erased".into()),
    };
    let mut had = vec![escape(&count(of.grants, "permission", "permissions"))];
    if of.artifacts > 0 {
        had.push(escape(&count(of.artifacts, "thing built from it", "things built from it")));
    }
    let deletion = if of.acknowledged { "confirmed" } else { "not confirmed yet" };
    [code(&of.name), time(&of.erased_at), what, lines(had), Html(deletion.into())]
}

pub(super) fn artifact(of: &Artifact, titles: &Titles) -> [Html; 6] {
    let what = [escape(of.kind), foreign(&of.name), code(&of.artifact_id)];
    let allowed = match (of.explanation, &of.expires_at) {
        (Some(why), _) => {
            let deleted = if of.acknowledged { "the service confirmed that it deleted it" } else { "" };
            lines([Html(format!("no: {}", escape(why).0)), Html(deleted.into())])
        }
        (None, Some(end)) => Html(format!("yes, until {}", time(end).0)),
        (None, None) => Html("yes".into()),
    };
    let (details, purpose) = (keys(&of.attributes, titles), escape(&of.purpose_title));
    [time(&of.at), code(&of.recipient), details, purpose, lines(what), allowed]
}

pub(super) fn reported_use(of: &Use, titles: &Titles) -> [Html; 6] {
    let mut reply = vec![foreign(&of.reply), Html(format!("permission {}", code(&of.grant_id).0))];
    if of.count > 1 {
        reply.push(escape(&format!("{} times", of.count)));
    }
    if of.ai_disclosure_shown {
        reply.push(Html("you were told that you talk to a machine".into()));
    }
    let (details, purpose) = (keys(&of.attributes, titles), escape(&of.purpose_title));
    [
        time(&of.at),
        code(&of.recipient),
        details,
        purpose,
        allowed_by(&of.consents, &of.attributes),
        lines(reply),
    ]
}

pub(super) fn revoked_grant(of: &RevokedGrant) -> [Html; 4] {
    [time(&of.at), code(&of.recipient), escape(of.explanation), code(&of.grant_id)]
}

pub(super) fn consent(of: &Consent) -> [Html; 7] {
    let terms = |terms: &[VocabularyTerm], if_empty: &str| match terms {
        [] => Html(if_empty.to_owned()),
        _ => lines(terms.iter().map(|term| escape(&term.title))),
    };
    let is_yes = matches!(of.decision, "given" | "renewed");
    let decision = match (of.decision, of.guardian) {
        ("given", false) => "you agreed",
        ("renewed", false) => "you agreed again",
        ("refused", false) => "you refused",
        (_, false) => "you withdrew your consent",
        ("given", true) => "your guardian agreed",
        ("renewed", true) => "your guardian agreed again",
        ("refused", true) => "your guardian refused",
        (_, true) => "your guardian withdrew the consent",
    };
    let mut decided = vec![Html(format!("<strong>{decision}</strong>"))];
    if of.explicit {
        decided.push(Html("explicitly".into()));
    }
    let categories = terms(&of.categories, if is_yes { "all except special categories" } else { "all" });
    let recipients = match of.recipients.as_slice() {
        [] => Html("all".into()),
        names => lines(names.iter().map(|name| code(name))),
    };
    let mut how = vec![Html(format!("through {}", actor(&of.brought_by).0))];
    if !of.channel.is_empty() {
        how.push(Html(format!("by {}", foreign(&of.channel).0)));
    }
    if let Some(notice) = &of.notice {
        how.push(escape(&format!("text “{}”, version {}", notice.id, notice.version)));
    }
    let stopped = of.purposes.iter().filter(|term| of.stopped_purposes.contains(&term.id));
    let stopped: Vec<&str> = stopped.map(|term| term.title.as_str()).collect();
    let allows_use = match (of.in_force, &of.until) {
        (true, _) if !stopped.is_empty() && stopped.len() == of.purposes.len() => {
            Html("no: an objection, restriction, pause or opt-out of yours stops it".into())
        }
        (true, _) if !stopped.is_empty() => {
            let but = escape(&stopped.join(", "));
            Html(format!("yes, but an objection, restriction, pause or opt-out of yours stops: {}", but.0))
        }
        (true, Some(until)) => Html(format!("yes, until {}", time(until).0)),
        (true, None) => Html("yes, until you withdraw it".into()),
        (false, _) if is_yes => Html("no longer".into()),
        (false, _) => Html("no".into()),
    };
    let when = lines([time(&of.recorded_at), code(&of.event_id)]);
    let purposes = terms(&of.purposes, "all purposes");
    [when, lines(decided), purposes, categories, recipients, lines(how), allows_use]
}

pub(super) fn signal(of: &Signal, titles: &Titles) -> [Html; 3] {
    let what = match of.kind {
        "objection" => "You object (GDPR Art. 21)",
        "restriction" => "You restricted use (GDPR Art. 18)",
        "opt_out" => "You opted out of sale and sharing (CCPA)",
        "opt_out_automated" => "You opted out of automated decisions (CCPA regulations, s. 7221)",
        "limit_sensitive" => "You limited the use of sensitive data (CPRA)",
        _ => "You paused personalization",
    };
    let purposes = match of.purposes.as_slice() {
        [] if of.interaction.is_some() => Html("one conversation".into()),
        [] => Html("everything".into()),
        names => lines(names.iter().map(|name| escape(titles.purpose(name)))),
    };
    [time(&of.recorded_at), Html(what.into()), purposes]
}

pub(super) fn history(of: &History) -> [Html; 4] {
    let number = escape(&of.version.saturating_add(1).to_string());
    [number, time(&of.recorded_at), foreign(&of.explanation), actor(&of.by)]
}
