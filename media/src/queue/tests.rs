//! Tests of the bounded queue: its rules one by one, then random operations against a model.

use bytes::Bytes;

use super::*;
use crate::format::{VideoCodec, VideoFormat};
use crate::frame::Video;
use crate::testing::Rng;
use crate::time::MediaTime;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms * 1_000_000)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limits(frames: usize, bytes: usize, age: Option<Duration>) -> QueueLimits {
    QueueLimits { frames, bytes, age }
}

fn binary(seq: u64, size: usize) -> Frame {
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Binary(Bytes::from(vec![0; size])));
    frame.meta.seq = seq;
    frame
}

fn video(seq: u64, key: bool) -> Frame {
    let format = VideoFormat {
        codec: VideoCodec::Vp8,
    };
    let data = Bytes::from_static(&[0; 10]);
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Video(Video { format, key, data }));
    frame.meta.seq = seq;
    frame
}

fn seqs(queue: &mut BoundedQueue, now: Timestamp) -> Vec<u64> {
    std::iter::from_fn(|| queue.pop(now).frame)
        .map(|frame| frame.meta.seq)
        .collect()
}

fn accept(queue: &mut BoundedQueue, now: Timestamp, frame: Frame) {
    assert_eq!(queue.push(now, frame), Push::Accepted);
}

fn reasons(shed: &Shed) -> Vec<(DropReason, u32)> {
    shed.counts().collect()
}

#[test]
fn block_hands_the_frame_back_and_loses_nothing() {
    let mut queue = BoundedQueue::new(limits(2, 100, None), WhenFull::Block);
    accept(&mut queue, at(0), binary(1, 10));
    accept(&mut queue, at(0), binary(2, 10));
    let Push::Full(frame) = queue.push(at(1), binary(3, 10)) else {
        panic!("a full queue that blocks must hand the frame back");
    };
    assert_eq!(frame.meta.seq, 3);
    let pop = queue.pop(at(5));
    assert_eq!(pop.waited, ms(5));
    accept(&mut queue, at(5), frame);
    assert_eq!(seqs(&mut queue, at(5)), [2, 3]);
}

#[test]
fn drop_oldest_makes_room_by_bytes_too() {
    let mut queue = BoundedQueue::new(limits(10, 100, None), WhenFull::DropOldest);
    for seq in 1..=4 {
        accept(&mut queue, at(0), binary(seq, 25));
    }
    let Push::Dropped { accepted, shed } = queue.push(at(0), binary(5, 60)) else {
        panic!("it cannot fit");
    };
    assert!(accepted);
    assert_eq!(reasons(&shed), [(DropReason::QueueFull, 3)]);
    assert_eq!(shed.bytes, 75);
    assert_eq!(queue.bytes(), 85);
    assert_eq!(seqs(&mut queue, at(0)), [4, 5]);
}

#[test]
fn drop_newest_keeps_what_was_first() {
    let mut queue = BoundedQueue::new(limits(1, 100, None), WhenFull::DropNewest);
    accept(&mut queue, at(0), binary(1, 1));
    let Push::Dropped { accepted, shed } = queue.push(at(0), binary(2, 7)) else {
        panic!("it cannot fit");
    };
    assert!(!accepted && shed.bytes == 7);
    assert_eq!(seqs(&mut queue, at(0)), [1]);
}

#[test]
fn what_is_brought_forward_is_due_and_expires_earlier_and_what_comes_after_is_not() {
    let mut queue = BoundedQueue::new(limits(10, 100, Some(ms(5))), WhenFull::DropOldest);
    for seq in 1..=2 {
        let push = queue.push_due(at(0), at(100 * seq), binary(seq, 1));
        assert_eq!(push, Push::Accepted);
    }
    queue.bring_forward(ms(70));
    assert_eq!(queue.push_due(at(0), at(150), binary(3, 1)), Push::Accepted);
    assert_eq!(
        (queue.next_due(), queue.last_due()),
        (Some(at(30)), Some(at(150)))
    );
    assert_eq!(queue.pop_due(at(29)).frame, None);
    assert_eq!(reasons(&queue.expire(at(36))), [(DropReason::Age, 1)]);
    assert_eq!(queue.next_due(), Some(at(130)));
    assert_eq!(queue.pop_due(at(130)).frame.map(|f| f.meta.seq), Some(2));
    assert_eq!(queue.pop_due(at(150)).frame.map(|f| f.meta.seq), Some(3));
}

#[test]
fn an_empty_queue_takes_one_frame_of_any_size() {
    for when_full in [WhenFull::Block, WhenFull::DropOldest, WhenFull::DropNewest] {
        let mut queue = BoundedQueue::new(limits(4, 10, None), when_full);
        accept(&mut queue, at(0), binary(1, 1_000));
        assert!(!queue.fits(0));
        assert_eq!(queue.room(), (3, 0));
    }
}

#[test]
fn frames_expire_by_age_since_push_and_by_deadline() {
    let mut queue = BoundedQueue::new(limits(10, 1_000, Some(ms(20))), WhenFull::Block);
    accept(&mut queue, at(0), binary(1, 1));
    let mut hurried = binary(2, 1);
    hurried.meta.deadline = Some(at(12));
    accept(&mut queue, at(10), hurried);
    accept(&mut queue, at(10), binary(3, 1));
    let pop = queue.pop(at(21));
    assert_eq!(pop.frame.map(|frame| frame.meta.seq), Some(3));
    assert_eq!(
        reasons(&pop.shed),
        [(DropReason::Age, 1), (DropReason::Deadline, 1)]
    );
}

#[test]
fn age_of_paced_frames_counts_from_the_time_they_are_due() {
    let mut queue = BoundedQueue::new(limits(10, 1_000, Some(ms(50))), WhenFull::Block);
    for seq in 1..=3 {
        assert_eq!(
            queue.push_due(at(0), at(seq * 100), binary(seq, 1)),
            Push::Accepted
        );
    }
    assert_eq!(queue.pop_due(at(99)).frame, None);
    assert_eq!(queue.next_due(), Some(at(100)));
    let first = queue.pop_due(at(100));
    assert_eq!(first.frame.map(|frame| frame.meta.seq), Some(1));
    let late = queue.pop_due(at(310));
    assert_eq!(late.frame.map(|frame| frame.meta.seq), Some(3));
    assert_eq!(reasons(&late.shed), [(DropReason::Age, 1)]);
}

#[test]
fn shed_video_resumes_at_the_next_key_frame() {
    let mut queue = BoundedQueue::new(limits(4, 1_000, None), WhenFull::DropOldest);
    for (seq, key) in [(1, true), (2, false), (3, false), (4, true)] {
        accept(&mut queue, at(0), video(seq, key));
    }
    let Push::Dropped { accepted, shed } = queue.push(at(0), video(5, false)) else {
        panic!("it was full");
    };
    assert!(accepted && !shed.key_frame_wanted);
    assert_eq!(
        reasons(&shed),
        [(DropReason::QueueFull, 1), (DropReason::NoKeyFrame, 2)]
    );
    assert_eq!(seqs(&mut queue, at(0)), [4, 5]);
}

#[test]
fn video_without_a_key_frame_in_sight_asks_for_one_and_waits_for_it() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let mut queue = BoundedQueue::new(limits(2, 1_000, None), when_full);
        accept(&mut queue, at(0), video(1, true));
        accept(&mut queue, at(0), video(2, false));
        for seq in 3..6 {
            let Push::Dropped { accepted, shed } = queue.push(at(0), video(seq, false)) else {
                panic!("{when_full:?}: delta frame {seq} is useless");
            };
            assert!(!accepted && shed.key_frame_wanted);
        }
        let _queued = seqs(&mut queue, at(0));
        accept(&mut queue, at(0), video(6, true));
        accept(&mut queue, at(0), video(7, false));
        assert_eq!(seqs(&mut queue, at(0)), [6, 7]);
    }
}

#[test]
fn a_flush_counts_what_it_removes_and_video_restarts_with_a_key_frame() {
    let mut queue = BoundedQueue::new(limits(9, 1_000, None), WhenFull::Block);
    accept(&mut queue, at(0), video(1, true));
    accept(&mut queue, at(0), video(2, false));
    let shed = queue.clear();
    assert_eq!(reasons(&shed), [(DropReason::Flushed, 2)]);
    assert!(shed.key_frame_wanted && queue.is_empty() && queue.bytes() == 0);
    assert!(matches!(
        queue.push(at(0), video(3, false)),
        Push::Dropped {
            accepted: false,
            ..
        }
    ));
}

/// The same rules written the slow and obvious way, for frames that are not video.
struct Model {
    held: Vec<(u64, usize, Timestamp)>,
    limits: QueueLimits,
    when_full: WhenFull,
}

impl Model {
    fn fits(&self, size: usize) -> bool {
        let bytes: usize = self.held.iter().map(|held| held.1).sum();
        self.held.is_empty()
            || (self.held.len() < self.limits.frames && bytes + size <= self.limits.bytes)
    }

    fn expire(&mut self, now: Timestamp) -> u32 {
        let Some(age) = self.limits.age else {
            return 0;
        };
        let before = self.held.len();
        self.held.retain(|held| now - held.2 <= age);
        u32::try_from(before - self.held.len()).expect("few")
    }

    /// Whether the frame went in (`None`: handed back), and how many were lost.
    fn push(&mut self, now: Timestamp, seq: u64, size: usize) -> (Option<bool>, u32) {
        let mut lost = 0;
        if !self.fits(size) {
            match self.when_full {
                WhenFull::Block => return (None, 0),
                WhenFull::DropNewest => lost += self.expire(now),
                WhenFull::DropOldest => {
                    lost += self.expire(now);
                    while !self.fits(size) {
                        self.held.remove(0);
                        lost += 1;
                    }
                }
            }
        }
        if self.fits(size) {
            self.held.push((seq, size, now));
            (Some(true), lost)
        } else {
            (Some(false), lost + 1)
        }
    }
}

#[test]
fn a_queue_that_waits_blocks_whatever_else_was_asked_for_and_expires_nothing() {
    let mut queue = BoundedQueue::new(limits(1, 100, Some(ms(5))), WhenFull::DropOldest);
    queue.set_waiting(true);
    let mut frame = binary(1, 10);
    frame.meta.deadline = Some(at(2));
    assert_eq!(queue.push(at(0), frame), Push::Accepted);
    assert!(matches!(queue.push(at(0), binary(2, 10)), Push::Full(_)));
    assert_eq!(queue.when_full(), WhenFull::Block);
    assert_eq!(queue.pop(at(100)).frame.map(|f| f.meta.seq), Some(1));
}

#[test]
fn a_consumer_that_comes_in_the_middle_of_a_video_gets_a_key_frame_first() {
    let mut queue = BoundedQueue::new(limits(8, 1_000, None), WhenFull::Block);
    queue.await_key_frame();
    let lost = queue.push(at(0), video(1, false));
    assert!(matches!(lost, Push::Dropped { accepted: false, shed } if shed.key_frame_wanted));
    assert_eq!(queue.push(at(1), video(2, true)), Push::Accepted);
}

#[test]
fn random_operations_agree_with_the_model() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let when_full = [WhenFull::Block, WhenFull::DropOldest, WhenFull::DropNewest]
            [usize::try_from(seed % 3).expect("small")];
        let limits = QueueLimits {
            frames: 1 + usize::try_from(rng.below(8)).expect("small"),
            bytes: 1 + usize::try_from(rng.below(200)).expect("small"),
            age: rng.chance(0.5).then(|| ms(rng.below(30))),
        };
        let mut queue = BoundedQueue::new(limits, when_full);
        let mut model = Model {
            held: Vec::new(),
            limits,
            when_full,
        };
        let mut now = at(0);
        for seq in 1..200 {
            now += ms(rng.below(6));
            if rng.chance(0.55) {
                check_push(&mut queue, &mut model, now, seq, &mut rng, seed);
            } else {
                let lost = model.expire(now);
                let expected = (!model.held.is_empty()).then(|| model.held.remove(0));
                let pop = queue.pop(now);
                assert_eq!(
                    pop.frame.map(|f| f.meta.seq),
                    expected.map(|e| e.0),
                    "seed {seed}"
                );
                assert_eq!(pop.shed.frames(), lost, "seed {seed}");
                assert_eq!(pop.waited, expected.map_or(Duration::ZERO, |e| now - e.2));
            }
            let bytes: usize = model.held.iter().map(|held| held.1).sum();
            assert_eq!(
                (queue.len(), queue.bytes()),
                (model.held.len(), bytes),
                "seed {seed}"
            );
            assert!(
                queue.len() <= 1 || queue.bytes() <= limits.bytes,
                "seed {seed}"
            );
        }
    }
}

fn check_push(
    queue: &mut BoundedQueue,
    model: &mut Model,
    now: Timestamp,
    seq: u64,
    rng: &mut Rng,
    seed: u64,
) {
    let size = usize::try_from(rng.below(80)).expect("small");
    let (expected, lost) = model.push(now, seq, size);
    match queue.push(now, binary(seq, size)) {
        Push::Accepted => assert_eq!((expected, lost), (Some(true), 0), "seed {seed}"),
        Push::Full(frame) => {
            assert_eq!((expected, frame.meta.seq), (None, seq), "seed {seed}");
        }
        Push::Dropped { accepted, shed } => {
            assert_eq!(
                (expected, lost),
                (Some(accepted), shed.frames()),
                "seed {seed}"
            );
        }
    }
}
