//! What holds on any network: seeds make two parties, their codecs, and everything that goes wrong.

mod common;

use common::*;
use duolog_media::*;

/// Everything one seed makes.
struct Course {
    said: Vec<Said>,
    /// Copies of what was said, not counted in it.
    copies: Vec<Said>,
    start_us: u64,
    pauses: Vec<(u64, u64)>,
    close_us: u64,
}

fn course(seed: u64) -> Course {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..20 {
        dice.next();
    }
    let (mut said, mut copies) = (Vec::new(), Vec::new());
    let jitter_us = [1, 5_000, 40_000, 80_000][dice.below(4) as usize];
    for leg in [OWNER, OTHER] {
        let codec = CODECS[dice.below(CODECS.len() as u64) as usize];
        let mut speaker = Speaker {
            seq: dice.next() as u16,
            timestamp: dice.next() as u32,
            ..Speaker::new(leg, codec)
        };
        speaker.keep_quiet(20 * dice.below(100));
        while speaker.at_us < 12_000_000 {
            match dice.below(12) {
                0 => speaker.keep_quiet(10 * dice.below(300)),
                1 => (0..dice.below(30)).for_each(|_| speaker.lose()),
                2 => speaker.ptime_ms = [10, 20, 30, 40, 60][dice.below(5) as usize],
                3 => {
                    // A pause before it: two sources at once are not what is tested here.
                    speaker.keep_quiet(400);
                    speaker.ssrc += 1;
                    speaker.seq = dice.next() as u16;
                    speaker.timestamp = dice.next() as u32;
                }
                _ => said.extend(speaker.say_for(60 * (1 + dice.below(16)))),
            }
        }
    }
    for said in &mut said {
        said.arrives_us += dice.below(jitter_us);
        if dice.below(40) == 0 {
            let mut copy = said.clone();
            copy.arrives_us += dice.below(60_000);
            copies.push(copy);
        }
    }
    let start_us = 125 * dice.below(16_000);
    let close_us = 10_000_000 + 125 * dice.below(16_000);
    let mut pauses = Vec::new();
    let mut at = start_us + dice.below(3_000_000);
    for _ in 0..dice.below(3) {
        let until = at + dice.below(2_000_000);
        pauses.push((at, until));
        at = until + 500_000 + dice.below(2_000_000);
    }
    Course {
        said,
        copies,
        start_us,
        pauses,
        close_us,
    }
}

impl Course {
    fn run(&self) -> World {
        let mut world = World::of_every_codec();
        let mut flow: Vec<Said> = [self.said.clone(), self.copies.clone()].concat();
        flow.sort_by_key(|said| said.arrives_us);
        let mut commands = vec![(self.start_us, RecordingCommand::Start)];
        for &(from, until) in &self.pauses {
            commands.push((from, RecordingCommand::Pause));
            commands.push((until, RecordingCommand::Resume));
        }
        for (at, command) in commands {
            let later = flow.split_off(flow.partition_point(|said| said.arrives_us <= at));
            world.hear(flow);
            flow = later;
            world.run_to(at);
            world.record(command);
        }
        flow.retain(|said| said.arrives_us <= self.close_us);
        world.hear(flow);
        world.run_to(self.close_us);
        world.close();
        world
    }

    fn check(&self, world: &World, seed: u64) {
        let end = world.check_whole();
        let ran = (self.close_us - self.start_us) / 125;
        assert!(
            (ran..=ran + 320).contains(&end),
            "seed {seed}: {end} ticks, not {ran}"
        );
        let (_, totals) = world.totals();
        assert_eq!(world.dropped(DropReason::Late), 0, "seed {seed}");
        assert_eq!(
            (totals.owner.late, totals.other.late),
            (0, 0),
            "seed {seed}"
        );
        let heard = Channel::BOTH.map(|channel| Heard::of(world, channel));
        for said in &self.said {
            let index = usize::from(said.leg == OTHER);
            let found = heard[index].find(said);
            assert!(found.len() <= 1, "seed {seed}: kept twice");
            assert_eq!(
                heard[1 - index].find(said),
                [],
                "seed {seed}: in the other's channel"
            );
            self.check_one(said, found.first().copied(), seed);
        }
    }

    /// Jitter, the least of which a new source is anchored by, and the length of a packet move where a
    /// packet lies by at most this.
    const MARGIN_US: u64 = 200_000;

    fn check_one(&self, said: &Said, found: Option<u64>, seed: u64) {
        let (from, until) = (said.at_us, said.at_us + 125 * said.ticks);
        let is_clear = |start: u64, end: u64| {
            until + Course::MARGIN_US < start || from > end + Course::MARGIN_US
        };
        let inside = |start: u64, end: u64| {
            from > start + Course::MARGIN_US && until + Course::MARGIN_US < end
        };
        if until + Course::MARGIN_US < self.start_us
            || said.arrives_us > self.close_us
            || self.pauses.iter().any(|&(start, end)| inside(start, end))
        {
            assert_eq!(found, None, "seed {seed}: not to be kept, said at {from}");
            return;
        }
        let free = from > self.start_us + Course::MARGIN_US
            && self.pauses.iter().all(|&(start, end)| is_clear(start, end));
        if free {
            let Some(at) = found else {
                panic!(
                    "seed {seed}: what came in time is lost, said at {from}: {:?}",
                    said.codec
                );
            };
            let wanted = (from - self.start_us) / 125;
            assert!(
                at.abs_diff(wanted) <= 640,
                "seed {seed}: {at}, not {wanted}"
            );
        }
    }
}

#[test]
fn every_network_leaves_a_whole_recording() {
    for seed in 1..=150 {
        let course = course(seed);
        course.check(&course.run(), seed);
    }
}

#[test]
fn one_seed_makes_one_recording() {
    for seed in 1..=20 {
        let course = course(seed);
        assert_eq!(course.run().digest(), course.run().digest(), "seed {seed}");
    }
}
