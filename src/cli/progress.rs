//! Progress bars for long work, drawn on standard error if it is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use sayso_proof::bundle::Progress;

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style.progress_chars("=> ")))
}

/// A progress bar that counts entries. If `total` is 0, the caller sets the total later.
pub(super) fn entries(total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(what);
    styled(bar, "{msg} [{bar:40}] {pos}/{len} {per_sec} {eta}")
}

/// A progress bar that counts the bytes of a file, or a spinner if the total is unknown.
pub(super) fn bytes(total: Option<u64>, what: &'static str) -> ProgressBar {
    match total {
        Some(total) => {
            let bar = ProgressBar::new(total).with_message(what);
            styled(bar, "{msg} [{bar:40}] {bytes}/{total_bytes} {eta}")
        }
        None => styled(ProgressBar::new_spinner().with_message(what), "{msg} {bytes} in {elapsed}"),
    }
}

/// Shows the progress of a verification on a bar that [`entries`] made.
pub(super) fn verification(bar: &ProgressBar, progress: Progress) {
    let (done, total) = match progress {
        Progress::Entries(done, total) => (done, total),
        Progress::Subjects(done, total) => {
            bar.set_message("replaying, groups of people");
            (done, total)
        }
    };
    bar.set_length(total);
    bar.set_position(done);
}
