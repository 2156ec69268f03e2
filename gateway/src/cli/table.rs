//! Tables for people: columns as wide as their widest cell, two spaces between, the last one open.

use std::fmt;

/// Rows of `N` columns.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    indent: &'static str,
    /// Columns from this one on are set to the right: numbers.
    numbers_from: usize,
}

impl<const N: usize> Table<N> {
    /// A table with its heading.
    pub(crate) fn new(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned)],
            indent: "",
            numbers_from: N,
        }
    }

    /// A table that stands below a title.
    pub(crate) fn indented(heading: [&str; N]) -> Self {
        Self {
            indent: "  ",
            ..Self::new(heading)
        }
    }

    /// With numbers in the columns from this one on.
    pub(crate) const fn numbers_from(mut self, column: usize) -> Self {
        self.numbers_from = column;
        self
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Whether there is nothing below the heading.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: [usize; N] = std::array::from_fn(width);
        for row in &self.rows {
            let mut line = self.indent.to_owned();
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.chars().count());
                if column >= self.numbers_from {
                    line.push_str(&format!("{pad}{cell}  "));
                } else {
                    line.push_str(&format!("{cell}{pad}  "));
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let mut table = Table::new(["HOP", "P50"]).numbers_from(1);
        table.row(["vad".to_owned(), "1.2 ms".to_owned()]);
        table.row(["é".to_owned(), "9 µs".to_owned()]);
        assert_eq!(table.to_string(), "HOP     P50\nvad  1.2 ms\né      9 µs\n");
    }
}
