//! A recorder that gets no processor for a while: the kernel keeps the packets and stamps them, so
//! nothing is lost and nothing moves.

use std::time::{Duration, Instant};

use duolog::phone::Voice;
use duolog_tests::real::exact;
use duolog_tests::real::phones::{self, Phones};
use duolog_tests::real::seed::seeded;
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Site, kept};

const CALLS: usize = 20;
/// Longer than the 200 ms by which a packet may be late.
const STARVED: Duration = Duration::from_millis(800);
/// Packets on their way when a party hangs up: 60 ms.
const LAST_SAMPLES: usize = 480;

#[test]
fn a_recorder_without_a_processor_for_800_ms_loses_nothing() {
    let site = Site::new(&Wishes::default());
    let duolog = Duolog::start(&site);
    let mut random = seeded(80);
    let mut voices = || {
        (0..CALLS)
            .map(|_| phones::noise(&mut random, 30))
            .collect::<Vec<Voice>>()
    };
    let phones = Phones::new(&site, voices(), voices());
    phones.all_talk();
    for _ in 0..3 {
        phones.go_on_until(Instant::now() + Duration::from_secs(1));
        duolog.process.stop();
        phones.go_on_until(Instant::now() + STARVED);
        duolog.process.go_on();
    }
    phones.go_on_until(Instant::now() + Duration::from_secs(1));
    phones.all_hang_up();
    duolog.stop();
    let looks = phones.look();
    let rows = kept::list(&site);
    assert_eq!(rows.len(), CALLS, "a row for every call");
    for row in &rows {
        assert_eq!(row.state, "complete", "{row:?}");
        for compared in exact::recording(&site, row, &looks) {
            assert!(compared.after <= LAST_SAMPLES, "{compared:?} of {row:?}");
        }
        assert_eq!(exact::interior_gaps(&site, row), 0, "{row:?}");
    }
    println!("3 times {STARVED:?} without a processor: {CALLS} recordings are what was sent");
}
