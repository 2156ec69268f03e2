//! From verdicts on windows to the start and the end of speech.
//!
//! Speech begins when windows have been likely for long enough and some of them were voiced; it ends when none has been
//! likely, or none voiced, for the hangover. Between the two thresholds nothing changes.

use super::detector::Verdict;

/// Thresholds, and times in windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Probability from which a window is likely.
    pub(super) threshold: f32,
    /// Probability below which it is unlikely.
    pub(super) release: f32,
    /// Windows in a row that begin speech.
    pub(super) min_speech: u32,
    /// Unlikely windows in a row that end it.
    pub(super) hangover: u32,
}

/// What a window changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// Speech began that many windows before the end of this one.
    Start {
        /// Windows, this one included.
        windows: u32,
        /// Highest probability among them.
        probability: f32,
    },
    /// Speech ended that many windows before the end of this one.
    Stop {
        /// Windows without speech, this one included.
        windows: u32,
        /// Mean probability of the speech.
        probability: f32,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No speech; `run` windows in a row could be its beginning.
    Quiet { run: u32, voiced: u32, peak: f32 },
    /// Speech.
    Speech {
        /// Windows since the last likely one.
        quiet: u32,
        /// Windows since the last voiced one.
        unvoiced: u32,
        windows: u32,
        sum: f32,
    },
}

impl State {
    const START: Self = Self::Quiet {
        run: 0,
        voiced: 0,
        peak: 0.0,
    };
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct Endpointer {
    rules: Rules,
    state: State,
}

impl Endpointer {
    /// Voiced windows that the beginning must have.
    const VOICED_MIN: u32 = 2;
    /// Windows of a beginning that count at most: 320 ms. What lasted longer without a voice was not its beginning.
    const RUN_MAX: u32 = 20;
    /// Windows without a voice that are still speech: 480 ms, longer than any hiss in it.
    const UNVOICED_MAX: u32 = 30;

    pub(super) const fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::START,
        }
    }

    /// Whether the stream is within speech.
    pub(super) const fn is_speech(&self) -> bool {
        matches!(self.state, State::Speech { .. })
    }

    pub(super) fn reset(&mut self) {
        self.state = State::START;
    }

    /// Takes the verdict on the next window.
    pub(super) fn step(&mut self, verdict: Verdict) -> Option<Change> {
        let probability = verdict.probability;
        match &mut self.state {
            State::Quiet { run, voiced, peak } => {
                let goes_on = *run > 0 && probability >= self.rules.release;
                if probability < self.rules.threshold && !goes_on {
                    self.state = State::START;
                    return None;
                }
                *run += 1;
                *voiced += u32::from(verdict.voiced);
                *peak = peak.max(probability);
                if *run < self.rules.min_speech || *voiced < Self::VOICED_MIN {
                    return None;
                }
                let change = Change::Start {
                    windows: (*run).min(self.rules.min_speech.max(Self::RUN_MAX)),
                    probability: *peak,
                };
                self.state = State::Speech {
                    quiet: 0,
                    unvoiced: 0,
                    windows: 1,
                    sum: probability,
                };
                Some(change)
            }
            State::Speech {
                quiet,
                unvoiced,
                windows,
                sum,
            } => {
                *unvoiced = if verdict.voiced { 0 } else { *unvoiced + 1 };
                let likely = probability >= self.rules.release && *unvoiced <= Self::UNVOICED_MAX;
                *quiet = if likely { 0 } else { *quiet + 1 };
                if likely {
                    // Few enough to be exact: a day of windows is below 2^23.
                    *windows = (*windows + 1).min(1 << 23);
                    *sum += probability;
                }
                if *quiet < self.rules.hangover {
                    return None;
                }
                let change = Change::Stop {
                    windows: *quiet,
                    probability: mean(*sum, *windows),
                };
                self.state = State::START;
                Some(change)
            }
        }
    }

    /// Mean probability of the speech so far.
    pub(super) fn mean(&self) -> f32 {
        match self.state {
            State::Speech { windows, sum, .. } => mean(sum, windows),
            State::Quiet { .. } => 0.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 2^23 windows")]
fn mean(sum: f32, windows: u32) -> f32 {
    (sum / windows.max(1) as f32).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        threshold: 0.5,
        release: 0.3,
        min_speech: 4,
        hangover: 6,
    };

    /// Runs verdicts (`V` voiced, `s` likely, `+` between the thresholds, `.` unlikely); gives changes by window.
    fn run(windows: &str) -> Vec<(usize, Change)> {
        let mut endpointer = Endpointer::new(RULES);
        let verdict = |window| Verdict {
            probability: match window {
                'V' | 's' => 0.75,
                '+' => 0.4,
                _ => 0.0,
            },
            voiced: window == 'V',
        };
        let changes = windows.chars().enumerate();
        changes
            .filter_map(|(at, window)| endpointer.step(verdict(window)).map(|c| (at, c)))
            .collect()
    }

    fn start(windows: u32) -> Change {
        let probability = 0.75;
        Change::Start {
            windows,
            probability,
        }
    }

    fn stop(windows: u32) -> Change {
        let probability = 0.75;
        Change::Stop {
            windows,
            probability,
        }
    }

    #[test]
    fn speech_has_a_start_and_an_end() {
        assert_eq!(
            run("..ssVVVVV.....V......."),
            [(5, start(4)), (20, stop(6))]
        );
    }

    #[test]
    fn what_is_short_or_has_no_voice_is_not_speech() {
        assert_eq!(run("..VVV...VV...s.V.s.."), []);
        assert_eq!(run(&"s".repeat(200)), []);
        assert_eq!(run("sssV......"), []);
    }

    #[test]
    fn between_the_thresholds_nothing_changes() {
        assert_eq!(run("++++++++"), []);
        let changes = run("VVVV+++++++++++VV......");
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[1].0, 22);
    }

    #[test]
    fn a_hiss_after_speech_ends_it_although_it_is_likely() {
        let changes = run(&format!("VVVV{}", "s".repeat(100)));
        assert_eq!(changes.len(), 2);
        assert!(matches!(changes[1], (39, Change::Stop { windows: 6, .. })));
    }

    #[test]
    fn a_long_hiss_before_speech_does_not_belong_to_it() {
        let changes = run(&format!("{}VV", "s".repeat(100)));
        assert_eq!(changes, [(101, start(20))]);
    }
}
