//! The first checks of every message, in the order of unionpay-pos §8.7.

use crate::incoming::carries_card;
use crate::machine_impl::{Acquirer, OpenedCard, Output, Phase, Work};
use crate::qr;
use crate::record::{Answer, Identity, Record};
use crate::respond;
use crate::rule::{Rule, Verdict};
use crate::words::Level;
use iso8583::unionpay::MessageKind;
use keys::{Command, Refusal, Reply, WorkingKeys};
use ledger::{Intent, MessageClass};
use types::{BatchNumber, Expiry, MerchantId, Pan, SecretBytes};

const CENTURY: u16 = 100;
/// F14 of a card whose expiry is not known.
const EXPIRY_UNKNOWN: &[u8] = b"0000";
/// Organisation named where no issuer has spoken.
pub(crate) const ORGANISATION_UNKNOWN: [u8; 3] = *b"000";

impl Acquirer {
    /// Takes a request up.
    pub(crate) fn start(&mut self, work: Box<Work>, out: &mut Output) {
        match self.check_before_keys(&work) {
            Err(rule) => self.refuse_without_mac(work, rule, out),
            Ok(()) if work.incoming.is_authenticated() => self.open(work, out),
            Ok(()) => self.manage(work, out),
        }
    }

    fn check_before_keys(&self, work: &Work) -> Result<(), Rule> {
        if work.incoming.missing_field().is_some() {
            return Err(Rule::Format);
        }
        self.check_parties(work)?;
        self.check_session(work)
    }

    /// TLS identity, enrolment and F41/F42 must agree (security O5).
    fn check_parties(&self, work: &Work) -> Result<(), Rule> {
        let (peer, body) = (&work.incoming.peer, &work.incoming.body);
        if body.terminal_id != Some(*peer.terminal.bytes()) || peer.terminal != self.terminal {
            return Err(Rule::TerminalIdentity);
        }
        let enrolment = self.state.enrolment.as_ref().ok_or(Rule::TerminalUnknown)?;
        let merchant = body.merchant_id.and_then(|merchant| MerchantId::new(merchant).ok());
        if merchant != Some(peer.merchant) {
            return Err(Rule::MerchantIdentity);
        }
        if peer.merchant != enrolment.merchant { Err(Rule::MerchantUnknown) } else { Ok(()) }
    }

    /// A reversal may be of a batch that is closed by now: it is not answered 77 (design §4).
    fn check_session(&self, work: &Work) -> Result<(), Rule> {
        let kind = work.incoming.kind;
        if !work.incoming.is_authenticated() {
            return Ok(());
        }
        if self.state.keys.is_none() {
            return Err(Rule::NotSignedIn);
        }
        let batch = batch_of(work);
        if kind != MessageKind::Reversal && batch != Some(self.state.open_batch()) {
            return Err(Rule::WrongBatch);
        }
        Ok(())
    }

    /// Has the MAC verified and the account data opened.
    fn open(&mut self, mut work: Box<Work>, out: &mut Output) {
        let keys = self.state.keys_in_force(self.now.wall_ms).nth(work.sets_tried).cloned();
        let (Some(keys), Some(message), Some(mac)) = (keys, work.incoming.mac_input(), work.incoming.body.mac) else {
            return self.refuse_without_mac(work, Rule::Format, out);
        };
        work.keys = Some(keys.clone());
        work.account_faulty = false;
        let verify = Command::VerifyMac { key: keys.mac.clone(), algorithm: self.config.mac_algorithm, message, mac };
        let mut commands = vec![verify];
        if wants_account(&work) {
            match self.open_account(&work, &keys) {
                Some(command) => commands.push(command),
                None => work.account_faulty = true,
            }
        }
        self.ask_keys(work, Phase::Opening, commands, out);
    }

    /// The command that turns account data into a token; `None` if the fields cannot be what they claim.
    fn open_account(&self, work: &Work, keys: &WorkingKeys) -> Option<Command> {
        let body = &work.incoming.body;
        let pan = match &body.pan {
            Some(digits) => Some(Pan::parse(core::str::from_utf8(digits.expose()).ok()?).ok()?),
            None => None,
        };
        let enciphered = body.security_control.is_some_and(|control| control.tracks_enciphered());
        let track2 = body.track2.as_ref().map(SecretBytes::duplicate);
        let track_key = if enciphered && track2.is_some() { Some(keys.track.clone()?) } else { None };
        let expiry = match body.expiry.as_ref().map(SecretBytes::expose).filter(|digits| *digits != EXPIRY_UNKNOWN) {
            Some(digits) => Some(Expiry::parse(core::str::from_utf8(digits).ok()?).ok()?),
            None => None,
        };
        let date = self.civil_time().date;
        let today = Expiry::new(u8::try_from(date.year() % CENTURY).ok()?, date.month())?;
        Some(Command::OpenAccount { pan, track2, track_key, expiry, today })
    }

    /// Takes the key service's word on MAC and account data.
    pub(crate) fn take_opened(&mut self, mut work: Box<Work>, replies: Vec<Reply>, out: &mut Output) {
        let mut replies = replies.into_iter();
        match replies.next() {
            Some(Reply::MacVerdict { right: true }) if work.sets_tried == 0 => work.checks.push("MAC right"),
            Some(Reply::MacVerdict { right: true }) => work.checks.push("MAC right under keys of an earlier sign-in"),
            Some(Reply::MacVerdict { right: false }) => return self.try_earlier_keys(work, out),
            _ => return self.abandon(work, "the key service did not verify the MAC", out),
        }
        if work.account_faulty {
            return self.refuse_with_mac(work, Rule::AccountData.into(), out);
        }
        match replies.next() {
            Some(Reply::AccountOpened { token, truncated, account, luhn_valid, expired }) => {
                work.card = Some(OpenedCard { token, truncated, account, luhn_valid, expired });
            }
            Some(Reply::Refused { why: Refusal::AccountData | Refusal::Parameter }) => {
                return self.refuse_with_mac(work, Rule::AccountData.into(), out);
            }
            None if !wants_account(&work) => {}
            _ => return self.abandon(work, "the key service did not open the account data", out),
        }
        self.consider(work, out);
    }

    /// Within the window after a sign-in a message may be of the time before it: made then, or by a terminal that did not
    /// hear of its new keys. The present keys were tried first, so nothing costs more as long as they are right.
    fn try_earlier_keys(&mut self, mut work: Box<Work>, out: &mut Output) {
        work.sets_tried += 1;
        if self.state.keys_in_force(self.now.wall_ms).nth(work.sets_tried).is_some() {
            return self.open(work, out);
        }
        self.refuse_without_mac(work, Rule::Mac, out);
    }

    /// The message is authentic and its card is known: what is it?
    fn consider(&mut self, work: Box<Work>, out: &mut Output) {
        use MessageKind as K;
        match work.incoming.kind {
            kind if carries_card(kind) => self.consider_transaction(work, out),
            K::QrSale | K::QrOrder | K::QrVoid | K::QrRefund => self.consider_transaction(work, out),
            K::QrQuery => self.consider_query(work, out),
            K::Reversal => self.consider_reversal(work, out),
            K::ScriptResult => self.consider_script_result(work, out),
            K::ElectronicSignature => self.consider_signature(work, out),
            _ => self.refuse_with_mac(work, Rule::NotSupported.into(), out),
        }
    }

    /// A refusal that the host cannot or need not key.
    pub(crate) fn refuse_without_mac(&mut self, work: Box<Work>, rule: Rule, out: &mut Output) {
        let level = match rule {
            Rule::NotSignedIn | Rule::WrongBatch | Rule::NotSupported => Level::Information,
            Rule::TerminalIdentity | Rule::MerchantIdentity | Rule::SerialElsewhere => Level::Alarm,
            _ => Level::Warning,
        };
        let field = work.incoming.missing_field().filter(|_| rule == Rule::Format);
        let text = match field {
            Some(field) => format!("field {field} is missing or zero"),
            None => format!("refused with {}", rule.response_code()),
        };
        self.log(out, level, rule.id(), text);
        let body = respond::base(&work.incoming, self.civil_time(), Some(rule.response_code()));
        let known = matches!(rule, Rule::NotSignedIn | Rule::WrongBatch | Rule::Mac | Rule::SerialElsewhere);
        let record = known.then(|| Box::new(self.refusal(&work, rule.into())));
        self.conclude_without_mac(work, record, &body, out);
    }

    /// A refusal under the MAC that does not become an intent: it moves nothing and leaves nothing to find.
    pub(crate) fn refuse_with_mac(&mut self, work: Box<Work>, verdict: Verdict, out: &mut Output) {
        self.log(out, Level::Information, verdict.id(), format!("refused with {}", verdict.response_code()));
        let answer = self.plain_answer(&work, verdict);
        let body = respond::financial(&work.incoming, &self.config, &answer);
        let record = self.refusal(&work, verdict);
        self.conclude(work, Some(record), body, out);
    }

    fn refusal(&self, work: &Work, verdict: Verdict) -> Record {
        let rrn = self.state.next_rrn(work.rrn_skip);
        Record::Refused { rule: verdict.id().to_owned(), stan: work.incoming.stan(), rrn }
    }

    /// An answer with a response code and nothing else.
    pub(crate) fn plain_answer(&self, work: &Work, verdict: Verdict) -> Answer {
        Answer {
            response_code: verdict.response_code(),
            rrn: self.state.next_rrn(work.rrn_skip),
            at: self.civil_time(),
            authorisation_code: None,
            chip: Vec::new(),
            organisation: ORGANISATION_UNKNOWN,
            issuer: None,
            balance_minor: None,
        }
    }

    /// Answers a message that came before as it was answered before.
    pub(crate) fn repeat(&mut self, work: Box<Work>, intent: Intent, answer: &Answer, out: &mut Output) {
        self.log(out, Level::Information, "intent.repeated", intent.text());
        let body = respond::financial(&work.incoming, &self.config, answer);
        self.conclude(work, Some(Record::Repeated { intent }), body, out);
    }

    /// The identity of a message under a class.
    pub(crate) fn intent_of(&self, work: &Work, class: MessageClass) -> Option<Intent> {
        let merchant = self.state.enrolment.as_ref()?.merchant;
        let (batch, stan) = (batch_of(work)?, work.incoming.stan()?);
        Some(Intent { terminal: self.terminal, merchant, batch, stan, class })
    }
}

/// F60.2.
pub(crate) fn batch_of(work: &Work) -> Option<BatchNumber> {
    work.incoming.body.f60.as_ref().and_then(|f60| BatchNumber::new(f60.batch()))
}

/// What makes this message itself (design §4).
pub(crate) fn identity_of(work: &Work) -> Identity {
    let body = &work.incoming.body;
    Identity {
        card: work.card.as_ref().map(|card| card.token),
        processing_code: body.processing_code.map_or(*b"000000", |code| code.0),
        amount_minor: body.amount_minor.unwrap_or(0),
        original_rrn: body.rrn,
        authorisation_code: body.authorisation_code,
        original: original_named(work),
    }
}

/// F61, and the code of a QR payment behind it.
fn original_named(work: &Work) -> Vec<u8> {
    let digits = work.incoming.body.f61.as_ref().map(|f61| f61.digits().to_vec()).unwrap_or_default();
    [digits, qr::code_of(work)].concat()
}

fn wants_account(work: &Work) -> bool {
    let kind = work.incoming.kind;
    carries_card(kind) || (kind == MessageKind::Reversal && work.incoming.body.pan.is_some())
}
