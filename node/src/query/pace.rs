//! How long a busy peer is left in peace before it is asked the same again. Pure but for the clock and the dice of
//! [`pauses`].

use std::time::{Duration, Instant};

/// The longest first pause: one answer of ours takes about as long.
const FIRST: Duration = Duration::from_millis(50);
/// No pause is longer: a peer that has become free is asked soon.
const LONGEST: Duration = Duration::from_millis(300);
/// A question that is longer than this loads the links more than the wait costs.
const LONG_BYTES: usize = 64 * 1024;
/// How many times longer the pauses of a long question are.
const LONG_TIMES: u32 = 15;

/// Pauses before a busy peer is asked again a question of so many bytes, as long as time is left behind them. Each is
/// drawn, so that those who wait do not come back together.
pub(super) fn pauses(until: Instant, question_bytes: usize) -> impl Iterator<Item = Duration> {
    let draw = || uuid::Uuid::new_v4().as_u64_pair().1;
    (0..).map_while(move |nth| {
        pause(nth, question_bytes, until.saturating_duration_since(Instant::now()), draw())
    })
}

/// The pause after so many others. They double; the last are shorter, so that what time is left is used.
fn pause(nth: u32, question_bytes: usize, left: Duration, drawn: u64) -> Option<Duration> {
    let times = if question_bytes > LONG_BYTES { LONG_TIMES } else { 1 };
    let most = times * FIRST.saturating_mul(1 << nth.min(8)).min(LONGEST);
    let least = most * 2 / 5;
    let span = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX - 1);
    let pause = least + Duration::from_micros(drawn % (span + 1));
    let pause = pause.min((left / 2).max(times * FIRST * 2 / 5));
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(3600);

    /// The shortest and the longest that a pause can be, in milliseconds.
    fn bounds(nth: u32, question_bytes: usize) -> (u128, u128) {
        let drawn: Vec<_> =
            (0..1000).map(|n| pause(nth, question_bytes, LEFT, n * 7919).unwrap().as_millis()).collect();
        (*drawn.iter().min().unwrap(), *drawn.iter().max().unwrap())
    }

    #[test]
    fn pauses_are_drawn_and_double_up_to_the_longest() {
        for (nth, least, most) in
            [(0, 20, 50), (1, 40, 100), (2, 80, 200), (3, 120, 300), (4, 120, 300), (u32::MAX, 120, 300)]
        {
            let (shortest, longest) = bounds(nth, LONG_BYTES);
            assert!(least <= shortest && longest <= most, "{nth}: {shortest} to {longest}");
            assert!(shortest < least + 10 && longest + 10 > most, "{nth}: {shortest} to {longest}");
        }
    }

    #[test]
    fn a_long_question_is_sent_again_seldom() {
        assert!(bounds(0, LONG_BYTES + 1).0 >= 300);
        assert!(bounds(9, LONG_BYTES + 1).0 >= 1800);
        let mut left = Duration::from_secs(10);
        let mut times = 0;
        while let Some(pause) = pause(times, 2 * 1024 * 1024, left, 0) {
            (left, times) = (left - pause, times + 1);
        }
        assert!((5..=12).contains(&times), "{times}");
    }

    #[test]
    fn the_time_that_is_left_is_used_and_no_more() {
        let left = |ms| pause(9, 0, Duration::from_millis(ms), u64::MAX).map(|pause| pause.as_millis());
        assert_eq!([left(0), left(20), left(21), left(100)], [None, None, Some(20), Some(50)]);
    }
}
