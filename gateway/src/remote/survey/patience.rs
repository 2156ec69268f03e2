//! How long workers are waited for when they are asked what they run.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_nodes::Code;
use tidegate_remote::Step;

use super::Answer;
use crate::remote::targets::PoolTarget;

/// What the others get after the first endpoint has answered.
const GRACE: Duration = Duration::from_millis(250);
/// What may be somebody else's HTTP server is not waited for longer.
const FOREIGN: Duration = Duration::from_secs(3);
/// What a question of a gateway that was asked itself may take; a step less with each further one, so that the outermost hears of it.
const NESTED: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(250);

/// Takes answers as they come; after the first that says something, others get a little longer. A circle ends it all.
pub(super) async fn gather(
    mut asked: FuturesUnordered<impl Future<Output = (usize, Answer)>>,
    answers: &mut [Option<Answer>],
    any: bool,
    path: &[Step],
) {
    let mut patience = any.then(|| Box::pin(tokio::time::sleep(grace(path))));
    loop {
        let next = tokio::select! {
            biased;
            next = asked.next() => next,
            () = wait(patience.as_mut()) => None,
        };
        let Some((index, answer)) = next else { break };
        if patience.is_none() && answer.is_ok() {
            patience = Some(Box::pin(tokio::time::sleep(grace(path))));
        }
        let circle = matches!(&answer, Err(error) if error.code == Code::ManifestCycle);
        answers[index] = Some(answer);
        if circle {
            break;
        }
    }
}

/// The longest that one of these is waited for, asked along this path.
pub(super) fn limit(pool: &PoolTarget, path: &[Step]) -> Duration {
    match path.len() {
        0 | 1 if pool.is_foreign() => pool.connect.min(FOREIGN),
        0 | 1 => pool.connect,
        nested => {
            let steps = u32::try_from(nested - 2).unwrap_or(u32::MAX);
            let less = STEP.saturating_mul(steps);
            NESTED.saturating_sub(less).max(STEP).min(pool.connect)
        }
    }
}

fn grace(path: &[Step]) -> Duration {
    GRACE / u32::try_from(path.len().max(1)).unwrap_or(u32::MAX)
}

/// Waits for the timer, if there is one, else for ever.
async fn wait(timer: Option<&mut std::pin::Pin<Box<tokio::time::Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}
