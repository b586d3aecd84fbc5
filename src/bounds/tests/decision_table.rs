//! The table "How a use is decided" of docs/bounds.md, read as a model of decisions, so that the document
//! can't differ from the code. The order of the rows and their answers come from the document; the code here
//! only decides when the condition of each row is true.

use crate::domain::consent::{Cover, NoConsent};
use crate::domain::event::Reason;
use crate::domain::legal_basis::{Basis, DeclaredBasis};
use std::sync::LazyLock;

/// What the conditions of the table depend on, for one attribute and one use.
pub(super) struct Facts {
    /// A refused erasure keeps the attribute, and its ground does not require the purpose.
    pub kept: bool,
    pub restricted: bool,
    pub paused: bool,
    pub objected: bool,
    /// The person opted out, and the purpose is sale, sharing or advertising.
    pub opted_out: bool,
    pub cover: Cover,
    /// The declared legal basis, if it applies to this use.
    pub declared: Option<(DeclaredBasis, Basis)>,
    pub contested: bool,
    pub expired: bool,
    pub source_withheld: bool,
}

impl Facts {
    fn lacks(&self, reason: NoConsent) -> bool {
        self.declared.is_none()
            && matches!(self.cover, Cover::Denied { reason: found, .. } if found == reason)
    }

    /// What the use would rest on.
    fn basis(&self) -> Option<Basis> {
        match self.cover {
            Cover::Allowed { by, .. } => Some(by),
            Cover::Denied { .. } => self.declared.map(|(_, basis)| basis),
        }
    }

    fn can_be_objected_to(&self) -> bool {
        let is_consent = matches!(self.cover, Cover::Allowed { .. });
        is_consent || self.declared.is_none_or(|(kind, _)| kind == DeclaredBasis::LegitimateInterest)
    }

    /// Whether a condition of the table holds.
    fn holds(&self, condition: &str) -> bool {
        match condition {
            "an erasure was refused, and the legal ground that keeps the data does not require this purpose" => {
                self.kept
            }
            "the person restricted processing for this purpose" => self.restricted,
            "the person paused personalization for this purpose" => self.paused,
            "the person objected to this purpose, and the use does not rest on a contract or a legal obligation" => {
                self.objected && self.can_be_objected_to()
            }
            "the person opted out, and the purpose is sale, sharing or advertising" => self.opted_out,
            "a consent covers the special category, but is not explicit or does not name it" => {
                self.lacks(NoConsent::NotExplicit)
            }
            "no decision of the person covers the use, and no declared legal basis applies" => {
                self.lacks(NoConsent::Silence)
            }
            "a purpose or category that the consent names had another meaning when it was given" => {
                self.lacks(NoConsent::WordsChanged)
            }
            "the consent names a version of its notice that no longer counts" => {
                self.lacks(NoConsent::NoticeOutdated)
            }
            "the person refused the use, and no declared legal basis applies" => {
                self.lacks(NoConsent::Refused)
            }
            "the person withdrew the consent, and no declared legal basis applies" => {
                self.lacks(NoConsent::Withdrawn)
            }
            "the consent has ended" => self.lacks(NoConsent::Expired),
            "the person contests the attribute" => self.contested,
            "the attribute has expired" => self.expired,
            "the attribute was derived from one that may not be used" => self.source_withheld,
            "none of these" => true,
            unknown => panic!("the model does not know the condition `{unknown}` of docs/bounds.md"),
        }
    }
}

/// A row: the condition, and the reason for which it denies the use. A row without a reason allows it.
type Row = (String, Option<Reason>);

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let text = include_str!("../../../docs/bounds.md");
    let (_, section) = text.split_once("\n## How a use is decided\n").unwrap();
    let table =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table.skip(2).map(row).collect()
});

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [condition, answer, _] = cells.as_slice() else { panic!("three cells: {line}") };
    let reason = match *answer {
        "allowed" => None,
        name => Some(Reason::from_str_name(&format!("REASON_{}", name.trim_matches('`'))).unwrap()),
    };
    ((*condition).to_owned(), reason)
}

/// What the table says: what the use rests on, or why it is denied. The first row that applies decides.
pub(super) fn decide(facts: &Facts) -> Result<Basis, Reason> {
    let (_, reason) = ROWS.iter().find(|(condition, _)| facts.holds(condition)).unwrap();
    reason.map_or_else(|| Ok(facts.basis().unwrap()), Err)
}

#[test]
fn the_table_has_a_row_for_every_answer_of_the_model() {
    let reasons: Vec<Reason> = ROWS.iter().filter_map(|(_, reason)| *reason).collect();
    assert_eq!(reasons.len(), 15);
    assert_eq!(ROWS.last().unwrap(), &("none of these".to_owned(), None));
    let mut distinct = reasons.clone();
    distinct.sort_by_key(|reason| reason.as_str_name());
    distinct.dedup();
    assert_eq!(distinct.len(), reasons.len());
}
