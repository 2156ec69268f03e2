//! The worker that fails as it is told to (`src/bin/faulty.rs`), as seen from here.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::server::Server;
use crate::{Failure, net};

/// What it is told.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Control {
    /// The share of calls that fail at once, 0 to 1, each decided at random.
    pub fail: f64,
    /// How long the others take.
    pub millis: u64,
}

/// What it did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Calls that reached it.
    pub calls: u64,
    /// Those that it failed.
    pub failed: u64,
    /// Health checks that reached it.
    pub checks: u64,
    /// Open calls, summed over time: two calls for a second are 2.
    pub busy_seconds: f64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            failed,
            checks,
            busy_seconds,
        } = self;
        write!(f, "{calls} {failed} {checks} {busy_seconds}")
    }
}

impl FromStr for Counts {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let mut words = text.split_whitespace();
        let mut next = || words.next().ok_or("a count is missing");
        Ok(Self {
            calls: next()?.parse()?,
            failed: next()?.parse()?,
            checks: next()?.parse()?,
            busy_seconds: next()?.parse()?,
        })
    }
}

/// Starts three, each told what to do.
///
/// # Errors
/// If one does not start.
pub async fn three(controls: [Control; 3]) -> Result<[Server; 3], Failure> {
    let workers = [
        Server::bare("faulty", &[]).await?,
        Server::bare("faulty", &[]).await?,
        Server::bare("faulty", &[]).await?,
    ];
    for (worker, control) in workers.iter().zip(controls) {
        tell(worker, control).await?;
    }
    Ok(workers)
}

/// Tells it what to do from now on, and gives what it did until now.
///
/// # Errors
/// If it is gone.
pub async fn tell(worker: &Server, control: Control) -> Result<Counts, Failure> {
    let Control { fail, millis } = control;
    let path = format!("/control?fail={fail}&millis={millis}");
    net::get(worker.address, &path).await?.parse()
}
