//! `cargo sim list`: the simulated tests.

use crate::arguments::List;
use crate::catalog::{Catalog, Test};
use crate::stop::Stop;
use crate::text::say;

const HEADS: [&str; 6] = ["TEST", "PACKAGE", "SEEDS", "TIER", "EXPECTS", "FILE"];

/// Shows a line for each test.
pub(crate) fn run(options: &List) -> Result<u8, Stop> {
    let catalog = Catalog::build(&options.build)?;
    say(&table(catalog.tests.iter().map(row)));
    Ok(0)
}

fn row(test: &Test) -> [String; 6] {
    let info = &test.info;
    let seeds = info.seed.map_or(info.seeds.to_string(), |seed| format!("only {}", sim_core::Seed(seed)));
    let tier = if info.nightly { "nightly" } else { "quick" };
    let expects = info.expect.map_or("passed".to_string(), |outcome| outcome.to_string());
    [test.label.clone(), info.package.clone(), seeds, tier.to_string(), expects, info.file.clone()]
}

/// Columns as wide as their widest cell.
fn table(rows: impl Iterator<Item = [String; 6]>) -> String {
    let rows: Vec<[String; 6]> = std::iter::once(HEADS.map(String::from)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &rows {
        let line: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        out += line.trim_end();
        out.push('\n');
    }
    out
}
