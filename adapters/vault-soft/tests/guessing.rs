//! A compromised host guesses PINs over the API, with every oracle that is known of such APIs.
//!
//! The attacker speaks as the host: it opens any account, holds every key block of the host and every reference in its
//! files, has intercepted PIN blocks, and (worst case: a terminal in its hands) can encipher any PIN for any account.
//! Stated bound: a card's PIN is exposed to at most [`GUESSES_PER_DAY`] guesses in a started day, whatever the queries;
//! an intercepted block answers at most one question about another account. Hits are then Poisson with mean
//! victims × days × guesses ÷ 10⁴ for four digits, and the test demands no more than that distribution's 1 − 10⁻⁹ quantile.
//!
//! `IRONTILL_GUESSES` sets the number of queries of each attack (100,000 unless set; the full size is 1,000,000).
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod world;

use keys::{
    Algorithm, AnyKeyBlock, Caller, Command, DecimalisationTable, EncipheredPinBlock, KeyBlock, PinEncryption,
    PinFormat, PinOffsetKey, PinReferenceKey, PinSource, PinVerificationValueKey, Refusal, Reply, SealedAccount, Usage,
    ValidationData,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{Expiry, Pan, Pin};
use vault_soft::{
    Clock, MasterSecrets, PIN_FAILURES_PER_DAY_MAX, PINS_PER_CARD_PER_DAY_MAX, SoftVault, SystemEntropy, VaultKind,
};
use world::{created, one, owner, typed, vault_with_clock};

const DAY_MS: u64 = 86_400_000;
const VICTIMS: usize = 100;
const PIN_SPACE: u32 = 10_000;
/// Guesses at one card in a started day: the wrong verdicts that are answered, and no more different PINs than that.
const GUESSES_PER_DAY: u64 = PIN_FAILURES_PER_DAY_MAX as u64;
const _: () = assert!(PINS_PER_CARD_PER_DAY_MAX as u64 <= GUESSES_PER_DAY);

fn queries() -> u64 {
    std::env::var("IRONTILL_GUESSES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A small generator for the attacker's choices: reproducible, and no part of what is tested.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn pin(number: u32) -> Pin {
    Pin::parse(&format!("{number:04}")).unwrap()
}

/// A vault with everything that the attacker may use.
struct Bench {
    vault: SoftVault,
    hand: Hand,
    terminal: KeyBlock<PinEncryption>,
    zones: Vec<KeyBlock<PinEncryption>>,
    reference: KeyBlock<PinReferenceKey>,
    values: Vec<KeyBlock<PinVerificationValueKey>>,
    offset: KeyBlock<PinOffsetKey>,
}

impl Bench {
    fn new() -> Self {
        let hand = Hand::default();
        let secrets = MasterSecrets::generate(&SystemEntropy, VaultKind::Terminal).unwrap();
        let vault = vault_with_clock(secrets, Box::new(hand.clone()));
        let key = |usage, algorithm, name: &str| -> AnyKeyBlock {
            let owner = owner(name);
            let command = Command::GenerateKey { usage, algorithm, owner, version: 1, exportable: false };
            created(one(&vault, Caller::Administration, command))
        };
        let double = Algorithm::TdesDouble;
        Self {
            terminal: typed(key(Usage::PinEncryption, double, "TERMINAL")),
            zones: (0..20).map(|n| typed(key(Usage::PinEncryption, double, &format!("ZONE {n}")))).collect(),
            reference: typed(key(Usage::PinReference, Algorithm::HmacSha256, "ISSUER")),
            values: (0..20).map(|_| typed(key(Usage::PinVerificationValue, double, "ISSUER"))).collect(),
            offset: typed(key(Usage::PinOffset, double, "ISSUER")),
            vault,
            hand,
        }
    }

    fn account(&self, pan: &str) -> SealedAccount {
        let seal = Command::SealAccount { pan: Pan::parse(pan).unwrap(), expiry: Expiry::new(30, 12) };
        match one(&self.vault, Caller::Host, seal) {
            Reply::AccountSealed { account, .. } => account,
            other => panic!("{other:?}"),
        }
    }

    /// A format 0 block, as an honest terminal or the attacker's makes it.
    fn block(&self, pan: &str, pin: Pin) -> EncipheredPinBlock {
        let encipher = Command::EncipherPin { key: self.terminal.clone(), pin, pan: Pan::parse(pan).unwrap() };
        let Reply::PinBlock { block } = one(&self.vault, Caller::Ped, encipher) else { panic!("no PIN block") };
        let under = PinSource::Key(self.terminal.clone());
        EncipheredPinBlock { format: PinFormat::Iso0, under, block: block.to_vec() }
    }

    fn say(&self, command: Command) -> Reply {
        one(&self.vault, Caller::Host, command)
    }

    fn translate(&self, pin: &EncipheredPinBlock, account: &SealedAccount, zone: usize) -> Reply {
        let (pin, account, to) = (pin.clone(), account.clone(), self.zones[zone].clone());
        self.say(Command::TranslatePinBlock { pin, account, to, to_format: PinFormat::Iso0 })
    }

    fn verify_reference(&self, pin: &EncipheredPinBlock, account: &SealedAccount, reference: [u8; 16]) -> Reply {
        let (pin, account, reference_key) = (pin.clone(), account.clone(), self.reference.clone());
        self.say(Command::VerifyPinReference { pin, account, reference_key, reference })
    }

    fn verify_value(
        &self,
        pin: &EncipheredPinBlock,
        account: &SealedAccount,
        key: usize,
        key_index: u8,
        value: [u8; 4],
    ) -> Reply {
        let (pin, account, key) = (pin.clone(), account.clone(), self.values[key].clone());
        self.say(Command::VerifyPinVerificationValue { pin, account, key, key_index, value })
    }
}

/// A card whose PIN the attacker wants, with everything of it in the host's files.
struct Victim {
    pan: String,
    account: SealedAccount,
    pin: u32,
    reference: [u8; 16],
    value: [u8; 4],
    translated: Vec<u8>,
    guessed: u64,
    found: bool,
}

fn victim(bench: &Bench, number: usize, choices: &mut Choices) -> Victim {
    let pan = format!("622262{:010}", 7_000_000_u64 + 9_973 * number as u64);
    let secret = choices.below(u64::from(PIN_SPACE)) as u32;
    let (account, block) = (bench.account(&pan), bench.block(&pan, pin(secret)));
    let make = |command| one(&bench.vault, Caller::Administration, command);
    let reference = Command::MakePinReference {
        block: block.block.clone().try_into().unwrap(),
        key: bench.terminal.clone(),
        account: account.clone(),
        reference_key: bench.reference.clone(),
    };
    let Reply::PinReference { reference } = make(reference) else { panic!("no reference") };
    let value = Command::MakePinVerificationValue {
        pin: block.clone(),
        account: account.clone(),
        key: bench.values[0].clone(),
        key_index: 1,
    };
    let Reply::PinVerificationValue { value } = make(value) else { panic!("no PVV") };
    let Reply::PinBlockTranslated { block: translated } = bench.translate(&block, &account, 0) else {
        panic!("not translated")
    };
    Victim { pan, account, pin: secret, reference, value, translated, guessed: 0, found: false }
}

/// Least number that a Poisson variable of this mean exceeds with a probability below 10⁻⁹.
fn quantile(mean: f64) -> u64 {
    let (mut term, mut below, mut count) = ((-mean).exp(), 0.0, 0);
    loop {
        below += term;
        if 1.0 - below < 1e-9 {
            return count;
        }
        count += 1;
        term *= mean / count as f64;
    }
}

#[test]
fn the_quantile_is_one() {
    assert_eq!(quantile(1e-12), 0);
    assert!(quantile(0.12) >= 4 && quantile(0.12) <= 7);
    assert!(quantile(12.0) > 12 && quantile(12.0) < 60);
}

/// One guess by one of the oracles; whether it was answered, and whether it was right.
fn guess(bench: &Bench, victim: &Victim, number: u32, by: u64) -> Option<bool> {
    let block = bench.block(&victim.pan, pin(number));
    let reply = match by {
        0 => bench.verify_reference(&block, &victim.account, victim.reference),
        1 => bench.verify_value(&block, &victim.account, 0, 1, victim.value),
        _ => bench.translate(&block, &victim.account, 0),
    };
    match reply {
        Reply::PinVerdict { right } => Some(right),
        Reply::PinBlockTranslated { block } => Some(block == victim.translated),
        Reply::Refused { why } => {
            assert!(matches!(why, Refusal::RateLimited | Refusal::PinBlock), "{why:?}");
            None
        }
        other => panic!("{other:?}"),
    }
}

/// Verdicts, PVVs and equal translations, mixed, on a hundred cards for two days.
#[test]
fn guessing_with_crafted_blocks_is_bounded_whatever_the_oracle() {
    let (bench, mut choices, queries, days) = (Bench::new(), Choices(1), queries(), 2);
    let mut victims: Vec<Victim> = (0..VICTIMS).map(|number| victim(&bench, number, &mut choices)).collect();
    let starts: Vec<u64> = victims.iter().map(|_| choices.below(u64::from(PIN_SPACE))).collect();
    for query in 0..queries {
        bench.hand.0.store(query * days * DAY_MS / queries, Ordering::Relaxed);
        let at = query as usize % VICTIMS;
        let number = (starts[at] + query / VICTIMS as u64) % u64::from(PIN_SPACE);
        if let Some(right) = guess(&bench, &victims[at], number as u32, choices.below(3)) {
            victims[at].guessed += 1;
            victims[at].found |= right;
        }
    }
    for victim in &victims {
        assert!(victim.guessed <= days * GUESSES_PER_DAY, "{} guesses at one card", victim.guessed);
        assert!(victim.guessed > 0, "nothing was answered: the attack is not one");
    }
    let found = victims.iter().filter(|victim| victim.found).count() as u64;
    let mean = VICTIMS as f64 * (days * GUESSES_PER_DAY) as f64 / f64::from(PIN_SPACE);
    assert!(found <= quantile(mean), "{found} PINs found, {mean} expected of guessing within the limit");
    // Without limits the same queries would have found this share of the cards.
    let unlimited = (queries / VICTIMS as u64).min(u64::from(PIN_SPACE)) as f64 / f64::from(PIN_SPACE);
    println!(
        "{queries} queries: {found} of {VICTIMS} PINs, mean {mean:.2} within the limit, {unlimited:.2} of all without"
    );
    // The victims' right PINs are right: the verdicts above could have been.
    bench.hand.0.store((days + 1) * DAY_MS, Ordering::Relaxed);
    assert_eq!(guess(&bench, &victims[0], victims[0].pin, 0), Some(true));
}

/// An account number that mixes other digits into a format 0 block of `pan`, the third PIN digit or the fourth.
fn swapped(pan: &str, choices: &mut Choices) -> String {
    let mut digits = pan.as_bytes().to_vec();
    // Digits of the account field that lie over PIN digits: the first of the twelve left of the check digit.
    let field = digits.len() - 13;
    for at in [field, field + 1] {
        digits[at] = b'0' + choices.below(10) as u8;
    }
    // Beside them, what the block does not see: other tokens for the same digits.
    digits[0] = b'1' + choices.below(9) as u8;
    String::from_utf8(digits).unwrap()
}

/// What an attacker sees of a reply, without cipher text.
fn seen(reply: &Reply) -> String {
    match reply {
        Reply::Refused { why } => format!("{why:?}"),
        Reply::PinVerdict { right } => format!("{right}"),
        other => other.name().to_owned(),
    }
}

const VICTIM_PAN: &str = "6222620012345678";
/// So few that no limit of a day speaks: the guard alone must hold.
const QUERIES_PER_DAY: u64 = 20;

/// Runs the swap attack on a victim with this PIN. The clock is so slow that no limit ever speaks.
fn swap_transcript(secret: u32, first_with_right_account: bool, queries: u64) -> Vec<(String, String)> {
    let (bench, mut choices) = (Bench::new(), Choices(7));
    let right = bench.account(VICTIM_PAN);
    let mut blocks = vec![bench.block(VICTIM_PAN, pin(secret))];
    let mut transcript = Vec::new();
    if first_with_right_account {
        // The honest use, and copies of the block under twenty other keys to swap as well.
        for zone in 0..bench.zones.len() {
            let Reply::PinBlockTranslated { block } = bench.translate(&blocks[0], &right, zone) else {
                panic!("the honest translation")
            };
            let under = PinSource::Key(bench.zones[zone].clone());
            blocks.push(EncipheredPinBlock { format: PinFormat::Iso0, under, block });
        }
    }
    for query in 0..queries {
        bench.hand.0.store((query + 1) * DAY_MS / QUERIES_PER_DAY, Ordering::Relaxed);
        let pan = swapped(VICTIM_PAN, &mut choices);
        if pan == VICTIM_PAN {
            continue;
        }
        let (account, block) = (bench.account(&pan), &blocks[choices.below(blocks.len() as u64) as usize]);
        let reply = match choices.below(3) {
            0 => bench.verify_reference(block, &account, [0; 16]),
            1 => bench.verify_value(block, &account, 0, 1, *b"1234"),
            _ => bench.translate(block, &account, choices.below(20) as usize),
        };
        transcript.push((pan, seen(&reply)));
    }
    transcript
}

/// The block itself would tell: under swapped account numbers it opens for one PIN and not for the other.
fn block_tells(one: u32, other: u32) -> bool {
    use paycrypto::pin_block::{decode_format_0, encode_format_0};
    let mut choices = Choices(7);
    (0..200).any(|_| {
        let pan = swapped(VICTIM_PAN, &mut choices);
        let opens = |number| {
            let block = encode_format_0(&pin(number), VICTIM_PAN.as_bytes()).unwrap();
            decode_format_0(&block, pan.as_bytes()).is_ok()
        };
        opens(one) != opens(other)
    })
}

#[test]
fn swapping_the_account_tells_nothing_of_a_block_that_was_used() {
    assert!(block_tells(1200, 1299), "the attack is not one");
    let one = swap_transcript(1200, true, queries() / 4);
    let other = swap_transcript(1299, true, queries() / 4);
    assert!(one.len() as u64 > queries() / 5);
    assert!(one == other, "the answers depend on the PIN");
    assert!(one.iter().all(|(_, answer)| answer == "PinBlock"), "a limit hid what the guard does");
}

#[test]
fn swapping_the_account_of_an_intercepted_block_answers_one_question() {
    let one = swap_transcript(1200, false, 2_000);
    let other = swap_transcript(1299, false, 2_000);
    let differing = one.iter().zip(&other).filter(|(one, other)| one != other);
    let accounts: BTreeSet<&str> = differing.map(|((pan, _), _)| pan.as_str()).collect();
    assert!(accounts.len() <= 1, "answers for {} accounts depend on the PIN", accounts.len());
    // The block is spent for all accounts but the first one it came with.
    let answered: BTreeSet<&str> =
        one.iter().filter(|(_, answer)| answer != "PinBlock").map(|(pan, _)| pan.as_str()).collect();
    assert!(answered.len() <= 1, "answers for {} accounts", answered.len());
}

/// Bond and Zieliński choose decimalisation tables; here there are two to choose, and twelve answers a day.
#[test]
fn tables_rules_and_offsets_give_no_more_answers_than_the_limit() {
    let (bench, mut choices) = (Bench::new(), Choices(11));
    let (account, block) = (bench.account(VICTIM_PAN), bench.block(VICTIM_PAN, pin(4711)));
    let (days, queries) = (3, queries() / 10);
    let mut answered = 0;
    for query in 0..queries {
        bench.hand.0.store(query * days * DAY_MS / queries, Ordering::Relaxed);
        let reply = bench.say(Command::VerifyPinOffset {
            pin: block.clone(),
            account: account.clone(),
            key: bench.offset.clone(),
            table: DecimalisationTable::ALL[choices.below(2) as usize],
            validation: [ValidationData::LeftmostSixteen, ValidationData::TwelveBeforeCheckDigit]
                [choices.below(2) as usize],
            offset: format!("{:04}", choices.below(10_000)).into_bytes(),
        });
        answered += u64::from(matches!(reply, Reply::PinVerdict { right: false }));
    }
    assert!(answered <= days * GUESSES_PER_DAY, "{answered} answers");
    assert!(answered >= days, "nothing was answered: the attack is not one");
}

/// Other PVV keys, other indices, other values, and account numbers that the PVV cannot tell from the victim's: all count
/// for one card, right answers in between forgive none of them.
#[test]
fn changing_keys_or_leading_digits_gives_no_more_answers_than_the_limit() {
    let (bench, mut choices) = (Bench::new(), Choices(13));
    let victim = victim_at(&bench, VICTIM_PAN, 4711);
    let (days, queries) = (2, queries() / 10);
    let mut wrong = 0;
    for query in 0..queries {
        bench.hand.0.store(query * days * DAY_MS / queries, Ordering::Relaxed);
        let mut pan = VICTIM_PAN.as_bytes().to_vec();
        pan[0] = b'1' + choices.below(9) as u8;
        pan[1] = b'0' + choices.below(10) as u8;
        let pan = String::from_utf8(pan).unwrap();
        let (account, block) = (bench.account(&pan), bench.block(&pan, pin(choices.below(10_000) as u32)));
        let reply = match choices.below(4) {
            0 => {
                // The victim's own block and value wash nothing away.
                let own = bench.block(VICTIM_PAN, pin(4711));
                bench.verify_value(&own, &victim.account, 0, 1, victim.value)
            }
            _ => {
                let (key, index) = (choices.below(20) as usize, choices.below(10) as u8);
                bench.verify_value(&block, &account, key, index, victim.value)
            }
        };
        wrong += u64::from(matches!(reply, Reply::PinVerdict { right: false }));
    }
    assert!(wrong <= days * GUESSES_PER_DAY, "{wrong} wrong answers");
    assert!(wrong >= days, "nothing was answered: the attack is not one");
}

fn victim_at(bench: &Bench, pan: &str, secret: u32) -> Victim {
    let (account, block) = (bench.account(pan), bench.block(pan, pin(secret)));
    let make = Command::MakePinVerificationValue {
        pin: block,
        account: account.clone(),
        key: bench.values[0].clone(),
        key_index: 1,
    };
    let Reply::PinVerificationValue { value } = one(&bench.vault, Caller::Administration, make) else {
        panic!("no PVV")
    };
    let pan = pan.to_owned();
    Victim { pan, account, pin: secret, reference: [0; 16], value, translated: Vec::new(), guessed: 0, found: false }
}
