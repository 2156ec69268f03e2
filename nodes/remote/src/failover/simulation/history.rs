//! What a history is about, drawn from its seed, and what must be true of it at its end.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::SmallRng;
use tidegate_nodes::hop::port_number;
use tidegate_nodes::{DropReason, HopEvent, HopNote};
use tidegate_proto::message::Mode;

use super::worker::{Brain, Recipe, Style, value};
use crate::tiers::Partial;

/// What histories are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// A client that waits: exactly what one worker would have answered.
    Waits,
    /// The same with two inputs, which are answered each by itself.
    Two,
    /// A client that does not wait, and a ring that may be too small: what is missing was counted.
    Live,
    /// A stream for each call.
    Unary,
    /// The same with a limit for each call, and workers that answer late.
    Late,
    /// Workers that say utterances each in its own words: what was said is superseded.
    Supersede,
    /// The same, but nothing is said by halves.
    Hold,
    /// Workers that hear an utterance as it comes and owe nothing of it before its end, however slowly somebody speaks.
    Listens,
    /// The listener interrupts.
    Interrupts,
    /// A session that outlives the trouble by far: it is back at the primary.
    Recovers,
    /// Workers that break every stream when its token ends: each is left before.
    Tokens,
}

/// An input frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fed {
    pub(super) port: usize,
    pub(super) value: u64,
    pub(super) utterance: u64,
    pub(super) is_final: bool,
}

/// An output frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Got {
    value: u64,
    cause: (u16, u64),
    utterance: u64,
    revision: u32,
    is_final: bool,
}

/// The constants of a history.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) flavour: Flavour,
    pub(super) recipe: Recipe,
    pub(super) style: Style,
    pub(super) ring: usize,
    pub(super) endpoints: u32,
    pub(super) inputs: Vec<Fed>,
    /// Faults happen for so long.
    pub(super) trouble: Duration,
    /// Of [`Flavour::Tokens`]: how long a stream's token lives.
    pub(super) token: Duration,
    /// Of [`Flavour::Late`]: how long a call may take.
    pub(super) call: Option<Duration>,
}

/// What the graph heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) outputs: [Vec<Got>; 2],
    ends: [u32; 2],
    pub(super) failed: Option<tidegate_nodes::Error>,
    gaps: u32,
    interrupted: u32,
    tier: usize,
}

impl Flavour {
    pub(super) const fn ports(self) -> usize {
        if matches!(self, Self::Two) { 2 } else { 1 }
    }

    pub(super) const fn mode(self) -> Mode {
        if matches!(self, Self::Live) {
            Mode::Live
        } else {
            Mode::Waits
        }
    }

    pub(super) const fn partial(self) -> Option<Partial> {
        match self {
            Self::Hold => Some(Partial::Hold),
            Self::Supersede => Some(Partial::Supersede),
            _ => None,
        }
    }

    /// Of how many inputs a worker acknowledges one.
    fn every(self, random: &mut SmallRng) -> u64 {
        match self {
            // Who acknowledges nothing is never idle.
            Self::Tokens if random.random_bool(0.5) => 1_000,
            _ if random.random_bool(0.6) => 1,
            _ => 2,
        }
    }

    /// A stream for each call.
    pub(super) const fn calls(self) -> bool {
        matches!(self, Self::Unary | Self::Late)
    }

    /// How long there are faults. A token ends without any.
    fn trouble(self, random: &mut SmallRng) -> Duration {
        match self {
            Self::Tokens => Duration::ZERO,
            _ => Duration::from_millis(random.random_range(0..8_000)),
        }
    }

    const fn talks(self) -> bool {
        matches!(self, Self::Hold | Self::Supersede | Self::Listens)
    }
}

impl Plan {
    pub(super) fn random(random: &mut SmallRng, flavour: Flavour) -> Self {
        let recipe = match flavour {
            Flavour::Hold | Flavour::Supersede | Flavour::Listens => Recipe::Talk,
            Flavour::Live | Flavour::Two | Flavour::Recovers | Flavour::Tokens => Recipe::Echo,
            Flavour::Unary | Flavour::Late | Flavour::Interrupts if random.random_bool(0.5) => {
                Recipe::Fan
            }
            Flavour::Unary | Flavour::Late | Flavour::Interrupts => Recipe::Echo,
            Flavour::Waits => Recipe::random(random),
        };
        let of_utterances = flavour.talks() || flavour.calls() && random.random_bool(0.5);
        let acks = recipe.has_state() || flavour.talks() || random.random_bool(0.8);
        let small = match flavour {
            Flavour::Live => true,
            Flavour::Hold | Flavour::Supersede | Flavour::Listens | Flavour::Tokens => false,
            // A call that is longer than the ring cannot be retried.
            Flavour::Unary | Flavour::Late if of_utterances => false,
            _ => acks && random.random_bool(0.5),
        };
        let style = Style {
            credits: flavour != Flavour::Listens && random.random_bool(0.7),
            acks,
            listens: flavour == Flavour::Listens,
            deterministic: !flavour.talks() && (recipe.has_state() || random.random_bool(0.7)),
            names_places: random.random_bool(0.5),
            every: flavour.every(random),
        };
        let mut utterance = 1;
        // Longer than what may wait for a transport.
        let long = flavour.calls() && of_utterances && random.random_bool(0.3);
        let frames = match flavour {
            Flavour::Recovers | Flavour::Tokens => 90,
            _ if long => random.random_range(200..500),
            _ => random.random_range(5..40),
        };
        let ends = if long { 0.01 } else { 0.3 };
        let mut inputs: Vec<_> = (0..frames)
            .map(|_| {
                let is_final = of_utterances && random.random_bool(ends);
                let number = utterance;
                utterance += u64::from(is_final);
                Fed {
                    port: random.random_range(0..flavour.ports()),
                    value: random.random(),
                    utterance: if of_utterances { number } else { 0 },
                    is_final,
                }
            })
            .collect();
        if let Some(last) = inputs.last_mut() {
            last.is_final = of_utterances;
        }
        Self {
            flavour,
            recipe,
            style,
            ring: if small {
                random.random_range(8..24)
            } else {
                1_024
            },
            endpoints: random.random_range(1..4),
            inputs,
            trouble: flavour.trouble(random),
            token: match flavour {
                Flavour::Tokens => Duration::from_millis(random.random_range(1_000..20_000)),
                _ => Duration::MAX,
            },
            call: (flavour == Flavour::Late)
                .then(|| Duration::from_millis(random.random_range(100..3_000))),
        }
    }
}

impl Heard {
    pub(super) fn hear(&mut self, event: HopEvent) {
        assert!(self.failed.is_none(), "{event:?} after the failure");
        match event {
            HopEvent::Frame { port, frame } => {
                assert_eq!(self.ends[port], 0, "a frame after the end");
                let meta = frame.meta;
                self.outputs[port].push(Got {
                    value: value(&frame),
                    cause: (meta.caused_port, meta.caused_by),
                    utterance: meta.utterance,
                    revision: meta.revision,
                    is_final: meta.is_final,
                });
            }
            HopEvent::Ended { port } => self.ends[port] += 1,
            HopEvent::Failed(error) => self.failed = Some(error),
            HopEvent::Dropped {
                reason: DropReason::Gap,
                frames,
            } => self.gaps += frames,
            HopEvent::Dropped {
                reason: DropReason::Interrupted,
                frames,
            } => self.interrupted += frames,
            HopEvent::Dropped { .. } => panic!("{event:?}"),
            HopEvent::Note(HopNote::Tier(tier)) => self.tier = tier,
            _ => {}
        }
    }

    /// What must be true however it went.
    pub(super) fn check(&self, plan: &Plan) {
        if let (Some(error), Some(limit)) = (&self.failed, plan.call) {
            return self.check_given_up(plan, error, limit);
        }
        assert_eq!(self.failed, None);
        assert_eq!(self.ends, [1, 1], "each output ends once");
        match plan.flavour {
            Flavour::Waits | Flavour::Two | Flavour::Unary | Flavour::Late | Flavour::Tokens => {
                assert_eq!(
                    (self.gaps, self.interrupted),
                    (0, 0),
                    "nothing is forgotten"
                );
                self.check_exact(plan);
            }
            Flavour::Recovers => {
                assert_eq!(self.tier, 0, "it is back at the primary");
                self.check_exact(plan);
            }
            Flavour::Live => self.check_counted(plan),
            Flavour::Supersede | Flavour::Listens => self.check_superseded(plan),
            Flavour::Hold => self.check_held(plan),
            // That no output of what was interrupted comes is seen as it goes.
            Flavour::Interrupts => assert_eq!(self.gaps, 0),
        }
    }

    /// A call took too long: those before it were answered whole. Of it nothing was, unless another worker's answers could have been
    /// told from those that were given already.
    fn check_given_up(&self, plan: &Plan, error: &tidegate_nodes::Error, limit: Duration) {
        let waited = error.elapsed.unwrap_or_default();
        assert!(
            waited >= limit,
            "given up after {waited:?} of {limit:?}: {error}"
        );
        assert_eq!((self.ends, self.gaps), ([0, 0], 0));
        let mut brain = Brain::new(plan.recipe, 0);
        let mut wanted = [Vec::new(), Vec::new()];
        let got = [0, 1].map(|out: usize| {
            let got = self.outputs[out].iter();
            got.map(|got| (got.value, got.cause.1)).collect::<Vec<_>>()
        });
        let mut whole = got == wanted;
        for (seq, fed) in (1..).zip(&plan.inputs) {
            for (out, value) in brain.feed(seq, fed.value) {
                wanted[out].push((value, seq));
            }
            whole |= (fed.is_final || fed.utterance == 0) && got == wanted;
        }
        let mut both = got.iter().zip(&wanted);
        let begun = both.all(|(got, wanted)| wanted.starts_with(got));
        assert!(
            whole || plan.style.deterministic && begun,
            "{} and {} outputs are not the answers of the first calls",
            got[0].len(),
            got[1].len()
        );
    }

    fn check_exact(&self, plan: &Plan) {
        let ports = plan.flavour.ports();
        let mut brains = vec![Brain::new(plan.recipe, 0); ports];
        let mut wanted = [Vec::new(), Vec::new()];
        let mut seen = vec![0; ports];
        let mut want = |outputs: Vec<(usize, u64)>, port: usize, seq: u64| {
            for (out, value) in outputs {
                wanted[out].push((value, (port_number(port), seq)));
            }
        };
        for fed in &plan.inputs {
            seen[fed.port] += 1;
            let made = brains[fed.port].feed(seen[fed.port], fed.value);
            want(made, fed.port, seen[fed.port]);
        }
        for (port, brain) in brains.iter_mut().enumerate() {
            want(brain.end(), port, seen[port] + 1);
        }
        for (out, (got, wanted)) in self.outputs.iter().zip(&mut wanted).enumerate() {
            let mut got: Vec<_> = got.iter().map(|got| (got.value, got.cause)).collect();
            // Of two inputs only each one's own order is promised.
            got.sort_by_key(|(_, (port, _))| *port);
            wanted.sort_by_key(|(_, (port, _))| *port);
            let same = got.iter().zip(wanted.iter()).take_while(|(a, b)| a == b);
            let at = same.count();
            assert!(
                got == *wanted,
                "output {out} differs from number {at} on: {:?} instead of {:?}",
                &got[at..got.len().min(at + 4)],
                &wanted[at..wanted.len().min(at + 4)]
            );
        }
    }

    fn check_counted(&self, plan: &Plan) {
        let got = &self.outputs[0];
        let in_order = got.windows(2).all(|pair| pair[0].cause.1 < pair[1].cause.1);
        assert!(in_order, "each input is answered once and in order");
        let missing = plan.inputs.len() - got.len();
        assert!(
            missing <= self.gaps as usize,
            "{missing} are missing and {} were counted",
            self.gaps
        );
    }

    fn check_superseded(&self, plan: &Plan) {
        let utterances = plan.inputs.last().map_or(0, |last| last.utterance);
        for utterance in 1..=utterances {
            let of = self.outputs[0]
                .iter()
                .filter(|got| got.utterance == utterance);
            let of: Vec<_> = of.collect();
            let finals = of.iter().filter(|got| got.is_final).count();
            assert_eq!(finals, 1, "utterance {utterance} is closed once");
            assert!(of.last().is_some_and(|got| got.is_final), "and then silent");
            let rising = of
                .windows(2)
                .all(|pair| pair[0].revision < pair[1].revision);
            assert!(rising, "what is said supersedes what was said: {of:?}");
        }
    }

    fn check_held(&self, plan: &Plan) {
        let said: Vec<_> = self.outputs[0].iter().collect();
        assert_eq!(said.len(), plan.inputs.len(), "each piece comes once");
        for (got, fed) in said.iter().zip(&plan.inputs) {
            assert_eq!((got.utterance, got.is_final), (fed.utterance, fed.is_final));
        }
        for pair in said.windows(2) {
            let same = pair[0].utterance == pair[1].utterance;
            assert!(
                !same || pair[0].value == pair[1].value,
                "one worker says all of it"
            );
        }
    }
}
