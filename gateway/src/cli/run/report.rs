//! What a run says at its end: each hop's latency, each output, the time it took.

use std::time::Duration;

use crate::cli::table::Table;
use crate::metrics::window::Percentiles;
use crate::session::link::HopFigures;

/// The table and the lines below it.
pub(super) fn text(hops: &[HopFigures], outputs: &[String], took: Duration) -> String {
    let mut table = Table::new([
        "HOP",
        "TYPE",
        "IN",
        "OUT",
        "DROPPED",
        "QUEUE P50",
        "P99",
        "SERVICE P50",
        "P99",
        "WIRE P50",
        "P99",
    ])
    .numbers_from(2);
    for hop in hops {
        let [queue, service, wire] = [hop.queue, hop.service, hop.wire].map(both);
        table.row([
            hop.hop.clone(),
            hop.node_type.clone(),
            hop.frames_in.to_string(),
            hop.frames_out.to_string(),
            hop.dropped.values().sum::<u64>().to_string(),
            queue[0].clone(),
            queue[1].clone(),
            service[0].clone(),
            service[1].clone(),
            wire[0].clone(),
            wire[1].clone(),
        ]);
    }
    let mut text = String::new();
    if !table.is_empty() {
        text = format!("{table}\n");
    }
    for hop in hops {
        for (reason, frames) in &hop.dropped {
            text.push_str(&format!("{}: {frames} frames dropped: {reason}\n", hop.hop));
        }
    }
    for output in outputs {
        text.push_str(output);
        text.push('\n');
    }
    text.push_str(&format!("took {:.2} s\n", took.as_secs_f64()));
    text
}

fn both(percentiles: Option<Percentiles>) -> [String; 2] {
    let shown = |value: fn(&Percentiles) -> f64| {
        percentiles
            .as_ref()
            .map_or_else(|| "-".to_owned(), |p| micros(value(p)))
    };
    [shown(|p| p.p50_us), shown(|p| p.p99_us)]
}

/// A time in the unit that suits it.
pub(crate) fn micros(us: f64) -> String {
    match us {
        us if us < 1.0 => format!("{:.0} ns", us * 1e3),
        us if us < 10.0 => format!("{us:.1} µs"),
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e4 => format!("{:.1} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let shown = [0.12, 3.24, 250.0, 1_240.0, 56_000.0, 3e6].map(micros);
        assert_eq!(
            shown,
            ["120 ns", "3.2 µs", "250 µs", "1.2 ms", "56 ms", "3.00 s"]
        );
    }

    #[test]
    fn a_hop_without_a_queue_or_wire_has_dashes_there() {
        let service = Percentiles {
            count: 9,
            p50_us: 10.0,
            p90_us: 12.0,
            p99_us: 20.0,
            max_us: 30.0,
        };
        let hop = HopFigures {
            hop: "vad".to_owned(),
            node_type: "audio.vad".to_owned(),
            frames_in: 9,
            frames_out: 12,
            dropped: [("no_listener", 3)].into(),
            queue_frames: 0,
            queue: None,
            service: Some(service),
            wire: None,
        };
        let text = text(&[hop], &["o: 1 s".to_owned()], Duration::from_millis(1500));
        let row = text.lines().nth(1).expect("a row");
        let cells: Vec<_> = row
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        let wanted = [
            "vad",
            "audio.vad",
            "9",
            "12",
            "3",
            "-",
            "-",
            "10 µs",
            "20 µs",
            "-",
            "-",
        ];
        assert_eq!(cells, wanted);
        let end = "\n\nvad: 3 frames dropped: no_listener\no: 1 s\ntook 1.50 s\n";
        assert!(text.ends_with(end), "{text}");
    }
}
