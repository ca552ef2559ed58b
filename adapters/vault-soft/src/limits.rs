//! How often a guess may fail. Whoever can ask a vault ten thousand times has a four-digit PIN.
//!
//! Counted in memory, per minute: the issuer's durable PIN try counter stands behind it and is what blocks a card.

use crate::clock::Clock;
use keys::Refusal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Wrong PINs or malformed PIN blocks of one card that are answered in a minute.
pub const PIN_FAILURES_PER_MINUTE_MAX: u32 = 10;
/// Wrong cryptograms of one card that are answered in a minute.
pub const CRYPTOGRAM_FAILURES_PER_MINUTE_MAX: u32 = 30;
/// Wrong MACs under one terminal's keys that are answered in a minute. F64 has 32 bits.
pub const MAC_FAILURES_PER_MINUTE_MAX: u32 = 1000;
/// Wrong passphrases of one custodian that are answered in a minute.
pub const CUSTODIAN_FAILURES_PER_MINUTE_MAX: u32 = 5;

const WINDOW_MS: u64 = 60_000;
/// Subjects remembered at once; the one whose window began first makes room.
const SUBJECTS_MAX: usize = 65_536;
/// Subjects at their limit that wait to be recorded; more of them are one flood.
const TRIPPED_MAX: usize = 64;

/// Who is being guessed at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// PINs of a card, by its token.
    Pin([u8; 16]),
    /// Cryptograms of a card, by its token.
    Cryptogram([u8; 16]),
    /// MACs under the keys of an owner.
    Mac(String),
    /// Passphrases of a custodian; of all names that nobody has, by the empty name.
    Custodian(String),
}

impl Subject {
    fn failures_max(&self) -> u32 {
        match self {
            Self::Pin(_) => PIN_FAILURES_PER_MINUTE_MAX,
            Self::Cryptogram(_) => CRYPTOGRAM_FAILURES_PER_MINUTE_MAX,
            Self::Mac(_) => MAC_FAILURES_PER_MINUTE_MAX,
            Self::Custodian(_) => CUSTODIAN_FAILURES_PER_MINUTE_MAX,
        }
    }

    /// For the audit. A token is no secret, a PAN never comes here.
    fn text(&self) -> String {
        match self {
            Self::Pin(token) => format!("PIN of card token {}", keys::hex(token)),
            Self::Cryptogram(token) => format!("cryptogram of card token {}", keys::hex(token)),
            Self::Mac(owner) => format!("MAC under keys of {owner}"),
            Self::Custodian(name) if name.is_empty() => "passphrase of unknown custodians".to_owned(),
            Self::Custodian(name) => format!("passphrase of custodian {name}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Window {
    began_ms: u64,
    failures: u32,
}

impl Window {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.began_ms) >= WINDOW_MS
    }
}

/// Counts failures per subject and minute.
pub struct GuessLimiter {
    clock: Box<dyn Clock>,
    windows: Mutex<BTreeMap<Subject, Window>>,
    tripped: Mutex<Vec<String>>,
    has_tripped: AtomicBool,
}

impl GuessLimiter {
    /// Nothing has failed yet.
    pub fn new(clock: Box<dyn Clock>) -> Self {
        let has_tripped = AtomicBool::new(false);
        Self { clock, windows: Mutex::default(), tripped: Mutex::default(), has_tripped }
    }

    /// The clock that it counts by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Subjects that reached their limit since the last call, in words.
    pub fn take_tripped(&self) -> Vec<String> {
        if !self.has_tripped.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.has_tripped.store(false, Ordering::Release);
        core::mem::take(&mut *self.tripped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn trip(&self, subject: String) {
        let mut tripped = self.tripped.lock().unwrap_or_else(PoisonError::into_inner);
        if tripped.len() < TRIPPED_MAX {
            tripped.push(subject);
        }
        self.has_tripped.store(true, Ordering::Release);
    }

    fn windows(&self) -> MutexGuard<'_, BTreeMap<Subject, Window>> {
        // Counters stay meaningful whatever a panicking holder was doing.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a subject that failed too often in this minute.
    pub fn check(&self, subject: &Subject) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        match self.windows().get(subject) {
            Some(window) if !window.is_over(now_ms) && window.failures >= subject.failures_max() => {
                Err(Refusal::RateLimited)
            }
            _ => Ok(()),
        }
    }

    /// Counts a failure, or forgets the subject's failures on a success.
    pub fn note(&self, subject: Subject, right: bool) {
        let now_ms = self.clock.now_ms();
        let mut windows = self.windows();
        if right {
            windows.remove(&subject);
            return;
        }
        if windows.len() >= SUBJECTS_MAX && !windows.contains_key(&subject) {
            make_room(&mut windows, now_ms);
        }
        let fresh = Window { began_ms: now_ms, failures: 0 };
        let (text, failures_max) = (subject.text(), subject.failures_max());
        let window = windows.entry(subject).or_insert(fresh);
        if window.is_over(now_ms) {
            *window = fresh;
        }
        window.failures = window.failures.saturating_add(1);
        if window.failures == failures_max {
            self.trip(text);
        }
    }
}

fn make_room(windows: &mut BTreeMap<Subject, Window>, now_ms: u64) {
    windows.retain(|_, window| !window.is_over(now_ms));
    if windows.len() >= SUBJECTS_MAX {
        let oldest = windows.iter().min_by_key(|(_, window)| window.began_ms);
        if let Some(subject) = oldest.map(|(subject, _)| subject.clone()) {
            windows.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    #[derive(Clone, Default)]
    struct Hand(Arc<AtomicU64>);

    impl Clock for Hand {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_minute_of_failures_closes_the_door_and_the_next_opens_it() {
        let hand = Hand::default();
        let limiter = GuessLimiter::new(Box::new(hand.clone()));
        let card = Subject::Pin([1; 16]);
        for _ in 0..PIN_FAILURES_PER_MINUTE_MAX {
            assert_eq!(limiter.check(&card), Ok(()));
            limiter.note(card.clone(), false);
        }
        assert_eq!(limiter.check(&card), Err(Refusal::RateLimited));
        assert_eq!(limiter.take_tripped(), ["PIN of card token 01010101010101010101010101010101"]);
        assert!(limiter.take_tripped().is_empty());
        assert_eq!(limiter.check(&Subject::Pin([2; 16])), Ok(()));
        assert_eq!(limiter.check(&Subject::Cryptogram([1; 16])), Ok(()));
        hand.0.store(WINDOW_MS, Ordering::Relaxed);
        assert_eq!(limiter.check(&card), Ok(()));
    }

    #[test]
    fn a_success_forgives() {
        let limiter = GuessLimiter::new(Box::new(Hand::default()));
        let card = Subject::Pin([1; 16]);
        for _ in 1..PIN_FAILURES_PER_MINUTE_MAX {
            limiter.note(card.clone(), false);
        }
        limiter.note(card.clone(), true);
        limiter.note(card.clone(), false);
        assert_eq!(limiter.check(&card), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = GuessLimiter::new(Box::new(Hand::default()));
        for number in 0..SUBJECTS_MAX + 5 {
            limiter.note(Subject::Mac(number.to_string()), false);
        }
        assert_eq!(limiter.windows().len(), SUBJECTS_MAX);
    }
}
