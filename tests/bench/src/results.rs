//! The results as files: `RESULTS.md` with all tables, a chart of the targets, and the short table of
//! the README. Nothing in them is typed by hand.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::aim::{self, Aim};
use crate::table::Table;

/// Between these lines of the README the results stand.
const BEGIN: &str = "<!-- results: written by `homecore-bench results` -->";
const END: &str = "<!-- end of results -->";

/// Writes all three files under the project's root.
///
/// # Errors
/// When a file cannot be written, or the README has no place for the results.
pub(crate) fn write(root: &Path, machine: &str, tables: &[Table]) -> anyhow::Result<Vec<PathBuf>> {
    let aims: Vec<&Aim> = tables.iter().flat_map(Table::aims).collect();
    ensure!(!aims.is_empty(), "nothing was measured that has a target");
    let readme = root.join("README.md");
    let text = std::fs::read_to_string(&readme)
        .with_context(|| format!("cannot read {}", readme.display()))?;
    let short = format!(
        "{}\n![Each figure by its target: 1 is what was aimed at](tests/bench/results.svg)\n\n\
         All tables: [RESULTS.md](tests/bench/RESULTS.md).\n",
        aim::markdown(tables)
    );
    let files = [
        (root.join("tests/bench/RESULTS.md"), whole(machine, tables)),
        (root.join("tests/bench/results.svg"), chart(&aims)),
        (readme, inserted(&text, &short)?),
    ];
    for (path, text) in &files {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn whole(machine: &str, tables: &[Table]) -> String {
    let mut text = format!(
        "# Results\n\nWritten by `homecore-bench results`; [how to read them](README.md).\n\n```\n{machine}\n```\n\n\
         ## Targets\n\n{}\n![Each figure by its target](results.svg)\n\n",
        aim::markdown(tables)
    );
    let all: Vec<String> = tables.iter().map(Table::markdown).collect();
    text += &all.join("\n");
    text
}

/// The text with what stands between the marks replaced.
fn inserted(text: &str, results: &str) -> anyhow::Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("the README has no line {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("the README has no line {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{results}\n{END}{after}"))
}

const ROW: usize = 26;
const TOP: usize = 34;
const LABELS: f64 = 330.0;
const BARS: f64 = 420.0;
/// Four steps of two below the target and four above it.
const STEPS: f64 = 4.0;

/// Bars from the target's line, to the right where it is met: each step of the scale doubles.
fn chart(aims: &[&Aim]) -> String {
    let height = TOP + ROW * aims.len() + 10;
    let (middle, right) = (LABELS + BARS / 2.0, LABELS + BARS);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        right + 70.0
    );
    for step in -4_i32..=4 {
        let x = middle + f64::from(step) * BARS / 2.0 / STEPS;
        let times = 2_f64.powi(step);
        let colour = if step == 0 { "#444444" } else { "#dddddd" };
        text += &format!(
            "<line x1=\"{x:.0}\" y1=\"{TOP}\" x2=\"{x:.0}\" y2=\"{height}\" stroke=\"{colour}\"/>\n\
             <text x=\"{x:.0}\" y=\"22\" text-anchor=\"middle\" fill=\"#444444\">{times}×</text>\n"
        );
    }
    for (number, aim) in aims.iter().enumerate() {
        let y = TOP + ROW * number;
        let steps = aim.reached().max(f64::EPSILON).log2().clamp(-STEPS, STEPS);
        let width = steps.abs() * BARS / 2.0 / STEPS;
        let x = if steps < 0.0 { middle - width } else { middle };
        let colour = if aim.is_met() { "#2a7f62" } else { "#c0622b" };
        let (label, baseline) = (escaped(&aim.what), y + 17);
        text += &format!(
            "<text x=\"{:.0}\" y=\"{baseline}\" text-anchor=\"end\" fill=\"#222222\">{label}</text>\n\
             <rect x=\"{x:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
             <text x=\"{:.0}\" y=\"{baseline}\" fill=\"#222222\">{:.2}×</text>\n",
            LABELS - 8.0,
            y + 4,
            width.max(1.0),
            ROW - 8,
            right + 8.0,
            aim.ratio
        );
    }
    text += "</svg>\n";
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aim::Target;

    fn table(ratio: f64) -> Table {
        let mut table = Table::new("Writes", &["", "homecore"]);
        table.row(["1 user".to_owned(), "10/s".to_owned()]);
        table.note("a note");
        table.aim(Aim {
            what: "writes <1>".to_owned(),
            ours: "10/s".to_owned(),
            beside: "disk 5/s".to_owned(),
            ratio,
            target: Target::AtLeast(1.0),
        });
        table
    }

    #[test]
    fn the_files_are_written_again_and_again() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("tests/bench")).unwrap();
        let readme = root.path().join("README.md");
        std::fs::write(&readme, format!("before\n\n{BEGIN}\n{END}\n\nafter\n")).unwrap();
        for ratio in [0.5, 2.0] {
            write(root.path(), "a machine", &[table(ratio)]).unwrap();
        }
        let text = std::fs::read_to_string(&readme).unwrap();
        assert!(text.starts_with("before\n\n<!--") && text.ends_with("-->\n\nafter\n"));
        assert_eq!(text.matches("2.00×").count(), 1, "{text}");
        assert!(!text.contains("0.50×"), "{text}");
        let whole = std::fs::read_to_string(root.path().join("tests/bench/RESULTS.md")).unwrap();
        assert!(whole.contains("| 1 user | 10/s |\n\n- a note\n"), "{whole}");
        let chart = std::fs::read_to_string(root.path().join("tests/bench/results.svg")).unwrap();
        assert!(chart.contains("writes &lt;1>"), "{chart}");
    }

    #[test]
    fn a_readme_without_a_place_is_refused_before_anything_is_written() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("tests/bench")).unwrap();
        std::fs::write(root.path().join("README.md"), "nothing").unwrap();
        assert!(write(root.path(), "m", &[table(1.0)]).is_err());
        let made = root.path().join("tests/bench/RESULTS.md").try_exists();
        assert!(!made.unwrap());
    }
}
