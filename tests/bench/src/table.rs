//! Small tables for people: on standard output, and as Markdown.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use crate::aim::Aim;

/// Prints a line, or several.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads on (a closed pipe): the figures are of no use to anybody then.
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        complain(&format!("cannot print: {error}"));
    }
}

/// Tells what went wrong.
#[expect(clippy::print_stderr, reason = "a command-line tool")]
pub(crate) fn complain(text: &str) {
    eprintln!("{text}");
}

/// A table under a title. The first column is to the left, all others to the right.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
    aims: Vec<Aim>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            rows: vec![columns.iter().map(|&name| name.to_owned()).collect()],
            notes: Vec::new(),
            aims: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds a figure that has a target.
    pub(crate) fn aim(&mut self, aim: Aim) {
        self.aims.push(aim);
    }

    /// The figures that have targets.
    pub(crate) fn aims(&self) -> &[Aim] {
        &self.aims
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        say(&self.render());
    }

    /// As Markdown, with a heading.
    pub(crate) fn markdown(&self) -> String {
        let mut lines = vec![format!("## {}", self.title), String::new()];
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            lines.push(format!("| {} |", cells.join(" | ")));
            if number == 0 {
                lines.push(format!(
                    "|---{}|",
                    "|---:".repeat(row.len().saturating_sub(1))
                ));
            }
        }
        lines.push(String::new());
        lines.extend(self.notes.iter().map(|note| format!("- {note}")));
        lines.push(String::new());
        lines.join("\n")
    }

    fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = format!("\n{}\n", self.title);
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let written = if column == 0 {
                    write!(line, " {cell:<width$}")
                } else {
                    write!(line, "   {cell:>width$}")
                };
                debug_assert!(written.is_ok(), "a string takes everything");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str("  * ");
            text.push_str(note);
            text.push('\n');
        }
        text.pop();
        text
    }
}

/// So many a second.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        format!("{per_second:.1}/s")
    } else {
        format!("{per_second:.0}/s")
    }
}

/// How many times the peer.
pub(crate) fn ratio(figure: f64, peer: f64) -> String {
    if peer > 0.0 {
        format!("{:.2}x", figure / peer)
    } else {
        "-".to_owned()
    }
}

/// A span, in the unit that reads well.
pub(crate) fn span(span: Duration) -> String {
    let micros = span.as_secs_f64() * 1e6;
    if micros < 1e3 {
        format!("{micros:.0} us")
    } else if micros < 1e6 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

/// Memory, or the size of a file.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// What is not known everywhere.
pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new("writes", &["", "rate"]);
        table.row(["1 user".to_owned(), rate(1234.4)]);
        table.row(["50 users".to_owned(), rate(9.87)]);
        table.note("a note");
        let expected = "
writes
               rate
  1 user     1234/s
  50 users    9.9/s
  * a note";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(span(Duration::from_micros(85)), "85 us");
        assert_eq!(span(Duration::from_micros(1_230)), "1.23 ms");
        assert_eq!(span(Duration::from_millis(2_500)), "2.50 s");
        assert_eq!(ratio(3.0, 2.0), "1.50x");
        assert_eq!(ratio(3.0, 0.0), "-", "no peer, no ratio");
    }
}
