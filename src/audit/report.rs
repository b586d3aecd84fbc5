//! The page for people in a bundle: what this file is and how to check it.

use crate::domain::wording;

/// What a bundle holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    entries: u64,
    erased: u64,
    opened: u64,
    first_ms: u64,
    last_ms: u64,
}

impl Counts {
    pub fn add(&mut self, recorded_at_ms: u64, present: bool, opened: bool) {
        if self.entries == 0 {
            self.first_ms = recorded_at_ms;
        }
        self.last_ms = recorded_at_ms;
        self.entries = self.entries.saturating_add(1);
        self.erased = self.erased.saturating_add(u64::from(!present));
        self.opened = self.opened.saturating_add(u64::from(opened));
    }
}

/// One page without scripts or anything from elsewhere.
pub(super) fn html(origin: &str, vkey: &str, counts: &Counts) -> String {
    format!(
        "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Audit bundle of {origin}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid #ddd; }}
code {{ background: #f3f3f0; padding: .1rem .3rem; overflow-wrap: anywhere; }}
</style>
<h1>Audit bundle of {origin}</h1>
<p>Every profile update, consent, use and erasure that passed through this ledger, as signed entries of one
append-only log. Nothing here has to be believed: it can be checked without the operator, offline.</p>
<table>
<tr><th>Entries</th><td>{entries}</td></tr>
<tr><th>of these erased</th><td>{erased}</td></tr>
<tr><th>of these about people, opened here</th><td>{opened}</td></tr>
<tr><th>First recorded</th><td>{first}</td></tr>
<tr><th>Last recorded</th><td>{last}</td></tr>
<tr><th>Log key</th><td><code>{vkey}</code></td></tr>
</table>
<p>Check it with <code>sayso verify BUNDLE --key '{vkey}'</code>, with the key taken from somewhere else than this page.</p>
<p>It proves what passed through the ledger. It cannot prove that a service that held a copy stopped using it.</p>
</html>
",
        entries = counts.entries,
        erased = counts.erased,
        opened = counts.opened,
        first = wording::time(counts.first_ms),
        last = wording::time(counts.last_ms),
    )
}
