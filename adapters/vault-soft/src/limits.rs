//! How often a guess may fail. Whoever can ask a vault ten thousand times has a four-digit PIN.
//!
//! Each subject has a window of a minute, which slows a program down and forgets on a success, and a day, which nothing
//! forgives: a caller that knows one right answer could otherwise wash its failures away. The day's failures of PINs
//! and card codes can be kept in a file ([`crate::TryFile`]), so that a restart forgets none of them; the issuer's
//! durable PIN try counter stands behind all this and is what blocks a card.

use crate::clock::Clock;
use crate::tries::TryFile;
use keys::Refusal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Wrong PINs or malformed PIN blocks of one card that are answered in a minute.
pub const PIN_FAILURES_PER_MINUTE_MAX: u32 = 10;
/// Wrong PINs or malformed PIN blocks of one card that are answered in a day, right ones between them or not.
pub const PIN_FAILURES_PER_DAY_MAX: u32 = 12;
/// Malformed PIN blocks under one owner's PIN keys that are answered in a day. A terminal whose key is right sends none.
pub const MALFORMED_PIN_BLOCKS_PER_DAY_MAX: u32 = 50;
/// Wrong card codes (CVV, CVC3, dCVV) of one card that are answered in a minute. They have three digits.
pub const CARD_CODE_FAILURES_PER_MINUTE_MAX: u32 = 5;
/// Wrong card codes of one card that are answered in a day.
pub const CARD_CODE_FAILURES_PER_DAY_MAX: u32 = 10;
/// Wrong cryptograms of one card that are answered in a minute.
pub const CRYPTOGRAM_FAILURES_PER_MINUTE_MAX: u32 = 30;
/// Wrong MACs under one terminal's keys that are answered in a minute. F64 has 32 bits. After a sign-in a host tries a message of
/// the time before under the present keys and then under the earlier ones: wrong once, then right, and the right one forgives.
/// So no overlap of keys locks a terminal out, and a forger gets fewer tries for each set of keys that the host still takes.
pub const MAC_FAILURES_PER_MINUTE_MAX: u32 = 1000;
/// Undecipherable account data of one device that is answered in a minute.
pub const ACCOUNT_DATA_FAILURES_PER_MINUTE_MAX: u32 = 100;
/// Wrong passphrases of one custodian that are answered in a minute.
pub const CUSTODIAN_FAILURES_PER_MINUTE_MAX: u32 = 5;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
/// Subjects remembered at once; the one whose window began first makes room.
const SUBJECTS_MAX: usize = 65_536;
/// Subjects at their limit that wait to be recorded; more of them are one flood.
const TRIPPED_MAX: usize = 64;

/// Length of what a card is known by here: see [`crate::vault::SoftVault`]'s guess class.
pub const GUESS_CLASS_BYTES: usize = 16;

/// Who is being guessed at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// PINs of a card, by its guess class.
    Pin([u8; GUESS_CLASS_BYTES]),
    /// Card codes of a card.
    CardCode([u8; GUESS_CLASS_BYTES]),
    /// Cryptograms of a card.
    Cryptogram([u8; GUESS_CLASS_BYTES]),
    /// MACs under the keys of an owner.
    Mac(String),
    /// PIN blocks under the keys of an owner.
    PinSource(String),
    /// Account data of a device.
    AccountData(String),
    /// Passphrases of a custodian; of all names that nobody has, by the empty name.
    Custodian(String),
}

struct Limits {
    per_minute: u32,
    per_day: u32,
}

impl Subject {
    fn limits(&self) -> Limits {
        let (per_minute, per_day) = match self {
            Self::Pin(_) => (PIN_FAILURES_PER_MINUTE_MAX, PIN_FAILURES_PER_DAY_MAX),
            Self::CardCode(_) => (CARD_CODE_FAILURES_PER_MINUTE_MAX, CARD_CODE_FAILURES_PER_DAY_MAX),
            Self::Cryptogram(_) => (CRYPTOGRAM_FAILURES_PER_MINUTE_MAX, u32::MAX),
            Self::Mac(_) => (MAC_FAILURES_PER_MINUTE_MAX, u32::MAX),
            Self::PinSource(_) => (MALFORMED_PIN_BLOCKS_PER_DAY_MAX, MALFORMED_PIN_BLOCKS_PER_DAY_MAX),
            Self::AccountData(_) => (ACCOUNT_DATA_FAILURES_PER_MINUTE_MAX, u32::MAX),
            Self::Custodian(_) => (CUSTODIAN_FAILURES_PER_MINUTE_MAX, u32::MAX),
        };
        Limits { per_minute, per_day }
    }

    /// What the try file knows it by: few values, and no card can be read from one. None if a restart may forget it.
    fn durable_tag(&self) -> Option<[u8; GUESS_CLASS_BYTES]> {
        match self {
            Self::Pin(class) => Some(*class),
            Self::CardCode(class) => Some(core::array::from_fn(|i| class[i] ^ 0xC5)),
            _ => None,
        }
    }

    /// For the audit. A guess class names no card to whoever has no vault; a PAN never comes here.
    fn text(&self) -> String {
        match self {
            Self::Pin(class) => format!("PIN of guess class {}", keys::hex(class)),
            Self::CardCode(class) => format!("card code of guess class {}", keys::hex(class)),
            Self::Cryptogram(class) => format!("cryptogram of guess class {}", keys::hex(class)),
            Self::Mac(owner) => format!("MAC under keys of {owner}"),
            Self::PinSource(owner) => format!("PIN blocks under keys of {owner}"),
            Self::AccountData(device) => format!("account data of {device}"),
            Self::Custodian(name) if name.is_empty() => "passphrase of unknown custodians".to_owned(),
            Self::Custodian(name) => format!("passphrase of custodian {name}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Window {
    began_ms: u64,
    failures: u32,
    day: u64,
    failures_of_day: u32,
}

impl Window {
    fn minute_is_over(&self, now: Now) -> bool {
        now.ms.saturating_sub(self.began_ms) >= MINUTE_MS
    }

    fn is_over(&self, now: Now) -> bool {
        self.minute_is_over(now) && self.day != now.day
    }

    fn exceeds(&self, now: Now, limits: &Limits) -> bool {
        let of_minute = if self.minute_is_over(now) { 0 } else { self.failures };
        let of_day = if self.day == now.day { self.failures_of_day } else { 0 };
        of_minute >= limits.per_minute || of_day >= limits.per_day
    }

    fn count(&mut self, now: Now) {
        if self.minute_is_over(now) {
            (self.began_ms, self.failures) = (now.ms, 0);
        }
        if self.day != now.day {
            (self.day, self.failures_of_day) = (now.day, 0);
        }
        self.failures = self.failures.saturating_add(1);
        self.failures_of_day = self.failures_of_day.saturating_add(1);
    }

    /// Whether the failure just counted was the last one that is answered.
    fn reaches(&self, limits: &Limits) -> bool {
        self.failures == limits.per_minute || self.failures_of_day == limits.per_day
    }
}

#[derive(Clone, Copy)]
struct Now {
    ms: u64,
    day: u64,
}

/// Counts failures per subject, minute and day.
pub struct GuessLimiter {
    clock: Box<dyn Clock>,
    windows: Mutex<BTreeMap<Subject, Window>>,
    tries: Option<TryFile>,
    tripped: Mutex<Vec<String>>,
    has_tripped: AtomicBool,
}

impl GuessLimiter {
    /// Nothing has failed yet.
    pub fn new(clock: Box<dyn Clock>) -> Self {
        let has_tripped = AtomicBool::new(false);
        Self { clock, windows: Mutex::default(), tries: None, tripped: Mutex::default(), has_tripped }
    }

    /// Keeps the day's failures in a file as well, and knows those that are in it.
    pub fn keep(&mut self, tries: TryFile) {
        self.tries = Some(tries);
    }

    /// The day by the calendar, or by the clock if it has none.
    pub fn today(&self) -> u64 {
        self.now().day
    }

    /// The day by the calendar.
    pub fn calendar_day(&self) -> Option<u32> {
        self.clock.today()
    }

    fn now(&self) -> Now {
        let ms = self.clock.now_ms();
        Now { ms, day: self.clock.today().map_or(ms / DAY_MS, u64::from) }
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

    fn failures_on_file(&self, subject: &Subject, day: u64) -> u32 {
        let tag = subject.durable_tag();
        tag.zip(self.tries.as_ref()).map_or(0, |(tag, tries)| tries.failures(&tag, day))
    }

    /// Refuses a subject that failed too often in this minute or on this day.
    pub fn check(&self, subject: &Subject) -> Result<(), Refusal> {
        let (now, limits) = (self.now(), subject.limits());
        let exceeded = self.windows().get(subject).is_some_and(|window| window.exceeds(now, &limits));
        if exceeded || self.failures_on_file(subject, now.day) >= limits.per_day {
            return Err(Refusal::RateLimited);
        }
        Ok(())
    }

    /// Counts a failure, or forgets the subject's failures of this minute on a success.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if a failure that must outlive a restart could not be written down: it must not be
    /// answered then.
    pub fn note(&self, subject: Subject, right: bool) -> Result<(), Refusal> {
        let now = self.now();
        if right {
            if let Some(window) = self.windows().get_mut(&subject) {
                window.failures = 0;
            }
            return Ok(());
        }
        if let (Some(tag), Some(tries)) = (subject.durable_tag(), &self.tries) {
            tries.note(&tag, now.day).map_err(|_| Refusal::Unavailable)?;
        }
        let failures_on_file = self.failures_on_file(&subject, now.day);
        let mut windows = self.windows();
        if windows.len() >= SUBJECTS_MAX && !windows.contains_key(&subject) {
            make_room(&mut windows, now);
        }
        let fresh = Window { began_ms: now.ms, failures: 0, day: now.day, failures_of_day: 0 };
        let (limits, text) = (subject.limits(), subject.text());
        let window = windows.entry(subject).or_insert(fresh);
        window.count(now);
        // A restart may have forgotten the window but not the file.
        if window.reaches(&limits) || failures_on_file == limits.per_day {
            self.trip(text);
        }
        Ok(())
    }
}

fn make_room(windows: &mut BTreeMap<Subject, Window>, now: Now) {
    windows.retain(|_, window| !window.is_over(now));
    if windows.len() >= SUBJECTS_MAX {
        // Cards keep their day as long as anything else can go: an attacker must not wash it out with other subjects.
        let oldest = windows.iter().min_by_key(|(subject, window)| (subject.durable_tag().is_some(), window.began_ms));
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
            limiter.note(card.clone(), false).unwrap();
        }
        assert_eq!(limiter.check(&card), Err(Refusal::RateLimited));
        assert_eq!(limiter.take_tripped(), ["PIN of guess class 01010101010101010101010101010101"]);
        assert!(limiter.take_tripped().is_empty());
        assert_eq!(limiter.check(&Subject::Pin([2; 16])), Ok(()));
        assert_eq!(limiter.check(&Subject::Cryptogram([1; 16])), Ok(()));
        hand.0.store(MINUTE_MS, Ordering::Relaxed);
        assert_eq!(limiter.check(&card), Ok(()));
    }

    #[test]
    fn a_success_forgives_the_minute_and_nothing_forgives_the_day() {
        let hand = Hand::default();
        let limiter = GuessLimiter::new(Box::new(hand.clone()));
        let card = Subject::Pin([1; 16]);
        for _ in 0..PIN_FAILURES_PER_DAY_MAX {
            assert_eq!(limiter.check(&card), Ok(()));
            limiter.note(card.clone(), false).unwrap();
            limiter.note(card.clone(), true).unwrap();
        }
        assert_eq!(limiter.check(&card), Err(Refusal::RateLimited));
        hand.0.store(DAY_MS - 1, Ordering::Relaxed);
        assert_eq!(limiter.check(&card), Err(Refusal::RateLimited));
        hand.0.store(DAY_MS, Ordering::Relaxed);
        assert_eq!(limiter.check(&card), Ok(()));
    }

    #[test]
    fn an_overlap_of_keys_locks_no_terminal_out() {
        let limiter = GuessLimiter::new(Box::new(Hand::default()));
        let terminal = || Subject::Mac("12345678".to_owned());
        for _ in 0..2 * MAC_FAILURES_PER_MINUTE_MAX {
            for right in [false, true] {
                assert_eq!(limiter.check(&terminal()), Ok(()));
                limiter.note(terminal(), right).unwrap();
            }
        }
        assert!(limiter.take_tripped().is_empty());
    }

    #[test]
    fn memory_is_bounded_and_cards_go_last() {
        let hand = Hand::default();
        let limiter = GuessLimiter::new(Box::new(hand.clone()));
        let card = Subject::Pin([1; 16]);
        for _ in 0..PIN_FAILURES_PER_DAY_MAX {
            limiter.note(card.clone(), false).unwrap();
        }
        hand.0.store(1, Ordering::Relaxed);
        for number in 0..SUBJECTS_MAX + 5 {
            limiter.note(Subject::Mac(number.to_string()), false).unwrap();
        }
        assert_eq!(limiter.windows().len(), SUBJECTS_MAX);
        assert_eq!(limiter.check(&card), Err(Refusal::RateLimited));
    }
}
