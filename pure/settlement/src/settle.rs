//! Settling one batch: every line with its fee, what the merchant is paid, and the rows that make it happen once.

use crate::batch::{ClosedBatch, Item};
use crate::pricing::Pricing;
use acquirer::BatchClose;
use ledger::{
    Account, BatchTotals, ClearingKind, ClearingLine, ClearingStatus, FeeBasis, Intent, NetPosition, NetTooLarge,
    Posting, TotalsFull, fee_returned,
};
use machine::store::{Leg, Row};
use machine::wire::{Encode, Malformed};
use std::collections::{BTreeMap, BTreeSet};
use types::{BatchNumber, Currency, LocalDate, MerchantId, TerminalId, TruncatedPan};

/// Space of settled batches; the key is [`settled_key`].
pub const SPACE_SETTLED: &str = "settled";
/// Space of the last record of each terminal that was settled; the key is [`settled_up_to_key`].
pub const SPACE_SETTLED_UP_TO: &str = "settled-up-to";
/// Space of the fees of sales, by the sale's intent: what its refunds give back.
pub const SPACE_SALE_FEE: &str = "sale-fee";
/// Space of merchants' volumes by month, minor units: which tier of a rule applies.
pub const SPACE_MERCHANT_VOLUME: &str = "merchant-volume";

/// The key of a settled batch: numbers of batches come again after a million, the number of the record that closed one does not.
pub fn settled_key(terminal: TerminalId, sequence: u64) -> Vec<u8> {
    [&terminal.bytes()[..], &sequence.to_be_bytes()].concat()
}

/// The key under which a terminal's last settled record is kept.
pub fn settled_up_to_key(terminal: TerminalId) -> Vec<u8> {
    terminal.bytes().to_vec()
}

/// The number that the value of a row of [`SPACE_SETTLED_UP_TO`] or [`SPACE_MERCHANT_VOLUME`] holds.
///
/// # Errors
/// If it is not eight bytes.
pub fn count_of(value: &[u8]) -> Result<u64, Malformed> {
    let bytes = value.try_into().map_err(|_| Malformed { offset: 0, what: "eight bytes of a number" })?;
    Ok(u64::from_be_bytes(bytes))
}

/// What is known of a sale's fee.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SaleFee {
    /// Charged, minor units; `None`: the sale is not settled yet, only a refund of it is.
    pub fee_minor: Option<u64>,
    /// By this rule.
    pub rule: String,
    /// The sale, minor units.
    pub sale_minor: u64,
    /// Given back of it so far, minor units.
    pub given_back_minor: u64,
}

/// One line of a settled batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettledLine {
    /// What the clearing file says of it.
    pub line: ClearingLine,
    /// The rule of its fee; empty for what has none.
    pub rule: String,
    /// The card, as it may be shown.
    pub truncated: Option<TruncatedPan>,
}

/// The durable fact that a batch was settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// The day of the files that it stands in.
    pub day: LocalDate,
    /// The merchant who took the batch. A late line may be of the one who had the terminal before.
    pub merchant: MerchantId,
    /// The terminal.
    pub terminal: TerminalId,
    /// The batch.
    pub batch: BatchNumber,
    /// Number of the terminal's record that closed it.
    pub sequence: u64,
    /// Currency of all amounts.
    pub currency: Currency,
    /// Whether terminal and host agreed on its totals when it was closed.
    pub balanced: bool,
    /// Its lines, in the order of their decisions; late ones last.
    pub lines: Vec<SettledLine>,
    /// What it comes to.
    pub position: NetPosition,
    /// What is known of the fees of the sales that it touches.
    pub fees: Vec<(Intent, SaleFee)>,
    /// Month (202611) and the merchant's volume in it from now on, minor units.
    pub volume: (u32, u64),
}

/// Why a batch cannot be settled.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettleError<E> {
    /// What was remembered cannot be looked up.
    #[error("look-up: {0}")]
    Find(E),
    /// What was remembered cannot be read.
    #[error("stored bytes cannot be read: {0}")]
    Stored(#[from] Malformed),
    /// The journal's transactions are not what the host's totals said when the batch was closed: a bug.
    #[error("the batch's transactions come to other totals than the host closed it with")]
    Totals,
    /// No fee rule fits a sale.
    #[error("no fee rule fits the sale {intent} (category {category}, {card})")]
    NoRule {
        /// The sale.
        intent: String,
        /// The merchant's category.
        category: u16,
        /// The kind of card.
        card: &'static str,
    },
    /// Sums do not fit.
    #[error(transparent)]
    TooLarge(#[from] NetTooLarge),
    /// Totals do not fit.
    #[error(transparent)]
    TotalsFull(#[from] TotalsFull),
}

/// Looks up what was remembered, by space and key.
pub type Find<'a, E> = dyn FnMut(&'static str, &[u8]) -> Result<Option<Vec<u8>>, E> + 'a;

struct Desk<'a, E> {
    pricing: &'a Pricing,
    find: &'a mut Find<'a, E>,
    volume_minor: u64,
    fees: BTreeMap<Intent, SaleFee>,
}

/// Settles a closed batch of a terminal on a day. `merchant` is whose terminal it is now: the batch's own transactions say whose they
/// are, it counts only for a batch that has none.
///
/// # Errors
/// [`SettleError`]; nothing is changed then.
pub fn settle<'a, E>(
    batch: &ClosedBatch,
    (merchant, terminal, currency): (MerchantId, TerminalId, Currency),
    pricing: &'a Pricing,
    day: LocalDate,
    find: &'a mut Find<'a, E>,
) -> Result<Settled, SettleError<E>> {
    check_totals(&batch.close, &batch.items)?;
    let merchant = batch.items.first().map_or(merchant, Item::merchant);
    let month = u32::from(day.year()) * 100 + u32::from(day.month());
    let known = find(SPACE_MERCHANT_VOLUME, &volume_key(merchant, month)).map_err(SettleError::Find)?;
    let volume_minor = known.map_or(Ok(0), |bytes| count_of(&bytes))?;
    let mut desk = Desk { pricing, find, volume_minor, fees: BTreeMap::new() };
    let mut lines = Vec::with_capacity(batch.items.len() + batch.late.len());
    for item in &batch.items {
        lines.push(desk.line(item, false)?);
    }
    for item in &batch.late {
        lines.push(desk.line(item, true)?);
    }
    let position = NetPosition::of(lines.iter().map(|settled| &settled.line))?;
    Ok(Settled {
        day,
        merchant,
        terminal,
        batch: batch.close.batch,
        sequence: batch.sequence,
        currency,
        balanced: batch.close.terminal_balanced && batch.close.host_balanced,
        lines,
        position,
        volume: (month, desk.volume_minor),
        fees: desk.fees.into_iter().collect(),
    })
}

/// What terminal and host compared must be what is settled, to the cent and to the piece.
fn check_totals<E>(close: &BatchClose, items: &[Item]) -> Result<(), SettleError<E>> {
    let mut totals = BatchTotals::default();
    for item in items.iter().filter(|item| item.status == ClearingStatus::Approved) {
        match item.kind {
            ClearingKind::Sale => totals.add_debit(item.group, item.amount_minor)?,
            ClearingKind::Void | ClearingKind::Refund => totals.add_credit(item.group, item.amount_minor)?,
        }
    }
    if totals == close.totals { Ok(()) } else { Err(SettleError::Totals) }
}

impl<E> Desk<'_, E> {
    fn line(&mut self, item: &Item, late: bool) -> Result<SettledLine, SettleError<E>> {
        let stands = item.movement.as_ref().filter(|_| item.status == ClearingStatus::Approved);
        let (fee_minor, rule) = match (stands, item.kind) {
            (None, _) => (0, String::new()),
            (Some(movement), ClearingKind::Sale) if late => self.charge_again(&movement.sale, item.amount_minor)?,
            (Some(movement), ClearingKind::Sale) => self.charge(&movement.sale, item)?,
            (Some(movement), ClearingKind::Void | ClearingKind::Refund) => {
                self.give_back(&movement.sale, item.amount_minor)?
            }
        };
        let line = ClearingLine {
            merchant: item.merchant(),
            terminal: item.intent.terminal,
            batch: item.intent.batch,
            stan: item.intent.stan,
            kind: item.kind,
            rrn: item.rrn,
            status: item.status,
            amount_minor: item.amount_minor,
            fee_minor,
        };
        Ok(SettledLine { line, rule, truncated: item.truncated })
    }

    /// The fee of a sale, less what belongs to refunds that were settled before it.
    fn charge(&mut self, sale: &Intent, item: &Item) -> Result<(u64, String), SettleError<E>> {
        let card = self.pricing.card_kind(item.truncated.as_ref());
        let category = self.pricing.category(item.merchant());
        let (amount_minor, month_volume_minor) = (item.amount_minor, self.volume_minor);
        let basis = FeeBasis { category, card, amount_minor, month_volume_minor };
        let fee = self.pricing.schedule.fee(&basis).ok_or_else(|| SettleError::NoRule {
            intent: sale.text(),
            category,
            card: if card == ledger::CardKind::Debit { "debit card" } else { "credit card" },
        })?;
        self.volume_minor = self.volume_minor.saturating_add(amount_minor);
        let before = self.known(sale)?;
        let returned = fee_returned(fee.minor, amount_minor, 0, before.given_back_minor);
        let known = SaleFee { fee_minor: Some(fee.minor), rule: fee.rule.clone(), sale_minor: amount_minor, ..before };
        self.fees.insert(*sale, known);
        Ok((fee.minor - returned, fee.rule))
    }

    /// What of a sale's fee goes back with a part of its money.
    fn give_back(&mut self, sale: &Intent, part_minor: u64) -> Result<(u64, String), SettleError<E>> {
        let mut known = self.known(sale)?;
        let before_minor = known.given_back_minor;
        known.given_back_minor = before_minor.saturating_add(part_minor);
        let returned = known.fee_minor.map_or(0, |fee| fee_returned(fee, known.sale_minor, before_minor, part_minor));
        let rule = known.rule.clone();
        self.fees.insert(*sale, known);
        Ok((returned, rule))
    }

    /// A sale stands again whose void was settled: its fee is due again.
    fn charge_again(&mut self, sale: &Intent, part_minor: u64) -> Result<(u64, String), SettleError<E>> {
        let mut known = self.known(sale)?;
        known.given_back_minor = known.given_back_minor.saturating_sub(part_minor);
        let left_minor = known.given_back_minor;
        let due = known.fee_minor.map_or(0, |fee| fee_returned(fee, known.sale_minor, left_minor, part_minor));
        let rule = known.rule.clone();
        self.fees.insert(*sale, known);
        Ok((due, rule))
    }

    fn known(&mut self, sale: &Intent) -> Result<SaleFee, SettleError<E>> {
        if let Some(known) = self.fees.get(sale) {
            return Ok(known.clone());
        }
        match (self.find)(SPACE_SALE_FEE, &sale.key()).map_err(SettleError::Find)? {
            Some(bytes) => Ok(SaleFee::from_bytes(&bytes)?),
            None => Ok(SaleFee::default()),
        }
    }
}

fn volume_key(merchant: MerchantId, month: u32) -> Vec<u8> {
    [&merchant.bytes()[..], &month.to_be_bytes()].concat()
}

/// The rows that go with the record: the batch is settled once, what was owed is now to be paid, the fees are the acquirer's.
pub fn rows(settled: &Settled) -> Vec<Row> {
    let Settled { terminal, merchant, sequence, .. } = settled;
    let batch = settled.batch.number().to_be_bytes().to_vec();
    let mut rows = vec![
        Row::Unique { space: SPACE_SETTLED, key: settled_key(*terminal, *sequence), value: batch },
        Row::Put {
            space: SPACE_SETTLED_UP_TO,
            key: settled_up_to_key(*terminal),
            value: sequence.to_be_bytes().to_vec(),
        },
    ];
    let (month, volume_minor) = settled.volume;
    let key = volume_key(*merchant, month);
    rows.push(Row::Put { space: SPACE_MERCHANT_VOLUME, key, value: volume_minor.to_be_bytes().to_vec() });
    for (sale, fee) in &settled.fees {
        rows.push(Row::Put { space: SPACE_SALE_FEE, key: sale.key(), value: fee.to_bytes() });
    }
    rows.extend(posting(settled).map(Posting::into_row));
    rows
}

impl Settled {
    /// What it comes to for each merchant of its lines; for the merchant of the batch also if it has none.
    pub fn positions(&self) -> Vec<(MerchantId, NetPosition)> {
        let own = self.lines.iter().filter(|line| line.line.merchant != self.merchant);
        let others: BTreeSet<MerchantId> = own.map(|line| line.line.merchant).collect();
        let of = |merchant: MerchantId| {
            let lines = self.lines.iter().map(|settled| &settled.line).filter(|line| line.merchant == merchant);
            // A part of lines whose whole was checked when the record was made or read.
            (merchant, NetPosition::of(lines).unwrap_or_default())
        };
        core::iter::once(self.merchant).chain(others).map(of).collect()
    }
}

fn posting(settled: &Settled) -> Option<Posting> {
    let mut accounts = vec![(Account::AcquirerFees, settled.position.fees_minor)];
    for (merchant, position) in settled.positions() {
        let (net_minor, fees_minor) = (position.net_minor(), position.fees_minor);
        // Both fit: the position was checked when it was made.
        accounts.push((Account::MerchantPayable(merchant), -net_minor.saturating_add(fees_minor)));
        accounts.push((Account::MerchantPayout(merchant), net_minor));
    }
    let legs = accounts.into_iter().filter(|(_, delta_minor)| *delta_minor != 0);
    let currency = settled.currency;
    let legs: Vec<Leg> =
        legs.map(|(account, delta_minor)| Leg { account: account.name(), delta_minor, currency }).collect();
    let id = format!("settlement/{}/{}/{}", settled.terminal, settled.batch, settled.sequence);
    (!legs.is_empty()).then(|| Posting::new(id, legs))
}
