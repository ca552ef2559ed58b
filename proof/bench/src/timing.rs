//! How long something takes on a machine that is not ours alone.

use core::hint::black_box;
use core::time::Duration;
use rustix::time::{ClockId, clock_gettime};

/// How often and how long is measured.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Rounds; their median counts.
    pub rounds: usize,
    /// Length of a round.
    pub round: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { rounds: 7, round: Duration::from_millis(50) }
    }
}

fn nanoseconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Processor time of this process so far, all threads, in nanoseconds.
pub fn process_cpu_ns() -> f64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

/// The middle one.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn cpu_ns<R>(count: u64, work: &mut impl FnMut() -> R) -> f64 {
    let began = nanoseconds(ClockId::ThreadCPUTime);
    for _ in 0..count {
        black_box(work());
    }
    nanoseconds(ClockId::ThreadCPUTime) - began
}

impl Timing {
    /// Processor time of one call, in nanoseconds: median of the rounds behind a warm-up.
    pub fn ns<R>(&self, mut work: impl FnMut() -> R) -> f64 {
        let round_ns = self.round.as_nanos() as f64;
        let mut count = 1;
        while cpu_ns(count, &mut work) < round_ns / 2.0 {
            count *= 2;
        }
        median((0..self.rounds.max(1)).map(|_| cpu_ns(count, &mut work) / count as f64).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_counts() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }

    #[test]
    fn more_work_takes_longer() {
        let timing = Timing { rounds: 3, round: Duration::from_millis(1) };
        let of = |steps: u64| timing.ns(|| (0..steps).fold(0, |sum, step| sum ^ black_box(step)));
        assert!(of(10_000) > of(100));
    }
}
