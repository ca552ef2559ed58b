//! The clock that the host processes share: it may be set wrong, and right again.

use super::{WALL_START_MS, World};
use crate::auditor::Reading;
use crate::replay::Told;
use machine::Tick;

/// Farthest that it jumps, in milliseconds: forty days, longer than a hold may stand.
const JUMP_MS_MAX: u64 = 40 * 24 * 3_600_000;
/// Farthest of its small jumps: a day, in milliseconds.
const STEP_MS_MAX: u64 = 24 * 3_600_000;
/// What was decided before a jump is on the books after so long, in milliseconds.
const DECIDED_BEFORE_MS: u64 = 5_000;

/// How far it is from the right time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostClock {
    off_ms: i64,
    off_before_ms: i64,
    jumped_ms: Option<u64>,
}

impl HostClock {
    fn wall_ms(monotonic_ms: u64, off_ms: i64) -> u64 {
        (WALL_START_MS + monotonic_ms).saturating_add_signed(off_ms)
    }
}

impl World {
    /// The time by the hosts' clock.
    pub(super) fn host_now(&self) -> Tick {
        let monotonic_ms = self.schedule.now_ms();
        Tick { monotonic_ms, wall_ms: HostClock::wall_ms(monotonic_ms, self.host_clock.off_ms) }
    }

    /// What the hosts' clock may have said when what is written now was decided.
    pub(super) fn host_reading(&self) -> Reading {
        let Tick { monotonic_ms, wall_ms } = self.host_now();
        let just_jumped = self.host_clock.jumped_ms.is_some_and(|jumped| monotonic_ms < jumped + DECIDED_BEFORE_MS);
        let before_ms = HostClock::wall_ms(monotonic_ms, self.host_clock.off_before_ms);
        let other_ms = if just_jumped { before_ms } else { wall_ms };
        Reading { earliest_ms: wall_ms.min(other_ms), latest_ms: wall_ms.max(other_ms) }
    }

    /// With some chance it stands days or weeks from the right time, before or behind it, or is right again.
    pub(super) fn host_clock_may_jump(&mut self, millionths: u32) {
        if millionths == 0 || !self.clocks.chance(millionths) {
            return;
        }
        let now_ms = self.schedule.now_ms();
        if self.host_clock.jumped_ms.is_some_and(|jumped| now_ms < jumped + DECIDED_BEFORE_MS) {
            return;
        }
        let most = *self.clocks.pick(&[0, STEP_MS_MAX, JUMP_MS_MAX, JUMP_MS_MAX]);
        let off_ms = i64::try_from(self.clocks.between(0, most)).expect("forty days");
        let off_ms = if self.clocks.chance(500_000) { -off_ms } else { off_ms };
        self.host_clock = HostClock { off_ms, off_before_ms: self.host_clock.off_ms, jumped_ms: Some(now_ms) };
        self.note("host clock", &off_ms.to_be_bytes());
        self.tell(Told::HostClock(off_ms));
    }
}
