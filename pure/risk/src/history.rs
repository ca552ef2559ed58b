//! What went before: its keys in a store, its bounds, and what still stands of it.

use crate::question::{Past, Question};
use ledger::Intent;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use types::{CardToken, MerchantId, TerminalId};

/// Most transactions of one card, terminal or merchant that a rule looks back on, newest first. Counts and sums end there.
pub const HISTORY_ENTRIES_MAX: usize = 256;
/// Longest window of a rule in minutes: thirty days.
pub const WINDOW_MINUTES_MAX: u32 = 30 * 24 * 60;
const MILLISECONDS_A_MINUTE: u64 = 60_000;

/// Whose past.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// The card's, anywhere.
    Card,
    /// The terminal's.
    Terminal,
    /// The merchant's, all its terminals.
    Merchant,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 3] = [Scope::Card, Scope::Terminal, Scope::Merchant];

    /// Its name in rules.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Card => "card",
            Scope::Terminal => "terminal",
            Scope::Merchant => "merchant",
        }
    }

    fn number(self) -> u8 {
        match self {
            Scope::Card => 1,
            Scope::Terminal => 2,
            Scope::Merchant => 3,
        }
    }

    /// What the keys of one card, terminal or merchant begin with; none if the message names no card.
    fn prefix(self, card: Option<CardToken>, terminal: TerminalId, merchant: MerchantId) -> Option<Vec<u8>> {
        let id = match self {
            Scope::Card => card?.0.to_vec(),
            Scope::Terminal => terminal.bytes().to_vec(),
            Scope::Merchant => merchant.bytes().to_vec(),
        };
        Some([&[self.number()][..], &id].concat())
    }
}

/// Newest first in the order of keys.
fn backwards(wall_ms: u64) -> [u8; 8] {
    (u64::MAX - wall_ms).to_be_bytes()
}

/// The key of a remembered transaction in one scope; none if it names no card and the scope is the card's.
pub fn past_key(scope: Scope, past: &Past) -> Option<Vec<u8>> {
    let prefix = scope.prefix(past.card, past.intent.terminal, past.intent.merchant)?;
    Some([&prefix[..], &backwards(past.wall_ms), &past.intent.key()].concat())
}

/// The keys (from, and up to but without) of what a question's scope remembers of the last so many minutes, newest first.
pub fn past_range(scope: Scope, question: &Question, minutes: u32) -> Option<(Vec<u8>, Vec<u8>)> {
    let prefix = scope.prefix(question.card, question.intent.terminal, question.intent.merchant)?;
    let oldest_ms = question.wall_ms.saturating_sub(u64::from(minutes) * MILLISECONDS_A_MINUTE);
    // The past ends before the question's own millisecond begins to be the future.
    let (from, until) = (backwards(question.wall_ms), backwards(oldest_ms.saturating_sub(1)));
    Some(([&prefix[..], &from].concat(), [&prefix[..], &until].concat()))
}

/// One scope's past, newest first, with whether each entry still stands.
#[derive(Clone, Debug, Default)]
struct Line(Vec<(Past, bool)>);

impl Line {
    fn new(mut pasts: Vec<Past>) -> Self {
        pasts.truncate(HISTORY_ENTRIES_MAX);
        let undone_by = |undoes: &dyn Fn(&Past) -> bool| -> BTreeSet<Intent> {
            pasts.iter().filter(|past| past.approved && undoes(past)).filter_map(|past| past.undoes).collect()
        };
        // A reversed void undoes nothing; nothing undoes a reversal. Not by the order of time: clocks are set back.
        let named = undone_by(&|_| true);
        let undone = undone_by(&|past| !named.contains(&past.intent));
        let stands = |past: Past| {
            let stands = !undone.contains(&past.intent);
            (past, stands)
        };
        Self(pasts.into_iter().map(stands).collect())
    }
}

/// What the rules may look back on for one question. A scope is read when the first condition asks for it, and then once.
pub struct History<'a> {
    of: Box<dyn Fn(Scope) -> Vec<Past> + 'a>,
    card: OnceCell<Line>,
    terminal: OnceCell<Line>,
    merchant: OnceCell<Line>,
}

impl Default for History<'_> {
    /// Nothing went before.
    fn default() -> Self {
        Self::new(|_| Vec::new())
    }
}

impl<'a> History<'a> {
    /// From what was remembered, newest first in each scope.
    pub fn new(of: impl Fn(Scope) -> Vec<Past> + 'a) -> Self {
        Self { of: Box::new(of), card: OnceCell::new(), terminal: OnceCell::new(), merchant: OnceCell::new() }
    }

    /// What a scope remembers of the last so many minutes before a question, with whether it still stands.
    pub(crate) fn within(
        &self,
        scope: Scope,
        question: &Question,
        minutes: u32,
    ) -> impl Iterator<Item = (&Past, bool)> {
        let line = match scope {
            Scope::Card => &self.card,
            Scope::Terminal => &self.terminal,
            Scope::Merchant => &self.merchant,
        };
        let line = line.get_or_init(|| Line::new((self.of)(scope)));
        let now_ms = question.wall_ms;
        let window_ms = u64::from(minutes) * MILLISECONDS_A_MINUTE;
        let recent = move |past: &Past| past.wall_ms <= now_ms && now_ms - past.wall_ms <= window_ms;
        line.0.iter().filter(move |(past, _)| recent(past)).map(|(past, stands)| (past, *stands))
    }
}

/// A past kept in memory, for replays and simulations: the same keys, ranges and bounds as in a store.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<Vec<u8>, Past>);

impl Memory {
    /// Remembers.
    pub fn add(&mut self, past: &Past) {
        let keys = Scope::ALL.into_iter().filter_map(|scope| past_key(scope, past));
        self.0.extend(keys.map(|key| (key, past.clone())));
    }

    /// What a question may look back on, so many minutes in each scope.
    pub fn history<'a>(&'a self, question: &'a Question, minutes: impl Fn(Scope) -> u32 + 'a) -> History<'a> {
        History::new(move |scope| match past_range(scope, question, minutes(scope)) {
            Some((from, until)) if minutes(scope) > 0 => {
                self.0.range(from..until).take(HISTORY_ENTRIES_MAX).map(|(_, past)| past.clone()).collect()
            }
            _ => Vec::new(),
        })
    }
}
