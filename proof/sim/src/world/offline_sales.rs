//! Sales without the host: the cards that make them, the terms on which shops take them, and the slips that promise them.

use super::World;
use crate::auditor::{IntentName, OfflineTerms};
use crate::canary::Canary;
use acquirer::ParameterSet;
use card::Application;
use till::OfflineLimits;

/// Which of a terminal's cards pays without the host, and its place.
pub(super) const OFFLINE_NUMBER: u64 = 1;
pub(super) const OFFLINE_WALLET: usize = 1;
/// Money on the offline card of the first terminal: less than it promises, 200.00.
pub(super) const POOR_CARD_MONEY_MINOR: i64 = 20_000;
/// The application of electronic cash.
const OFFLINE_AID: [u8; 8] = [0xA0, 0, 0, 3, 0x33, 1, 1, 6];
/// Sales in a row after which the card itself asks for the host. More of them are good as long as the host is out of reach.
const CARD_ASKS_AFTER: u8 = 3;
/// Bit of a TVR and of action codes: the card did not prove itself to the terminal.
const NOT_PROVED: u8 = 0x80;
/// How sales are counted that were to be ordinary ones, until the host could not be reached.
const UNREACHED: &str = "脱机消费 of them Y3";
/// One world in so many has terms that are met every day.
const NARROW_WORLDS: u64 = 3;
const NARROW: OfflineLimits =
    OfflineLimits { sale_minor: 4_000, total_minor: 9_000, count: 4, age_ms: 3_600_000, when_unreachable: true };

/// What a till is told it may sell without the host.
pub(super) fn limits(seed: u64, canary: Option<Canary>) -> OfflineLimits {
    match canary {
        Some(Canary::OfflineUnbounded) => OfflineLimits::default(),
        _ => allowed(seed),
    }
}

fn allowed(seed: u64) -> OfflineLimits {
    if seed % NARROW_WORLDS == 1 { NARROW } else { OfflineLimits::default() }
}

/// A card that pays small sums by itself and, as most of a world's cards, leaves its proof to the issuer.
pub(super) fn pays_unproved(application: &mut Application) {
    application.action_online[0] &= !NOT_PROVED;
    application.action_default[0] &= !NOT_PROVED;
    application.risk.lower_consecutive_offline_limit = CARD_ASKS_AFTER;
}

/// What terminals are told of such cards.
pub(super) fn take_unproved(parameters: &mut ParameterSet) {
    for aid in parameters.aids.iter_mut().filter(|parameters| parameters.aid == OFFLINE_AID) {
        let codes = [&mut aid.tac_online, &mut aid.tac_default].into_iter().flatten();
        codes.for_each(|code| code[0] &= !NOT_PROVED);
    }
}

impl World {
    /// The terms of this world's shops, as their owners know them.
    fn offline_terms(&self) -> OfflineTerms {
        let limits = allowed(self.plan.seed);
        OfflineTerms {
            sale_minor: limits.sale_minor,
            total_minor: limits.total_minor,
            count: usize::from(limits.count),
            age_ms: (self.plan.faults.clock_jump == 0).then_some(limits.age_ms),
        }
    }

    /// The slip of a sale that card and terminal approved is out.
    pub(super) fn offline_slip(&mut self, index: usize, name: &IntentName, amount_minor: u64) {
        self.sync_claims(index);
        let card = self.card_number(index);
        let (terms, now_ms) = (self.offline_terms(), self.schedule.now_ms());
        if self.auditor.promise(name, amount_minor, &terms, now_ms) {
            *self.slips_by_title.entry(UNREACHED).or_default() += 1;
        }
        let finding = self.witness.promised(name, amount_minor, card);
        self.hear(finding);
    }
}
