//! How long a newcomer takes from a built gateway to a running remote hop: the commands of docs/hops.md, literally.

use std::path::Path;

use tokio::process::Command;

use super::{Report, Row};
use crate::server::beside;
use crate::{Failure, clock};

/// Runs `benches/peers/newcomer.sh`, which does what the guide says.
///
/// # Errors
/// If a command of the guide fails.
pub async fn run() -> Result<Report, Failure> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/newcomer.sh");
    let begun = clock::now();
    let output = Command::new(script)
        .arg(beside("tidegate")?)
        .output()
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the guide does not work: {said}").into());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let row = Row {
        id: "SC-001",
        what: "docs/hops.md from the first command to three Python workers of which one is ended, build excluded"
            .into(),
        owed: "< 5 min",
        measured: format!(
            "{seconds:.0} s: {}",
            said.lines().last().unwrap_or_default()
        ),
        met: seconds < 300.0,
    };
    Ok(Report {
        rows: vec![row],
        details: String::new(),
    })
}
