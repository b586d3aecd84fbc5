//! `sayso bounds test`

use super::error::CliError;
use super::output::Out;
use crate::bounds::{self, Outcome, PackTestRun, Table};
use clap::Args;
use sayso_proof::event::BoundsPublished;
use serde_json::json;
use std::path::Path;

/// Which packs.
#[derive(Args)]
pub(super) struct Test {
    /// A pack that comes with sayso, or a folder with `policies.cedar` and `cases.json`; none: all that come with it.
    #[arg(value_name = "PACK|DIR")]
    pack: Option<String>,
}

impl Test {
    pub fn run(self, out: Out) -> Result<(), CliError> {
        let tried: Vec<PackTestRun> = match &self.pack {
            None => bounds::shipped().iter().map(shipped).collect::<Result<_, _>>()?,
            Some(name) => match bounds::shipped().iter().find(|shipped| shipped.pack.pack == *name) {
                Some(found) => vec![shipped(found)?],
                None => vec![own(name)?],
            },
        };
        let failed = tried.iter().filter(|trial| !trial.passed()).count();
        out.print_value(&as_json(&tried), &as_text(&tried))?;
        if failed == 0 {
            Ok(())
        } else {
            Err(CliError::failed(format!("{failed} of {} packs failed", tried.len())))
        }
    }
}

fn shipped(shipped: &bounds::Shipped) -> Result<PackTestRun, CliError> {
    run(&shipped.pack, &shipped.table().map_err(CliError::failed)?)
}

fn run(pack: &BoundsPublished, table: &Table) -> Result<PackTestRun, CliError> {
    bounds::run_pack_tests(pack, table).map_err(CliError::failed)
}

/// A pack in a folder, named as the folder is.
fn own(folder: &str) -> Result<PackTestRun, CliError> {
    let path = Path::new(folder);
    if !path.is_dir() {
        let known: Vec<String> = bounds::shipped().into_iter().map(|shipped| shipped.pack.pack).collect();
        let problem = format!("`{folder}` is neither a folder nor a pack; packs: {}", known.join(", "));
        return Err(CliError::usage(problem));
    }
    let read = |name: &str| {
        let file = path.join(name);
        std::fs::read_to_string(&file)
            .map_err(|error| CliError::usage(format!("{}: {error}", file.display())))
    };
    let (policies, cases) = (read("policies.cedar")?, read("cases.json")?);
    let table: Table =
        serde_json::from_str(&cases).map_err(|error| CliError::usage(format!("cases.json: {error}")))?;
    let name = path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let tier = bounds::tier(&table.tier).map_err(CliError::usage)?;
    run(&bounds::pack(tier, &name.unwrap_or_else(|| "pack".into()), &policies), &table)
}

fn as_text(tried: &[PackTestRun]) -> String {
    let mut lines = Vec::new();
    for trial in tried {
        let passed = trial.outcomes.iter().filter(|outcome| outcome.passed()).count();
        let verdict = if trial.passed() { "ok" } else { "FAILED" };
        lines.push(format!("{}: {passed} of {} cases {verdict}", trial.pack, trial.outcomes.len()));
        for Outcome { name, article, expected, found } in trial.outcomes.iter().filter(|each| !each.passed())
        {
            let from = if article.is_empty() { String::new() } else { format!(" ({article})") };
            lines.push(format!("  {name}{from}: expected {expected}, found {found}"));
        }
        lines.extend(trial.untried.iter().map(|policy| format!("  no case is decided by {policy}")));
    }
    let cases: usize = tried.iter().map(|trial| trial.outcomes.len()).sum();
    lines.push(format!("{cases} cases in {} packs", tried.len()));
    lines.join("\n")
}

fn as_json(tried: &[PackTestRun]) -> serde_json::Value {
    let outcome = |outcome: &Outcome| {
        json!({
            "name": outcome.name,
            "article": outcome.article,
            "expected": outcome.expected,
            "found": outcome.found,
            "passed": outcome.passed(),
        })
    };
    let packs = tried.iter().map(|trial| {
        json!({
            "pack": trial.pack,
            "passed": trial.passed(),
            "cases": trial.outcomes.iter().map(outcome).collect::<Vec<_>>(),
            "untried": trial.untried,
        })
    });
    json!({ "packs": packs.collect::<Vec<_>>(), "passed": tried.iter().all(PackTestRun::passed) })
}
