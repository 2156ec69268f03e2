//! What the machine is and what else it does, for the head of the tables.

use std::time::Duration;

/// Processor, cores and kernel in one line.
#[must_use]
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |text| {
        text.trim_start_matches([' ', '\t', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let all = info.matches("processor\t").count().max(cores);
    format!(
        "{model}, {all} cores, Linux {}; load average {}",
        kernel.trim(),
        load()
    )
}

/// The load average of the last minute, as text.
#[must_use]
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// How long a core has been idle since the machine began, from `/proc/stat` (proc_stat(5): ticks of 10 ms).
#[must_use]
pub fn idle(core: &str) -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let name = format!("cpu{core}");
    let mut fields = text
        .lines()
        .map(str::split_ascii_whitespace)
        .find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    let ticks: u64 = fields.nth(3)?.parse().ok()?;
    Some(Duration::from_millis(ticks * 10))
}
