//! The command `sayso bounds test`.

use super::error::CliError;
use super::output::{Out, count};
use crate::bounds::{self, Outcome, PackTestRun, Table};
use crate::domain::event::BoundsPublished;
use clap::Args;
use serde_json::json;
use std::path::Path;

/// The packs to test.
#[derive(Args)]
pub(super) struct Test {
    /// A pack that ships with sayso, or a folder with `policies.cedar` and `cases.json`. Default: all shipped
    /// packs.
    #[arg(value_name = "PACK|DIR")]
    pack: Option<String>,
}

impl Test {
    pub fn run(self, out: Out) -> Result<(), CliError> {
        let runs: Vec<PackTestRun> = match &self.pack {
            None => bounds::shipped().iter().map(shipped).collect::<Result<_, _>>()?,
            Some(name) => match bounds::shipped().iter().find(|shipped| shipped.pack.pack == *name) {
                Some(found) => vec![shipped(found)?],
                None => vec![in_folder(name)?],
            },
        };
        let failed = runs.iter().filter(|run| !run.passed()).count();
        out.print_value(&as_json(&runs), &as_text(&runs))?;
        match failed {
            0 => Ok(()),
            _ => Err(CliError::failed(format!("{failed} of {} failed", count(runs.len() as u64, "pack")))),
        }
    }
}

fn shipped(shipped: &bounds::Shipped) -> Result<PackTestRun, CliError> {
    run(&shipped.pack, &shipped.table().map_err(CliError::failed)?)
}

fn run(pack: &BoundsPublished, table: &Table) -> Result<PackTestRun, CliError> {
    bounds::run_pack_tests(pack, table).map_err(CliError::failed)
}

/// Tests the pack in a folder. The pack has the name of the folder.
fn in_folder(folder: &str) -> Result<PackTestRun, CliError> {
    let path = Path::new(folder);
    if !path.is_dir() {
        let packs: Vec<String> = bounds::shipped().into_iter().map(|shipped| shipped.pack.pack).collect();
        let packs = packs.join(", ");
        let problem = format!("`{folder}` is neither a folder nor a shipped pack; shipped packs: {packs}");
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

fn as_text(runs: &[PackTestRun]) -> String {
    let mut lines = Vec::new();
    for run in runs {
        let passed = run.outcomes.iter().filter(|outcome| outcome.passed()).count();
        let verdict = if run.passed() { "ok" } else { "FAILED" };
        let cases = count(run.outcomes.len() as u64, "case");
        lines.push(format!("{}: {passed} of {cases} {verdict}", run.pack));
        for Outcome { name, article, expected, found } in run.outcomes.iter().filter(|each| !each.passed()) {
            let article = if article.is_empty() { String::new() } else { format!(" ({article})") };
            lines.push(format!("  {name}{article}: expected {expected}, found {found}"));
        }
        lines.extend(run.uncovered.iter().map(|policy| format!("  no case is decided by {policy}")));
    }
    let cases: usize = runs.iter().map(|run| run.outcomes.len()).sum();
    lines.push(format!("{} in {}", count(cases as u64, "case"), count(runs.len() as u64, "pack")));
    lines.join("\n")
}

fn as_json(runs: &[PackTestRun]) -> serde_json::Value {
    let outcome = |outcome: &Outcome| {
        json!({
            "name": outcome.name,
            "article": outcome.article,
            "expected": outcome.expected,
            "found": outcome.found,
            "passed": outcome.passed(),
        })
    };
    let packs = runs.iter().map(|run| {
        json!({
            "pack": run.pack,
            "passed": run.passed(),
            "cases": run.outcomes.iter().map(outcome).collect::<Vec<_>>(),
            "untested": run.uncovered,
        })
    });
    json!({ "packs": packs.collect::<Vec<_>>(), "passed": runs.iter().all(PackTestRun::passed) })
}
