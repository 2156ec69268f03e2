//! Whether a peer that says nothing is still there: it is asked after a while of silence, and must answer within another.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::clock::runtime_now;

/// The pulse of one connection, polled by whoever reads it, after everything that had come was read.
#[derive(Debug)]
pub(crate) struct Pulse {
    interval: Duration,
    patience: Duration,
    sleep: Pin<Box<Sleep>>,
    heard: bool,
    asked: bool,
}

/// What silence asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// The peer is to be asked for a sign of life.
    Ask,
    /// It gave none for this long.
    Dead(Duration),
}

impl Pulse {
    /// Asks after `interval` of silence and waits `patience` for an answer.
    pub(crate) fn new(interval: Duration, patience: Duration) -> Self {
        Self {
            interval,
            patience,
            sleep: Box::pin(tokio::time::sleep(interval)),
            heard: false,
            asked: false,
        }
    }

    /// Something came.
    pub(crate) const fn heard(&mut self) {
        self.heard = true;
    }

    /// What is due. Looked at once an interval, so that a frame costs nothing.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Beat> {
        loop {
            std::task::ready!(self.sleep.as_mut().poll(cx));
            let silent = !std::mem::take(&mut self.heard);
            if silent && self.asked {
                return Poll::Ready(Beat::Dead(self.patience));
            }
            self.asked = silent;
            let wait = if silent { self.patience } else { self.interval };
            self.sleep.as_mut().reset(runtime_now() + wait);
            if silent {
                return Poll::Ready(Beat::Ask);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    const TEN: Duration = Duration::from_secs(10);
    const FIVE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_asked_and_then_given_up() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(TEN, FIVE);
        assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, Beat::Ask);
        assert_eq!(begun.elapsed().as_secs(), 10);
        assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, Beat::Dead(FIVE));
        assert_eq!(begun.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_talks_or_answers_is_left_alone() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(TEN, FIVE);
        pulse.heard();
        // 10 s: it talked. 20 s: silence.
        assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, Beat::Ask);
        assert_eq!(begun.elapsed().as_secs(), 20);
        pulse.heard();
        // 25 s: it answered. 35 s: silence again.
        assert_eq!(poll_fn(|cx| pulse.poll(cx)).await, Beat::Ask);
        assert_eq!(begun.elapsed().as_secs(), 35);
    }
}
