//! Decides which log lines may be written: all lines of this project's crates, and those of other crates from
//! the level `info` up. Lines of other crates below that level are dropped, because they may contain parts of
//! messages.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterFn, LevelFilter};

/// Lets the log lines pass that may be written. The filter also gives `TRACE` as a hint of its maximum level.
/// This hint excludes nothing, so the other filter, which this one is combined with, decides the level.
/// Without a hint, every trace point of sled and h2 would be checked at each call.
pub(super) fn loggable() -> FilterFn {
    FilterFn::new(may_be_logged as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::TRACE)
}

fn may_be_logged(of: &Metadata<'_>) -> bool {
    is_ours(of) || *of.level() <= Level::INFO
}

/// Whether one of this project's own crates wrote a line or made a span.
pub(super) fn is_ours(of: &Metadata<'_>) -> bool {
    ["sayso", "sayso_proof"].iter().any(|name| {
        of.target().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::FilterExt;
    use tracing_subscriber::layer::Filter;
    use tracing_subscriber::{EnvFilter, Registry};

    #[test]
    fn lines_below_the_level_cost_nothing() {
        for (asked, level) in [("warn,sayso=info", LevelFilter::INFO), ("trace", LevelFilter::TRACE)] {
            let filter = FilterExt::<Registry>::and(EnvFilter::new(asked), loggable());
            assert_eq!(Filter::<Registry>::max_level_hint(&filter), Some(level));
        }
    }
}
