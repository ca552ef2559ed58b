//! Derived unique key per transaction (DUKPT): a terminal and a host that shares one base derivation key agree on a
//! fresh key for every transaction, and a stolen terminal reveals none of the keys it has used.
//!
//! [`tdes`] is ANSI X9.24-1:2009 annex A (kept in X9.24-3:2017 annex C), [`aes`] is X9.24-3:2017. Both walk the same
//! tree: a transaction counter of which only values with few one bits are used, and one derivation step for each one
//! bit, from the highest down. The terminal keeps the untaken branches in one register per counter bit and erases
//! every key as it uses it; the host walks from the initial key each time.

pub mod aes;
pub mod tdes;

use zeroize::Zeroize;

use crate::CryptoError;

/// Which counter values a scheme uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CounterRule {
    /// Width of the transaction counter.
    bits: u32,
    /// Most one bits that a used counter has: bounds the host's steps per transaction.
    ones_max: u32,
}

impl CounterRule {
    /// True if the counter fits its width and has no more one bits than allowed. Zero is the unused initial value.
    fn allows(self, counter: u32) -> bool {
        counter.checked_shr(self.bits).unwrap_or(0) == 0 && counter.count_ones() <= self.ones_max
    }

    /// The counter of the transaction after `counter`, or `None` at the end of the terminal's life.
    fn next(self, counter: u32) -> Option<u32> {
        // With all ones spent, every value before the next carry of the lowest one has too many.
        let step = if counter.count_ones() < self.ones_max { 1 } else { counter & counter.wrapping_neg() };
        counter.checked_add(step).filter(|next| self.allows(*next))
    }

    /// How many used counters are greater than `counter`.
    fn transactions_after(self, counter: u32) -> u64 {
        let mut ones_left = self.ones_max;
        let mut after = 0;
        for bit in (0..self.bits).rev() {
            if counter >> bit & 1 == 0 {
                // Counters that share the higher bits and have a one here.
                after += ones_left.checked_sub(1).map_or(0, |ones| at_most_ones(bit, ones));
            } else if ones_left == 0 {
                break;
            } else {
                ones_left -= 1;
            }
        }
        after
    }

    /// The registers that hold a key while `counter` is next, as a bit mask: that counter's own, and one for each
    /// branch above it that is still untaken and allowed.
    fn registers_in_use(self, counter: u32) -> u32 {
        let lowest = counter & counter.wrapping_neg();
        let untaken = |bit: &u32| {
            let above = counter.checked_shr(bit + 1).unwrap_or(0);
            1_u32 << bit > lowest && counter >> bit & 1 == 0 && above.count_ones() < self.ones_max
        };
        (0..self.bits).filter(untaken).fold(lowest, |mask, bit| mask | 1 << bit)
    }
}

/// Numbers below 2^`bits` with at most `ones_max` one bits.
fn at_most_ones(bits: u32, ones_max: u32) -> u64 {
    let mut binomial = 1;
    let mut sum = 1;
    for ones in 1..=ones_max.min(bits) {
        binomial = binomial * u64::from(bits + 1 - ones) / u64::from(ones);
        sum += binomial;
    }
    sum
}

/// The counters on the way from the initial key to `counter`: its one bits, added from the highest down.
fn path_to(counter: u32) -> impl Iterator<Item = u32> {
    let mut walked = 0;
    (0..counter.count_ones()).map(move |_| {
        let rest = counter ^ walked;
        walked |= 1 << rest.ilog2();
        walked
    })
}

/// The terminal's registers: one per counter bit, each holding the key of a branch that is still to be taken.
struct KeyRegisters<Key, const BITS: usize> {
    keys: [Key; BITS],
    /// Counter of the next transaction; `None` at the end of life.
    counter: Option<u32>,
    rule: CounterRule,
}

impl<Key: Clone + Zeroize, const BITS: usize> KeyRegisters<Key, BITS> {
    /// Fills every register; `first_key` derives from the initial key, which the caller then erases.
    fn load(rule: CounterRule, first_key: impl Fn(u32) -> Key) -> Self {
        Self { keys: core::array::from_fn(|bit| first_key(1 << bit)), counter: Some(1), rule }
    }

    /// Takes the next transaction's counter and key, erases its register and fills those below it.
    fn take(&mut self, derive: impl Fn(&Key, u32) -> Key) -> Result<(u32, Key), CryptoError> {
        let counter = self.counter.ok_or(CryptoError::CounterExhausted)?;
        let (below, rest) = self.keys.split_at_mut(counter.trailing_zeros() as usize);
        let own = rest.first_mut().expect("invariant: the counter is not zero and fits its width");
        // A clone and a wipe: moving the key out would leave its bytes in the register.
        let key = own.clone();
        own.zeroize();
        if counter.count_ones() < self.rule.ones_max {
            for (bit, register) in below.iter_mut().enumerate() {
                *register = derive(&key, counter | 1 << bit);
            }
        }
        self.counter = self.rule.next(counter);
        Ok((counter, key))
    }

    /// Transactions that can still be made.
    fn remaining(&self) -> u64 {
        self.counter.map_or(0, |next| self.rule.transactions_after(next) + 1)
    }

    /// The keys in use, from the register of the lowest counter bit up.
    fn keys_in_use(&self) -> impl Iterator<Item = &Key> {
        let mask = self.counter.map_or(0, |next| self.rule.registers_in_use(next));
        self.keys.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1).map(|(_, key)| key)
    }

    /// Puts saved keys, as [`KeyRegisters::keys_in_use`] listed them, back into their registers.
    fn restore(rule: CounterRule, counter: Option<u32>, saved: impl IntoIterator<Item = Key>, erased: &Key) -> Self {
        let mask = counter.map_or(0, |next| rule.registers_in_use(next));
        let mut saved = saved.into_iter();
        let keys = core::array::from_fn(|bit| {
            let key = if mask >> bit & 1 == 1 { saved.next() } else { None };
            key.unwrap_or_else(|| erased.clone())
        });
        Self { keys, counter, rule }
    }
}

fn write_hex(f: &mut core::fmt::Formatter<'_>, bytes: &[u8]) -> core::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: CounterRule = CounterRule { bits: 9, ones_max: 4 };

    #[test]
    fn every_allowed_counter_is_visited_in_order() {
        let allowed: Vec<u32> = (1..1 << SMALL.bits).filter(|counter| SMALL.allows(*counter)).collect();
        let visited: Vec<u32> = core::iter::successors(SMALL.next(0), |counter| SMALL.next(*counter)).collect();
        assert_eq!(visited, allowed);
        for counter in 0..1 << SMALL.bits {
            let after = allowed.iter().filter(|other| **other > counter).count();
            assert_eq!(SMALL.transactions_after(counter), after as u64, "{counter:b}");
        }
    }

    #[test]
    fn the_path_adds_ones_from_the_highest() {
        assert_eq!(path_to(0b1011).collect::<Vec<_>>(), [0b1000, 0b1010, 0b1011]);
        assert_eq!(path_to(0).count(), 0);
        assert_eq!(path_to(u32::MAX).last(), Some(u32::MAX));
    }

    /// Keys that are the list of their derivations: a register holds exactly the key of its branch.
    #[test]
    fn registers_hold_the_keys_of_untaken_branches() {
        let derive = |key: &Vec<u32>, counter: u32| [&key[..], &[counter]].concat();
        let mut registers = KeyRegisters::<Vec<u32>, 9>::load(SMALL, |counter| vec![counter]);
        let mut expected = SMALL.next(0);
        while let Some(counter) = expected {
            let mask = SMALL.registers_in_use(counter);
            let holding = (0..9).filter(|bit| !registers.keys[*bit].is_empty()).fold(0, |all, bit| all | 1 << bit);
            assert_eq!(mask, holding, "{counter:b}");
            let saved: Vec<Vec<u32>> = registers.keys_in_use().cloned().collect();
            registers = KeyRegisters::restore(SMALL, registers.counter, saved, &Vec::new());
            let remaining = registers.remaining();
            let (taken, key) = registers.take(derive).unwrap();
            assert_eq!((taken, key), (counter, path_to(counter).collect()));
            assert_eq!(registers.remaining(), remaining - 1);
            expected = SMALL.next(counter);
        }
        assert_eq!(registers.take(derive).err(), Some(CryptoError::CounterExhausted));
        assert!(registers.keys.iter().all(Vec::is_empty));
    }

    proptest! {
        #[test]
        fn no_counter_overflows(counter: u32, bits in 1_u32..=32, ones_max in 1_u32..=32) {
            let rule = CounterRule { bits, ones_max: ones_max.min(bits) };
            let next = rule.next(counter);
            prop_assert!(next.is_none_or(|next| next > counter && rule.allows(next)));
            if rule.allows(counter) {
                let here = rule.transactions_after(counter);
                prop_assert_eq!(next.map_or(0, |next| rule.transactions_after(next) + 1), here);
            }
            let _ = (rule.transactions_after(counter), rule.registers_in_use(counter));
        }
    }
}
