//! What was measured: named figures of a run, their medians over runs, and the table of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// A run's figures by name; the name holds the unit.
pub type Figures = BTreeMap<&'static str, f64>;

/// The times of single answers.
#[derive(Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        // One minute in nanoseconds, three digits.
        Self(Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("these bounds are valid"))
    }
}

impl Times {
    /// Adds one; longer than a minute counts as a minute.
    pub fn record(&mut self, time: Duration) {
        self.0
            .saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// A percentile in microseconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a minute in nanoseconds fits f64's mantissa"
    )]
    pub fn micros(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1_000.0
    }
}

/// The median of each figure, with the lowest and highest run.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The middle run's value.
    pub median: f64,
    /// The lowest run's.
    pub low: f64,
    /// The highest run's.
    pub high: f64,
}

/// Sums up runs of one subject; a figure that a run lacks is left out for that run.
#[must_use]
pub fn summarize(runs: &[Figures]) -> BTreeMap<&'static str, Summary> {
    let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, value) in runs.iter().flatten() {
        values.entry(name).or_default().push(*value);
    }
    let summary = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        Summary {
            median: values[values.len() / 2],
            low: values[0],
            high: values[values.len() - 1],
        }
    };
    values
        .into_iter()
        .map(|(name, values)| (name, summary(values)))
        .collect()
}

/// A Markdown table: a row per subject, a column per figure, medians with the range over runs.
#[must_use]
pub fn table(subjects: &[(&str, Vec<Figures>)]) -> String {
    let rows: Vec<_> = subjects
        .iter()
        .map(|(name, runs)| (*name, summarize(runs)))
        .collect();
    let mut columns: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|(_, row)| row.keys()) {
        if !columns.contains(name) {
            columns.push(name);
        }
    }
    let mut text = format!(
        "| | {} |\n|---|{}\n",
        columns.join(" | "),
        "---|".repeat(columns.len())
    );
    for (subject, row) in rows {
        let cell = |column: &&str| match row.get(*column) {
            Some(s) => format!("{} ({}–{})", short(s.median), short(s.low), short(s.high)),
            None => "–".to_owned(),
        };
        let cells: Vec<_> = columns.iter().map(cell).collect();
        let _ = writeln!(text, "| {subject} | {} |", cells.join(" | "));
    }
    text
}

/// Three digits are what such runs can tell.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_medians_with_their_range() {
        let runs = vec![
            Figures::from([("p50 µs", 3.0)]),
            Figures::from([("p50 µs", 1.0)]),
            Figures::from([("p50 µs", 200.0)]),
        ];
        let text = table(&[("ours", runs)]);
        assert_eq!(
            text,
            "| | p50 µs |\n|---|---|\n| ours | 3.00 (1.00–200) |\n"
        );
    }
}
