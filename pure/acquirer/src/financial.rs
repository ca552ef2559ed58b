//! Transactions of a card: sales, voids, refunds, balance inquiries, and the pre-authorisation family.

use crate::authorisation::is_within;
use crate::check::{ORGANISATION_UNKNOWN, identity_of};
use crate::machine_impl::{Acquirer, GivenBack, OpenedCard, Original, Output, Phase, Work};
use crate::qr;
use crate::record::{Capture, Decision, Kind, Record, Side, Stored};
use crate::respond;
use crate::rows::{SPACE_RRN, month_day};
use crate::rule::{Rule, Verdict};
use crate::state::{OPEN_INTENTS_MAX, Status};
use crate::words::{Effect, Level};
use iso8583::unionpay::{Entry, MessageKind, PinFormat, SecurityAlgorithm};
use issuer::wallet::wallet_of_token;
use issuer::{IssuerReply, IssuerRequest, Operation, PinBlock};
use ledger::{CardGroup, Hold, Intent, MessageClass, Movement};
use machine::wire::Encode;
use types::{Amount, AuthorisationCode, CardToken, Currency, Stan, WalletNumber};

/// A sale or completion that something may still be done to.
pub(crate) struct StandingOriginal {
    pub movement: Movement,
    pub group: CardGroup,
    pub given_back: GivenBack,
    /// Who paid, if no card did.
    pub wallet: Option<WalletNumber>,
}

/// F60.5: the chip of the card could not be read before.
const CHIP_FAILED: u8 = 2;
pub(crate) const MILLISECONDS_A_DAY: u64 = 86_400_000;

impl Acquirer {
    /// An authentic message about a card: seen before, allowed, and about what it says?
    pub(crate) fn consider_transaction(&mut self, mut work: Box<Work>, out: &mut Output) {
        let Some(intent) = self.intent_of(&work, class_of(kind_of(&work))) else {
            return self.refuse_with_mac(work, Rule::Format.into(), out);
        };
        if let Some(entry) = self.state.entry(intent.class, intent.stan) {
            let (stored, status) = (entry.stored.clone(), entry.status);
            if status == Status::Reversed {
                // Its approval holds no longer: whoever asks again must not hear it.
                return self.refuse_with_mac(work, Rule::Tombstone.into(), out);
            }
            return self.meet_stored(work, intent, &stored, out);
        }
        work.checks.push("not seen before");
        if self.state.open.len() >= OPEN_INTENTS_MAX / 2 {
            return self.refuse_with_mac(work, Rule::BatchFull.into(), out);
        }
        let checked = self.check_common(&work).and_then(|()| self.check_kind(&mut work));
        match checked {
            Err(rule) => self.refuse(work, rule, out),
            Ok(()) if kind_of(&work).is_qr() => self.ask_wallet(work, out),
            Ok(()) if kind_of(&work) == Kind::Refund => self.find_capture(work, out),
            Ok(()) if kind_of(&work).ends_authorisation() => self.find_authorisation(work, out),
            Ok(()) => self.ask_issuer(work, out),
        }
    }

    /// The same message gets the same answer, another one under its identity is refused.
    pub(crate) fn meet_stored(&mut self, work: Box<Work>, intent: Intent, stored: &Stored, out: &mut Output) {
        let identity = identity_of(&work);
        match stored {
            Stored::Decision(decision) if decision.identity == identity => {
                self.repeat(work, intent, &decision.answer, out);
            }
            Stored::ScriptNotice(notice) if notice.identity == identity => {
                self.repeat(work, intent, &notice.answer, out);
            }
            Stored::Reversal(reversal) if same_original(&reversal.identity, &identity) => {
                self.repeat(work, intent, &reversal.answer, out);
            }
            Stored::Tombstone(_) => self.refuse_with_mac(work, Rule::Tombstone.into(), out),
            _ => self.refuse_with_mac(work, Rule::Duplicate.into(), out),
        }
    }

    /// Rules for every kind, in the order of the table.
    fn check_common(&self, work: &Work) -> Result<(), Rule> {
        let enrolment = self.state.enrolment.as_ref().ok_or(Rule::TerminalUnknown)?;
        let kind = kind_of(work);
        if enrolment.allowed & permission(kind) == 0 {
            return Err(Rule::NotAllowed);
        }
        if !self.policy().allows(kind) {
            return Err(Rule::MerchantNotAllowed);
        }
        let body = &work.incoming.body;
        if kind != Kind::Balance && body.amount_minor.unwrap_or(0) == 0 {
            return Err(Rule::AmountZero);
        }
        if body.currency != Some(enrolment.currency.digits()) || amount_of(work, enrolment.currency).is_none() {
            return Err(Rule::Currency);
        }
        if !kind.is_qr() && work.card.as_ref().is_none_or(|card| !card.luhn_valid) {
            return Err(Rule::CardNumber);
        }
        check_pin_format(work)
    }

    fn check_kind(&self, work: &mut Work) -> Result<(), Rule> {
        work.checks.push("allowed, amount, currency and card number in order");
        self.check_room(work)?;
        let original = match kind_of(work) {
            Kind::Instalment => return self.check_instalments(work),
            Kind::Void | Kind::InstalmentVoid | Kind::CompletionVoid | Kind::QrVoid => self.original_of_void(work)?,
            Kind::TipAdjustment => self.original_of_tip(work)?,
            _ => return Ok(()),
        };
        work.original = Some(original);
        work.checks.push("original found and fitting");
        Ok(())
    }

    /// The batch must stay one that can be settled.
    fn check_room(&self, work: &Work) -> Result<(), Rule> {
        let mut totals = self.state.totals().map_err(|_| Rule::BatchFull)?;
        let minor = work.incoming.body.amount_minor.unwrap_or(0);
        // The group is known only when the issuer has spoken: there must be room in both.
        [CardGroup::Domestic, CardGroup::Foreign].into_iter().try_for_each(|group| {
            let added = match kind_of(work).side() {
                Some(Side::Debit) => totals.add_debit(group, minor),
                Some(Side::Credit) => totals.add_credit(group, minor),
                None => Ok(()),
            };
            added.map_err(|_| Rule::BatchFull)
        })
    }

    /// What a void gives back: the whole of the sale or completion, with the tip on it (unionpay-pos §8.7).
    fn original_of_void(&self, work: &mut Work) -> Result<Original, Rule> {
        let sale = self.standing_original(work)?;
        let (amount, _) = self.state.captured(&sale.movement);
        if work.incoming.body.amount_minor != Some(amount.minor()) {
            return Err(Rule::OriginalAmount);
        }
        work.wallet = sale.wallet;
        let movement = Movement { amount, ..sale.movement };
        Ok(Original::Movement { movement, group: Some(sale.group), sale: sale.given_back })
    }

    /// The sale or completion that F61 and F37 name: of this batch, standing, of this card or code.
    pub(crate) fn standing_original(&self, work: &Work) -> Result<StandingOriginal, Rule> {
        let body = &work.incoming.body;
        let named = body.f61.as_ref().ok_or(Rule::OriginalMissing)?;
        let stan = named.trace().and_then(Stan::new).ok_or(Rule::OriginalMissing)?;
        if named.batch() != Some(self.state.open_batch().number()) {
            return Err(Rule::OriginalMissing);
        }
        let (sale, status) = self.state.decision(stan).ok_or(Rule::OriginalMissing)?;
        if body.rrn != Some(*sale.answer.rrn.bytes()) {
            return Err(Rule::OriginalMissing);
        }
        if !may_name(kind_of(work), sale.kind) {
            return Err(Rule::OriginalKind);
        }
        if sale.kind.is_qr() && !qr::names_payment(work, sale) {
            return Err(Rule::OtherVoucher);
        }
        let movement = sale.movement.clone().ok_or(Rule::OriginalNotApproved)?;
        match status {
            Status::Standing => {}
            Status::Voided(_) => return Err(Rule::AlreadyVoided),
            Status::Reversed => return Err(Rule::OriginalNotApproved),
        }
        if sale.identity.card != work.card.as_ref().map(|card| card.token) {
            return Err(Rule::OtherCard);
        }
        let given_back = GivenBack { amount_minor: sale.amount.minor(), wall_ms: sale.wall_ms };
        let wallet = sale.qr.as_ref().and_then(|qr| qr.wallet);
        Ok(StandingOriginal { movement, group: sale.group, given_back, wallet })
    }

    /// Looks up the sale that a refund names.
    pub(crate) fn find_capture(&mut self, work: Box<Work>, out: &mut Output) {
        let named = if kind_of(&work).is_qr() {
            qr::refunded_rrn(&work).map(|rrn| *rrn.bytes())
        } else {
            work.incoming.body.rrn
        };
        let key = named.unwrap_or_default().to_vec();
        let ticket = self.wait(work, Phase::FindingCapture);
        out.effects.push(Effect::Find { ticket, space: SPACE_RRN, key });
    }

    /// Takes the sale that a refund names.
    pub(crate) fn take_capture(&mut self, mut work: Box<Work>, value: Option<Vec<u8>>, out: &mut Output) {
        match self.original_of_refund(&work, value) {
            Ok((original, payer)) => {
                work.original = Some(original);
                work.wallet = wallet_of_token(&payer);
                work.checks.push("original found and fitting");
                if kind_of(&work).is_qr() { self.find_wallet(work, out) } else { self.ask_issuer(work, out) }
            }
            Err(rule) => self.refuse(work, rule, out),
        }
    }

    fn original_of_refund(&self, work: &Work, value: Option<Vec<u8>>) -> Result<(Original, CardToken), Rule> {
        let bytes = value.ok_or(Rule::OriginalMissing)?;
        let capture = Capture::from_bytes(&bytes).map_err(|_| Rule::OriginalMissing)?;
        let sale = &capture.movement.sale;
        let body = &work.incoming.body;
        let dated = body.f61.as_ref().and_then(|f61| f61.date_mmdd());
        if Some(sale.merchant) != self.state.enrolment.as_ref().map(|enrolment| enrolment.merchant) {
            return Err(Rule::OriginalMissing);
        }
        if dated != Some(month_day(capture.at)) {
            return Err(Rule::OriginalMissing);
        }
        if kind_of(work).is_qr() {
            qr::refunds_wallet(work, &capture)?;
        } else if work.card.as_ref().map(|card| card.token) != Some(capture.card) {
            return Err(Rule::OtherCard);
        }
        let amount = amount_of(work, capture.movement.amount.currency()).ok_or(Rule::OriginalAmount)?;
        // A tip may stand on it; whether so much is left, the guard on the capture says in the append.
        let percent = self.policy().tip_percent.saturating_add(100);
        if !is_within(amount, capture.movement.amount, percent) {
            return Err(Rule::OriginalAmount);
        }
        let age_ms = self.now.wall_ms.saturating_sub(capture.wall_ms);
        if age_ms > u64::from(self.policy().refund_days).saturating_mul(MILLISECONDS_A_DAY) {
            return Err(Rule::RefundTooLate);
        }
        let given_back = GivenBack { amount_minor: capture.movement.amount.minor(), wall_ms: capture.wall_ms };
        let movement = Movement { amount, ..capture.movement };
        Ok((Original::Movement { movement, group: None, sale: given_back }, capture.card))
    }

    /// Asks whoever pays: the issuer of the card, or the wallet's.
    pub(crate) fn ask_payer(&mut self, work: Box<Work>, out: &mut Output) {
        if kind_of(&work).is_qr() { self.ask_wallet(work, out) } else { self.ask_issuer(work, out) }
    }

    /// Asks the issuer of the card; the risk rules come before it.
    pub(crate) fn ask_issuer(&mut self, work: Box<Work>, out: &mut Output) {
        if let Some(question) = self.question(&work, None) {
            return self.screen(work, question, None, out);
        }
        let Some(request) = self.issuer_request(&work) else {
            return self.refuse_with_mac(work, Rule::Format.into(), out);
        };
        let ticket = self.wait(work, Phase::AskingIssuer);
        out.effects.push(Effect::Issuer { ticket, request: Box::new(request) });
    }

    fn issuer_request(&self, work: &Work) -> Option<IssuerRequest> {
        let OpenedCard { token, truncated, account, expired, .. } = work.card.as_ref()?;
        let body = &work.incoming.body;
        let pin = match body.pin_block.as_ref() {
            Some(block) => {
                let key = work.keys.as_ref()?.pin.clone();
                Some(PinBlock { block: block.expose().try_into().ok()?, key })
            }
            None => None,
        };
        let card_sequence = match body.card_sequence {
            Some(number) => Some(u8::try_from(number).ok()?),
            None => None,
        };
        Some(IssuerRequest {
            operation: operation(kind_of(work)),
            token: *token,
            truncated: *truncated,
            account: account.clone(),
            expired: *expired,
            entry: entry(work),
            card_sequence,
            amount: amount_of(work, self.state.enrolment.as_ref()?.currency)?,
            rrn: self.state.next_rrn(work.rrn_skip),
            pin,
            chip: body.icc_data.as_ref().map(|field_55| field_55.expose().to_vec()),
        })
    }

    /// Takes the issuer's answer.
    pub(crate) fn take_issuer_reply(&mut self, mut work: Box<Work>, reply: Box<IssuerReply>, out: &mut Output) {
        let verdict = Verdict::from(reply.rule);
        let funds = reply.funds.clone();
        work.reply = Some(reply);
        match (kind_of(&work), funds) {
            (Kind::Balance, Some(funds)) => {
                let ticket = self.wait(work, Phase::ReadingBalance);
                out.effects.push(Effect::Balance { ticket, account: funds.account, currency: funds.currency });
            }
            _ => self.decide(work, verdict, None, out),
        }
    }

    /// Takes the account's balance: what may be spent is what stands above the floor.
    pub(crate) fn take_balance(&mut self, work: Box<Work>, balance_minor: i64, out: &mut Output) {
        let floor_minor =
            work.reply.as_ref().and_then(|reply| reply.funds.as_ref()).map_or(0, |funds| funds.floor_minor);
        let available = balance_minor.saturating_sub(floor_minor);
        self.decide(work, issuer::Rule::Approved.into(), Some(available), out);
    }

    /// No issuer answered: declined, and nothing moved.
    pub(crate) fn issuer_silent(&mut self, work: Box<Work>, out: &mut Output) {
        self.log(out, Level::Alarm, issuer::Rule::NoReply.id(), "the issuer did not answer in time".to_owned());
        self.decide(work, issuer::Rule::NoReply.into(), None, out);
    }

    /// Writes the decision down and answers.
    pub(crate) fn decide(&mut self, work: Box<Work>, verdict: Verdict, balance: Option<i64>, out: &mut Output) {
        if kind_of(&work).is_notice() && is_passing(verdict) {
            // A notice comes again until it is decided: kept as an answer, this would be repeated for ever.
            return self.refuse_with_mac(work, verdict, out);
        }
        let Some(decision) = self.decision(&work, verdict, balance) else {
            return self.refuse_with_mac(work, Rule::Format.into(), out);
        };
        let text = format!("{} {} {}", decision.kind.name(), decision.intent.text(), decision.answer.response_code);
        self.log(out, Level::Information, verdict.id(), text);
        let body = respond::financial(&work.incoming, &self.config, &decision.answer);
        self.conclude(work, Some(Record::Decided(Box::new(decision))), body, out);
    }

    fn decision(&self, work: &Work, verdict: Verdict, balance_minor: Option<i64>) -> Option<Decision> {
        let kind = kind_of(work);
        let reply = work.reply.as_deref();
        let approved = verdict.response_code().is_approval();
        let mut answer = self.plain_answer(work, verdict);
        if let Some(reply) = reply {
            answer.authorisation_code = reply.authorisation_code.or(completed_code(work)).filter(|_| approved);
            answer.chip = if approved { reply.chip.clone() } else { Vec::new() };
            answer.organisation = reply.organisation;
            answer.issuer = Some(reply.issuer);
        }
        answer.balance_minor = balance_minor;
        let qr = self.qr_payment(work, kind, &answer);
        let organisation = reply.map_or(ORGANISATION_UNKNOWN, |reply| reply.organisation);
        let intent = self.intent_of(work, class_of(kind))?;
        let amount = amount_of(work, self.state.enrolment.as_ref()?.currency)?;
        let checks = work.checks.iter().chain(reply.map_or(&[][..], |reply| &reply.checks));
        Some(Decision {
            intent,
            kind,
            identity: identity_of(work),
            truncated: work.card.as_ref().map(|card| card.truncated),
            amount,
            entry_mode: work.incoming.body.entry_mode.map_or(*b"000", |mode| mode.0),
            answer,
            movement: if approved { movement(work, kind, intent, amount) } else { None },
            hold: if approved { hold(work, kind, intent, amount) } else { None },
            floor_minor: reply.and_then(|reply| reply.funds.as_ref()).map_or(0, |funds| funds.floor_minor),
            group: group(work, &organisation),
            rule: verdict.id().to_owned(),
            checks: checks.copied().collect(),
            pin_tries: reply.and_then(|reply| reply.pin_tries),
            atc_once: reply.and_then(|reply| reply.atc_once.clone()).filter(|_| approved),
            wall_ms: self.now.wall_ms,
            screening: self.is_screened().then(|| work.screening.clone().unwrap_or_default()),
            qr,
        })
    }
}

/// Copies of a reversal may differ in what the terminal knew when it sent them; they name the same original.
fn same_original(stored: &crate::record::Identity, now: &crate::record::Identity) -> bool {
    let cards_agree = match (stored.card, now.card) {
        (Some(stored), Some(now)) => stored == now,
        _ => true,
    };
    cards_agree && stored.processing_code == now.processing_code && stored.amount_minor == now.amount_minor
}

pub(crate) fn kind_of(work: &Work) -> Kind {
    match work.incoming.kind {
        MessageKind::SaleVoid => Kind::Void,
        MessageKind::Refund => Kind::Refund,
        MessageKind::Balance => Kind::Balance,
        MessageKind::PreAuthorisation => Kind::PreAuthorisation,
        MessageKind::PreAuthorisationVoid => Kind::PreAuthorisationVoid,
        MessageKind::Completion => Kind::Completion,
        MessageKind::CompletionVoid => Kind::CompletionVoid,
        MessageKind::CompletionNotice => Kind::CompletionNotice,
        MessageKind::OfflineSaleUpload => Kind::OfflineSale,
        MessageKind::SettlementAdjust => Kind::TipAdjustment,
        MessageKind::InstalmentSale => Kind::Instalment,
        MessageKind::InstalmentVoid => Kind::InstalmentVoid,
        MessageKind::QrSale => Kind::QrSale,
        MessageKind::QrOrder => Kind::QrOrder,
        MessageKind::QrVoid => Kind::QrVoid,
        MessageKind::QrRefund => Kind::QrRefund,
        _ => Kind::Sale,
    }
}

/// Whether a message of this kind may be about an original of that one.
fn may_name(kind: Kind, original: Kind) -> bool {
    match kind {
        Kind::CompletionVoid => original == Kind::Completion,
        Kind::InstalmentVoid => original == Kind::Instalment,
        Kind::QrVoid => matches!(original, Kind::QrSale | Kind::QrOrder),
        _ => original.is_sale(),
    }
}

pub(crate) fn class_of(kind: Kind) -> MessageClass {
    match kind {
        Kind::PreAuthorisation | Kind::PreAuthorisationVoid => MessageClass::Authorisation,
        Kind::Refund | Kind::CompletionNotice | Kind::TipAdjustment | Kind::QrRefund => MessageClass::FinancialNotice,
        Kind::Sale
        | Kind::Instalment
        | Kind::InstalmentVoid
        | Kind::OfflineSale
        | Kind::Void
        | Kind::Balance
        | Kind::Completion
        | Kind::CompletionVoid
        | Kind::QrSale
        | Kind::QrOrder
        | Kind::QrVoid => MessageClass::Financial,
    }
}

/// Whether the verdict says nothing about the transaction itself: asked again later, the issuer may decide.
fn is_passing(verdict: Verdict) -> bool {
    use issuer::Rule;
    matches!(verdict, Verdict::Issuer(Rule::NoReply | Rule::KeyService | Rule::FileDamaged))
}

pub(crate) fn operation(kind: Kind) -> Operation {
    match kind {
        Kind::Sale | Kind::Instalment | Kind::PreAuthorisation | Kind::QrSale | Kind::QrOrder => Operation::Purchase,
        Kind::OfflineSale => Operation::OfflinePurchase,
        Kind::Balance => Operation::Balance,
        Kind::Void | Kind::InstalmentVoid | Kind::Refund | Kind::PreAuthorisationVoid | Kind::CompletionVoid => {
            Operation::Credit
        }
        Kind::QrVoid | Kind::QrRefund => Operation::Credit,
        Kind::Completion | Kind::CompletionNotice | Kind::TipAdjustment => Operation::Capture,
    }
}

/// Bit of terminal parameter 26 (unionpay-pos §5.4), bit 1 being the highest.
fn permission(kind: Kind) -> u32 {
    let bit = match kind {
        Kind::Balance => 1,
        Kind::PreAuthorisation => 2,
        Kind::PreAuthorisationVoid => 3,
        Kind::Completion => 4,
        Kind::CompletionVoid => 5,
        Kind::Sale | Kind::QrSale | Kind::QrOrder => 6,
        Kind::Void | Kind::QrVoid => 7,
        Kind::Refund | Kind::QrRefund => 8,
        Kind::TipAdjustment => 10,
        Kind::CompletionNotice => 11,
        Kind::OfflineSale => 13,
        Kind::Instalment => 16,
        Kind::InstalmentVoid => 17,
    };
    1 << (32 - bit)
}

pub(crate) fn amount_of(work: &Work, currency: Currency) -> Option<Amount> {
    Amount::from_minor(work.incoming.body.amount_minor.unwrap_or(0), currency)
}

/// Only format 0 under triple DES is taken (unionpay-pos §2.2).
fn check_pin_format(work: &Work) -> Result<(), Rule> {
    let body = &work.incoming.body;
    let Some(control) = body.pin_block.as_ref().and(body.security_control) else { return Ok(()) };
    let right = control.pin_format() == PinFormat::WithPan && control.algorithm() == SecurityAlgorithm::TripleDes;
    if right { Ok(()) } else { Err(Rule::PinFormat) }
}

fn entry(work: &Work) -> issuer::Entry {
    let body = &work.incoming.body;
    let chip_failed = body.f60.as_ref().is_some_and(|f60| f60.chip_condition() == CHIP_FAILED);
    match body.entry_mode.map(|mode| mode.entry()) {
        Some(Entry::Contact | Entry::ContactUnreliable) => issuer::Entry::Chip,
        Some(Entry::Contactless | Entry::ContactlessFull | Entry::Mobile) => issuer::Entry::Contactless,
        Some(Entry::Magnetic) if chip_failed => issuer::Entry::Fallback,
        Some(Entry::Magnetic) => issuer::Entry::Magstripe,
        Some(Entry::Fallback) => issuer::Entry::Fallback,
        _ => issuer::Entry::Manual,
    }
}

fn movement(work: &Work, kind: Kind, intent: Intent, amount: Amount) -> Option<Movement> {
    match kind {
        Kind::Sale | Kind::OfflineSale | Kind::Instalment | Kind::QrSale | Kind::QrOrder => {
            let funds = work.reply.as_ref()?.funds.as_ref()?;
            Some(Movement { sale: intent, funds: funds.account.clone(), amount })
        }
        Kind::Void
        | Kind::InstalmentVoid
        | Kind::Refund
        | Kind::CompletionVoid
        | Kind::TipAdjustment
        | Kind::QrVoid
        | Kind::QrRefund => match work.original.as_ref()? {
            Original::Movement { movement, .. } => Some(movement.clone()),
            Original::Hold(_) => None,
        },
        Kind::Completion | Kind::CompletionNotice => {
            let Original::Hold(hold) = work.original.as_ref()? else { return None };
            Some(Movement { sale: intent, funds: hold.funds.clone(), amount })
        }
        Kind::Balance | Kind::PreAuthorisation | Kind::PreAuthorisationVoid => None,
    }
}

/// The hold that a pre-authorisation places, or that its void or completion ends.
fn hold(work: &Work, kind: Kind, intent: Intent, amount: Amount) -> Option<Hold> {
    if kind == Kind::PreAuthorisation {
        let funds = work.reply.as_ref()?.funds.as_ref()?.account.clone();
        return Some(Hold { authorisation: intent, funds, amount });
    }
    match work.original.as_ref()? {
        Original::Hold(hold) => Some(hold.clone()),
        Original::Movement { .. } => None,
    }
}

/// A completion is answered with the code of its pre-authorisation: the promise it redeems.
fn completed_code(work: &Work) -> Option<AuthorisationCode> {
    let code = work.incoming.body.authorisation_code.filter(|_| kind_of(work).completes())?;
    AuthorisationCode::from_slice(&code).ok()
}

fn group(work: &Work, organisation: &[u8; 3]) -> CardGroup {
    let of_original = match &work.original {
        Some(Original::Movement { group, .. }) => *group,
        _ => None,
    };
    of_original.unwrap_or_else(|| CardGroup::of_organisation(organisation))
}
