//! The page for readers of a bundle: what the bundle contains, and how to verify it.

use crate::domain::wording;

/// Which parts of an entry a bundle contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing: the entry was erased.
    Erased,
    /// The sealed entry.
    Sealed,
    /// The sealed entry and its key.
    Opened,
}

/// Counts of the entries of a bundle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    entries: u64,
    erased: u64,
    opened: u64,
    first_ms: u64,
    last_ms: u64,
}

impl Counts {
    pub fn add(&mut self, recorded_at_ms: u64, content: Content) {
        if self.entries == 0 {
            self.first_ms = recorded_at_ms;
        }
        self.last_ms = recorded_at_ms;
        self.entries = self.entries.saturating_add(1);
        self.erased = self.erased.saturating_add(u64::from(content == Content::Erased));
        self.opened = self.opened.saturating_add(u64::from(content == Content::Opened));
    }
}

/// Renders the page, without scripts or external resources.
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
append-only log. You don't have to trust the operator: you can verify everything here yourself, offline.</p>
<table>
<tr><th>Entries</th><td>{entries}</td></tr>
<tr><th>Erased entries</th><td>{erased}</td></tr>
<tr><th>Entries about people that you can read here</th><td>{opened}</td></tr>
<tr><th>First recorded</th><td>{first}</td></tr>
<tr><th>Last recorded</th><td>{last}</td></tr>
<tr><th>Log key</th><td><code>{vkey}</code></td></tr>
</table>
<p>Verify the bundle with <code>sayso verify BUNDLE --key '{vkey}'</code>. Take the key from another source than this
page.</p>
<p>The bundle proves what passed through the ledger. It cannot prove that a service stopped using a copy that it has.</p>
</html>
",
        entries = counts.entries,
        erased = counts.erased,
        opened = counts.opened,
        first = wording::time(counts.first_ms),
        last = wording::time(counts.last_ms),
    )
}
