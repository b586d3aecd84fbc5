//! Each pack against its own table, by itself.

use super::*;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    category: String,
    /// What holds of the circumstances; all else does not.
    set: BTreeSet<String>,
    /// `allow`, `none` (nothing permits it), or the id of the deciding policy.
    expect: String,
}

impl Row {
    fn circumstances(&self) -> Circumstances {
        let known = [
            "consented",
            "explicit",
            "restricted",
            "objected",
            "paused",
            "opted_out",
            "limit_sensitive",
            "expired",
            "contested",
            "source_withheld",
        ];
        let [consented, explicit, restricted, objected, paused, opted_out, limit, expired, contested, source] =
            known.map(|name| self.set.contains(name));
        assert!(self.set.iter().all(|name| known.contains(&name.as_str())), "{}: {:?}", self.name, self.set);
        Circumstances {
            category: self.category.clone(),
            consented,
            explicit,
            restricted,
            objected,
            paused,
            opted_out,
            limit_sensitive: limit,
            expired,
            contested,
            source_withheld: source,
            ..super::consented()
        }
    }
}

fn check(pack: &BoundsPublished, table: &str) {
    let alone =
        if pack.tier() == Tier::Provider { vec![pack.clone()] } else { vec![pack.clone(), anything()] };
    let bounds = compile(alone).unwrap();
    let rows: Vec<Row> = serde_json::from_str(table).unwrap();
    let decided: Vec<(String, String)> = rows
        .iter()
        .map(|row| {
            let outcome = outcome(&bounds, &row.circumstances());
            (row.name.clone(), outcome.trim_start_matches(&format!("{}/", pack.pack)).to_owned())
        })
        .collect();
    let expected: Vec<_> = rows.iter().map(|row| (row.name.clone(), row.expect.clone())).collect();
    assert_eq!(decided, expected);
    let named: BTreeSet<_> = rows.iter().map(|row| row.expect.as_str()).collect();
    for id in pack.policies.lines().filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")")) {
        let permits = pack.tier() == Tier::Provider;
        assert!(permits || named.contains(id), "no case of `{}` is decided by `{id}`", pack.pack);
    }
}

#[test]
fn every_pack_decides_as_its_table_says() {
    let tables = [
        ("gdpr", include_str!("../../../bounds/public/gdpr/cases.json")),
        ("default", include_str!("../../../bounds/provider/default/cases.json")),
    ];
    for pack in defaults() {
        let (_, table) = tables.iter().find(|(name, _)| *name == pack.pack).unwrap();
        check(&pack, table);
    }
}

#[test]
fn every_category_of_article_9_needs_an_explicit_yes() {
    let (bounds, vocabulary) = (default_bounds(), default_vocabulary());
    for category in vocabulary.categories() {
        let case = Circumstances { category: category.id.clone(), ..consented() };
        let expected = if category.special { "gdpr/art-9-explicit-consent" } else { "allow" };
        assert_eq!(outcome(&bounds, &case), expected, "{}", category.id);
        assert_eq!(outcome(&bounds, &Circumstances { explicit: true, ..case }), "allow");
    }
}
