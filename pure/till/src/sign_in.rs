//! Sign-in, sign-off, echo (unionpay-pos §3.4, §4.2).

use crate::machine::{Activity, Till, Turn};
use crate::message;
use crate::record::{Record, SignOutReason};
use crate::response;
use crate::state::orders;
use crate::text::Text;
use crate::wire::{End, Message};
use machine::Tick;
use pedlink::{PedCommand, ResponseSummary};
use types::{BatchNumber, CivilTime, LocalDate, LocalTime, ResponseCode};

impl Till {
    pub(crate) fn send_sign_in(&mut self, turn: &mut Turn) {
        let stan = self.take_stan(turn);
        let request = message::sign_in(&self.config, &self.state, stan);
        self.send(turn, Message::SignIn, request);
    }

    pub(crate) fn sign_in_ended(&mut self, turn: &mut Turn, end: End) {
        match end {
            End::Answered(summary) => match (summary.response_code, &summary.private_62) {
                (Some(ResponseCode::APPROVED), Some(delivery)) => {
                    turn.ped(PedCommand::LoadWorkingKeys { delivery: delivery.clone() });
                    let activity = Activity::LoadingKeys { answer: summary };
                    self.wait_for(turn, activity, self.config.timeouts.ped_ms);
                }
                (Some(code), _) if code != ResponseCode::APPROVED => self.sign_in_failed(turn, &response::text(code)),
                _ => self.sign_in_failed(turn, &Text::new("应答无密钥", "the answer brought no keys")),
            },
            End::NoAnswer(_) if self.may_send_again() => self.send_sign_in(turn),
            end => self.sign_in_failed(turn, &end.text()),
        }
    }

    fn sign_in_failed(&mut self, turn: &mut Turn, why: &Text) {
        self.fail_flush(turn, Text::new(format!("签到失败: {}", why.zh), format!("Sign-in failed: {}", why.en)));
    }

    pub(crate) fn keys_loaded(&mut self, turn: &mut Turn, loaded: bool) {
        if !matches!(self.activity, Activity::LoadingKeys { .. }) {
            return;
        }
        let Activity::LoadingKeys { answer } = self.idle() else { return };
        if !loaded {
            // A check value that does not fit takes the old keys with it (§4.3).
            self.sign_out(turn, SignOutReason::KeysGone);
            return self.sign_in_failed(turn, &Text::new("密钥校验值错", "a key check value does not fit"));
        }
        self.note(
            turn,
            Record::SignedIn {
                batch: batch_of(&answer).unwrap_or(self.state.batch),
                acquirer_id: answer.acquirer_id.clone(),
                clock_skew_s: clock_skew_s(turn.now, self.config.utc_offset_minutes, &answer).unwrap_or(0),
            },
        );
        if let Some(job) = &mut self.job {
            job.sign_ins = job.sign_ins.saturating_add(1);
            job.sign_in_wanted = false;
            job.obeyed |= 1 << orders::SIGN_IN;
        }
        self.step_done(turn);
    }

    pub(crate) fn send_sign_off(&mut self, turn: &mut Turn) {
        let stan = self.take_stan(turn);
        let request = message::sign_off(&self.config, &self.state, stan);
        self.send(turn, Message::SignOff, request);
    }

    pub(crate) fn sign_off_ended(&mut self, turn: &mut Turn, end: End) {
        match end {
            End::Answered(summary) if summary.response_code == Some(ResponseCode::APPROVED) => {
                self.sign_out(turn, SignOutReason::SignOff);
                self.sign_off_over(turn);
            }
            end if self.signs_off_by_itself() => {
                // The settlement itself is done; the next message will show whether the host still knows the till.
                drop(end);
                self.sign_off_over(turn);
            }
            end => self.fail(turn, end.text()),
        }
    }

    /// Whether the sign-off under way is the one behind a settlement (parameter 21).
    fn signs_off_by_itself(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.sign_off_wanted)
    }

    fn sign_off_over(&mut self, turn: &mut Turn) {
        let Some(job) = &mut self.job else { return };
        if core::mem::take(&mut job.sign_off_wanted) {
            return self.step_done(turn);
        }
        self.goal_reached(turn);
    }

    pub(crate) fn send_echo(&mut self, turn: &mut Turn) {
        let request = message::echo(&self.config, &self.state);
        self.send(turn, Message::Echo, request);
    }

    pub(crate) fn echo_ended(&mut self, turn: &mut Turn, end: End) {
        match end {
            End::Answered(summary) if summary.response_code == Some(ResponseCode::APPROVED) => self.goal_reached(turn),
            end => self.fail(turn, end.text()),
        }
    }

    pub(crate) fn goal_reached(&mut self, turn: &mut Turn) {
        if let Some(job) = &mut self.job {
            job.reached = true;
        }
        self.step_done(turn);
    }
}

/// 60.2 of a sign-in answer; `000000` is no batch.
fn batch_of(answer: &ResponseSummary) -> Option<BatchNumber> {
    let digits = answer.private_60.as_deref()?.get(2..8)?;
    BatchNumber::new(digits.parse().ok()?).filter(|batch| *batch != BatchNumber::NONE)
}

/// Host time (F13, F12) minus the till's uncorrected clock, in seconds. F13 has no year: the nearest one is meant.
fn clock_skew_s(now: Tick, offset_minutes: i32, answer: &ResponseSummary) -> Option<i64> {
    let pair = |text: &str, at: usize| text.get(at..at + 2).and_then(|digits| digits.parse::<u8>().ok());
    let (date, time) = (answer.local_date.as_deref()?, answer.local_time.as_deref()?);
    let time = LocalTime::new(pair(time, 0)?, pair(time, 2)?, pair(time, 4)?)?;
    let till = CivilTime::from_unix_ms(now.wall_ms, offset_minutes);
    let year = till.date.year();
    let candidates = [year.saturating_sub(1), year, year.saturating_add(1)];
    candidates
        .into_iter()
        .filter_map(|year| LocalDate::new(year, pair(date, 0)?, pair(date, 2)?))
        .map(|date| seconds(CivilTime { date, time }) - seconds(till))
        .min_by_key(|skew| skew.unsigned_abs())
}

/// Seconds since 0000-03-01 of the proleptic Gregorian calendar.
fn seconds(civil: CivilTime) -> i64 {
    let (month, day) = (i64::from(civil.date.month()), i64::from(civil.date.day()));
    // Years begin in March, so that a leap day is the last of its year.
    let year = i64::from(civil.date.year()) - i64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month_from_march + 2) / 5 + day - 1;
    let (hour, minute, second) = civil.time.parts();
    days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(date: &str, time: &str) -> ResponseSummary {
        ResponseSummary {
            local_date: Some(date.to_owned()),
            local_time: Some(time.to_owned()),
            private_60: Some("00000007004".to_owned()),
            ..ResponseSummary::default()
        }
    }

    #[test]
    fn the_nearest_year_is_meant() {
        // 2024-12-31 23:59:59 in China.
        let now = Tick { monotonic_ms: 0, wall_ms: 1_735_660_799_000 };
        let skew = |date, time| clock_skew_s(now, CivilTime::CHINA_OFFSET_MINUTES, &answer(date, time));
        assert_eq!(skew("1231", "235959"), Some(0));
        assert_eq!(skew("0101", "000009"), Some(10));
        assert_eq!(skew("1230", "235959"), Some(-86_400));
        assert_eq!(skew("1331", "235959"), None);
        assert_eq!(skew("12", "235959"), None);
    }

    #[test]
    fn the_batch_is_the_host_s() {
        assert_eq!(batch_of(&answer("0101", "000000")), BatchNumber::new(7));
        let zero = ResponseSummary { private_60: Some("00000000004".to_owned()), ..ResponseSummary::default() };
        assert_eq!(batch_of(&zero), None);
        let cut = ResponseSummary { private_60: Some("0000".to_owned()), ..ResponseSummary::default() };
        assert_eq!(batch_of(&cut), None);
    }
}
