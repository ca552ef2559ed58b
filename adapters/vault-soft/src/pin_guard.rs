//! Ties PIN blocks to their card, so that the vault is no oracle on a PIN.
//!
//! Formats 0 and 3 and UnionPay's SM4 block only xor the account number to the PIN. Under another account number such a
//! block may open too, and whether it does tells which digits the PIN can have (Clulow 2003). So each content of a
//! block belongs to the first card it came with, under whatever key it travels; under another card it is as good as
//! malformed. One question per intercepted block remains, and none after it.
//!
//! A translation does not say whether a PIN is right, but equal PINs give equal blocks. So each card may show only so
//! many different PINs a day, whatever command they come with.

use crate::secret_memory::SecretBox;
use keys::Refusal;
use paycrypto::mac::HmacSha256Key;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Different PINs of one card that are opened in a day, the right one among them.
pub const PINS_PER_CARD_PER_DAY_MAX: usize = 12;
/// Contents of PIN blocks that are remembered; the oldest makes room.
pub const PIN_BLOCKS_REMEMBERED_MAX: usize = 1 << 20;
/// Cards whose PINs of the day are remembered; the oldest makes room.
pub const CARDS_REMEMBERED_MAX: usize = 1 << 20;

/// Short codes: they need not resist a search, since the key never leaves.
type Code = u64;

/// A map that forgets its oldest entry when it is full.
struct Bounded<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    capacity: usize,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// The value of this key; `fresh` if there is none yet.
    fn entry(&mut self, key: K, fresh: V) -> &mut V {
        if !self.entries.contains_key(&key) {
            if self.order.len() >= self.capacity
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.entries.entry(key).or_insert(fresh)
    }
}

#[derive(Clone, Copy)]
struct PinsOfDay {
    day: u64,
    count: u8,
    /// Codes of the PINs, wide enough that no other PIN of the space meets one by chance.
    pins: [u32; PINS_PER_CARD_PER_DAY_MAX],
}

struct Memory {
    cards_of_blocks: Bounded<Code, Code>,
    pins_of_cards: Bounded<Code, PinsOfDay>,
}

/// Remembers which block came with which card, and how many PINs a card showed today.
pub struct PinGuard {
    key: SecretBox<HmacSha256Key>,
    memory: Mutex<Memory>,
}

impl PinGuard {
    /// Nothing has been seen yet.
    pub fn new(key: SecretBox<HmacSha256Key>) -> Self {
        let memory = Memory {
            cards_of_blocks: Bounded::new(PIN_BLOCKS_REMEMBERED_MAX),
            pins_of_cards: Bounded::new(CARDS_REMEMBERED_MAX),
        };
        Self { key, memory: Mutex::new(memory) }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn code(&self, parts: &[&[u8]]) -> Code {
        let full = self.key.mac(parts);
        Code::from_be_bytes(core::array::from_fn(|i| full[i]))
    }

    /// Whether the clear content of a malleable block belongs to this card. The first card it comes with owns it.
    pub fn belongs(&self, content: &[u8], card: &[u8]) -> bool {
        let (block, card) = (self.code(&[b"block\0", content]), self.code(&[b"card\0", card]));
        *self.memory().cards_of_blocks.entry(block, card) == card
    }

    /// Counts a PIN of a card (by its guess class), unless it was seen today already.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] if the card showed too many different ones today.
    pub fn note_pin(&self, class: &[u8], pin: &[u8], day: u64) -> Result<(), Refusal> {
        let card = self.code(&[b"class\0", class]);
        let pin = (self.code(&[b"pin\0", class, b"\0", pin]) >> 32) as u32;
        let fresh = PinsOfDay { day, count: 0, pins: [0; PINS_PER_CARD_PER_DAY_MAX] };
        let mut memory = self.memory();
        let seen = memory.pins_of_cards.entry(card, fresh);
        if seen.day != day {
            *seen = fresh;
        }
        let count = usize::from(seen.count);
        // Refused for the right PIN too: a door that opens only for a PIN seen before tells which one that was.
        if count >= PINS_PER_CARD_PER_DAY_MAX {
            return Err(Refusal::RateLimited);
        }
        if seen.pins[..count].contains(&pin) {
            return Ok(());
        }
        let slot = &mut seen.pins[count];
        *slot = pin;
        seen.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> PinGuard {
        PinGuard::new(SecretBox::new(|| HmacSha256Key::new(&[5; 32])))
    }

    #[test]
    fn a_block_belongs_to_its_first_card() {
        let guard = guard();
        assert!(guard.belongs(b"content", b"one"));
        assert!(!guard.belongs(b"content", b"two"));
        assert!(guard.belongs(b"content", b"one"));
        assert!(guard.belongs(b"other", b"two"));
    }

    #[test]
    fn a_card_shows_only_so_many_pins_a_day() {
        let guard = guard();
        let note = |pin: usize, day| guard.note_pin(b"card", pin.to_string().as_bytes(), day);
        for pin in 0..PINS_PER_CARD_PER_DAY_MAX - 1 {
            assert_eq!(note(1000 + pin, 1), Ok(()));
            assert_eq!(note(1000, 1), Ok(()));
        }
        assert_eq!(note(9998, 1), Ok(()), "the last one");
        assert_eq!(note(9999, 1), Err(Refusal::RateLimited));
        assert_eq!(note(1000, 1), Err(Refusal::RateLimited), "one seen before is not let through either");
        assert_eq!(guard.note_pin(b"other", b"9999", 1), Ok(()));
        assert_eq!(note(9999, 2), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut bounded = Bounded::new(3);
        for number in 0..5 {
            *bounded.entry(number, 0) += 1;
        }
        *bounded.entry(4, 0) += 1;
        assert_eq!(bounded.entries.len(), 3);
        assert_eq!((bounded.entries.get(&1), bounded.entries.get(&4)), (None, Some(&2)));
    }
}
