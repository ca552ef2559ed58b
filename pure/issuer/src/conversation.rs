//! One request from look-up to reply.

use crate::card_file::{CardFile, CardStatus, PIN_TRY_LIMIT_DEFAULT, PinFile, PinTries};
use crate::chip::{APPROVED_CODE, ChipData, issuer_authentication_data};
use crate::reply::{Funds, IssuerReply};
use crate::request::{Entry, IssuerRequest, Operation, PinBlock};
use crate::rule::Rule;
use crate::{SPACE_CARD, SPACE_PIN_TRIES};
use keys::{Command, KeyService, Refusal, Reply};
use ledger::Account;
use machine::wire::Encode;
use tlv::{Builder, tags};
use types::{AuthorisationCode, InstitutionId, Rrn};

/// Organisation named when no card file says another.
pub(crate) const ORGANISATION_DEFAULT: [u8; 3] = *b"CUP";

/// The issuer itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssuerConfig {
    /// Who it is (F44).
    pub issuer: InstitutionId,
    /// Leading digits (up to six) of its cards; none means every number is its own.
    pub leading_digits: Vec<String>,
    /// Wrong PINs in a row before a card is refused.
    pub pin_try_limit: u8,
}

impl IssuerConfig {
    /// An issuer of every number, with the usual PIN try limit.
    pub fn new(issuer: InstitutionId) -> Self {
        Self { issuer, leading_digits: Vec::new(), pin_try_limit: PIN_TRY_LIMIT_DEFAULT }
    }

    fn issues(&self, leading: &str) -> bool {
        self.leading_digits.is_empty() || self.leading_digits.iter().any(|digits| leading.starts_with(digits.as_str()))
    }
}

/// What the issuer needs next.
#[derive(Debug)]
pub enum Ask {
    /// Look these keys up in the store; answer with [`Conversation::found`], in order.
    Find(Vec<(&'static str, Vec<u8>)>),
    /// Execute these; answer with [`Conversation::replies`], in order.
    Keys(Vec<Command>),
    /// It has decided.
    Reply(Box<IssuerReply>),
}

enum Stage {
    Files,
    Verification { card: Box<CardFile>, tries: PinTries, chip: Option<ChipData> },
    Script { card: Box<CardFile>, reply: Box<IssuerReply> },
    Ended,
}

/// One request on its way to a reply. It lives in memory only: a request lost in a crash is asked again.
pub struct Conversation {
    config: IssuerConfig,
    request: IssuerRequest,
    checks: Vec<&'static str>,
    stage: Stage,
}

impl Conversation {
    /// Takes a request and says what it needs first.
    pub fn open(config: &IssuerConfig, request: IssuerRequest) -> (Self, Ask) {
        let mut conversation = Self { config: config.clone(), request, checks: Vec::new(), stage: Stage::Files };
        let ask = conversation.begin();
        (conversation, ask)
    }

    /// Takes the answers to [`Ask::Find`].
    pub fn found(&mut self, values: Vec<Option<Vec<u8>>>) -> Ask {
        match core::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Files => self.check_files(values),
            _ => self.refuse(Rule::KeyService),
        }
    }

    /// Takes the answers to [`Ask::Keys`].
    pub fn replies(&mut self, replies: Vec<Reply>) -> Ask {
        match core::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Verification { card, tries, chip } => self.check_replies(*card, tries, chip, replies),
            Stage::Script { card, reply } => self.finish_script(&card, *reply, &replies),
            Stage::Files | Stage::Ended => self.refuse(Rule::KeyService),
        }
    }

    fn begin(&mut self) -> Ask {
        if !self.config.issues(self.request.truncated.issuer_digits()) {
            return self.refuse(Rule::NoSuchIssuer);
        }
        let key = self.request.token.0.to_vec();
        let mut keys = vec![(SPACE_CARD, key.clone())];
        if self.request.pin.is_some() {
            keys.push((SPACE_PIN_TRIES, key));
        }
        Ask::Find(keys)
    }

    fn check_files(&mut self, values: Vec<Option<Vec<u8>>>) -> Ask {
        let mut values = values.into_iter();
        let Some(file) = values.next().flatten() else {
            return self.refuse(Rule::NoSuchCard);
        };
        let tries = values.next().flatten().map_or(Ok(PinTries::default()), |bytes| PinTries::from_bytes(&bytes));
        let (Ok(card), Ok(tries)) = (CardFile::from_bytes(&file), tries) else {
            return self.refuse(Rule::FileDamaged);
        };
        self.checks.push("card on file");
        let chip = match self.check_card(&card, tries) {
            Ok(chip) => chip,
            Err(rule) => return self.refuse_card(&card, rule),
        };
        let commands = self.verification(&card, chip.as_ref());
        self.stage = Stage::Verification { card: Box::new(card), tries, chip };
        if commands.is_empty() { self.replies(Vec::new()) } else { Ask::Keys(commands) }
    }

    /// Everything that needs no key, in order.
    fn check_card(&mut self, card: &CardFile, tries: PinTries) -> Result<Option<ChipData>, Rule> {
        self.check_status(card)?;
        if self.request.operation == Operation::OfflinePurchase {
            return self.check_offline(card);
        }
        if self.request.operation.follows_up() {
            return self.check_pin_may_be_tried(card, tries).map(|()| None);
        }
        self.check_entry(card)?;
        self.check_amount(card)?;
        self.check_pin_may_be_tried(card, tries)?;
        self.check_chip(card)
    }

    /// An approved online sale has a certificate too; only a counter that pays once tells it from the certificate of a sale that the
    /// issuer was not asked about.
    fn check_offline(&mut self, card: &CardFile) -> Result<Option<ChipData>, Rule> {
        if !self.request.entry.is_chip() {
            return Err(Rule::EntryNotAllowed);
        }
        if !card.atc_once {
            return Err(Rule::OfflineUncounted);
        }
        self.check_chip(card)
    }

    fn check_status(&mut self, card: &CardFile) -> Result<(), Rule> {
        if self.request.operation.follows_up() || self.request.operation == Operation::OfflinePurchase {
            // Money goes back to the account, and a promise is kept, whatever became of the card.
            return Ok(());
        }
        match card.status {
            CardStatus::Active => self.checks.push("card active"),
            CardStatus::Lost => return Err(Rule::Lost),
            CardStatus::Stolen => return Err(Rule::Stolen),
            CardStatus::Restricted => return Err(Rule::Restricted),
        }
        if self.request.expired {
            return Err(Rule::Expired);
        }
        if self.request.card_sequence.is_some_and(|sequence| sequence != card.card_sequence) {
            return Err(Rule::CardSequence);
        }
        self.checks.push("not expired");
        Ok(())
    }

    fn check_entry(&mut self, card: &CardFile) -> Result<(), Rule> {
        let modes = card.entry_modes;
        let allowed = match self.request.entry {
            Entry::Chip | Entry::Contactless => true,
            Entry::Magstripe if !modes.magstripe => return Err(Rule::ChipRequired),
            Entry::Magstripe => true,
            Entry::Fallback if !modes.fallback => return Err(Rule::ChipRequired),
            Entry::Fallback => true,
            Entry::Manual => modes.manual,
        };
        if !allowed {
            return Err(Rule::EntryNotAllowed);
        }
        let stripe = matches!(self.request.entry, Entry::Magstripe | Entry::Fallback);
        if stripe && card.pin.is_some() && self.request.pin.is_none() {
            return Err(Rule::PinMissing);
        }
        self.checks.push("entry mode allowed");
        Ok(())
    }

    fn check_amount(&mut self, card: &CardFile) -> Result<(), Rule> {
        let amount = self.request.amount;
        if amount.currency() != card.currency {
            return Err(Rule::Currency);
        }
        if card.single_limit_minor.is_some_and(|limit| amount.minor() > limit) {
            return Err(Rule::SingleLimit);
        }
        self.checks.push("within the limit for one transaction");
        Ok(())
    }

    fn check_pin_may_be_tried(&mut self, card: &CardFile, tries: PinTries) -> Result<(), Rule> {
        if self.request.pin.is_none() {
            return Ok(());
        }
        if card.pin.is_none() {
            return Err(Rule::PinNotSet);
        }
        if tries.wrong >= self.config.pin_try_limit {
            return Err(Rule::PinTries);
        }
        self.checks.push("PIN tries left");
        Ok(())
    }

    fn check_chip(&mut self, card: &CardFile) -> Result<Option<ChipData>, Rule> {
        if !self.request.entry.is_chip() {
            return Ok(None);
        }
        let field_55 = self.request.chip.as_deref().ok_or(Rule::ChipData)?;
        let chip = ChipData::parse(field_55, card.scheme).map_err(|_| Rule::ChipData)?;
        let pays = matches!(self.request.operation, Operation::Purchase | Operation::OfflinePurchase);
        if self.request.operation == Operation::OfflinePurchase && !chip.is_certificate {
            return Err(Rule::Cryptogram);
        }
        if pays && chip.amount_minor != self.request.amount.minor() {
            return Err(Rule::ChipAmount);
        }
        self.checks.push("chip data complete");
        Ok(Some(chip))
    }

    /// The cryptogram first: a request without the card may not count against its PIN.
    fn verification(&self, card: &CardFile, chip: Option<&ChipData>) -> Vec<Command> {
        let mut commands = Vec::new();
        if let Some(chip) = chip {
            commands.push(Command::VerifyCryptogram {
                master: card.master_ac.clone(),
                account: self.request.account.clone(),
                card_sequence: self.request.card_sequence.unwrap_or(card.card_sequence),
                scheme: card.scheme.cryptogram(),
                atc: chip.atc,
                unpredictable_number: chip.unpredictable_number,
                data: chip.input.clone(),
                cryptogram: chip.cryptogram,
                response_code: APPROVED_CODE,
            });
        }
        if let (Some(pin), Some(file)) = (&self.request.pin, &card.pin) {
            commands.push(verify_pin(pin, file, &self.request));
        }
        commands
    }

    fn check_replies(&mut self, card: CardFile, tries: PinTries, chip: Option<ChipData>, replies: Vec<Reply>) -> Ask {
        let mut replies = replies.into_iter();
        let arpc = match self.check_cryptogram(chip.is_some(), &mut replies) {
            Ok(arpc) => arpc,
            Err(rule) => return self.refuse_card(&card, rule),
        };
        let pin_tries = match self.check_pin(tries, &mut replies) {
            Ok(pin_tries) => pin_tries,
            Err((rule, pin_tries)) => {
                let mut reply = self.reply(rule, card.organisation);
                reply.pin_tries = pin_tries.map(|tries| (self.request.token, tries));
                return Ask::Reply(Box::new(reply));
            }
        };
        let mut reply = self.approval(&card, chip.as_ref(), arpc);
        reply.pin_tries = pin_tries.map(|tries| (self.request.token, tries));
        self.with_script(card, chip, reply)
    }

    fn check_cryptogram(
        &mut self,
        expected: bool,
        replies: &mut impl Iterator<Item = Reply>,
    ) -> Result<Option<[u8; 8]>, Rule> {
        if !expected {
            return Ok(None);
        }
        match replies.next() {
            Some(Reply::CryptogramVerdict { right: true, arpc }) => {
                self.checks.push("cryptogram right");
                Ok(arpc)
            }
            Some(Reply::CryptogramVerdict { right: false, .. }) => Err(Rule::Cryptogram),
            _ => Err(Rule::KeyService),
        }
    }

    fn check_pin(
        &mut self,
        tries: PinTries,
        replies: &mut impl Iterator<Item = Reply>,
    ) -> Result<Option<PinTries>, (Rule, Option<PinTries>)> {
        if self.request.pin.is_none() {
            return Ok(None);
        }
        match replies.next() {
            Some(Reply::PinVerdict { right: true }) => {
                self.checks.push("PIN right");
                Ok((tries.wrong > 0).then_some(PinTries { step: tries.step.saturating_add(1), wrong: 0 }))
            }
            Some(Reply::PinVerdict { right: false }) => {
                let wrong = tries.wrong.saturating_add(1);
                let rule = if wrong >= self.config.pin_try_limit { Rule::PinTries } else { Rule::PinWrong };
                Err((rule, Some(PinTries { step: tries.step.saturating_add(1), wrong })))
            }
            Some(Reply::Refused { why: Refusal::RateLimited }) => Err((Rule::PinTries, None)),
            Some(Reply::Refused { why: Refusal::PinBlock }) => Err((Rule::PinFormat, None)),
            _ => Err((Rule::KeyService, None)),
        }
    }

    fn approval(&self, card: &CardFile, chip: Option<&ChipData>, arpc: Option<[u8; 8]>) -> IssuerReply {
        let mut reply = self.reply(Rule::Approved, card.organisation);
        let account = Account::Card(self.request.token).name();
        reply.funds = Some(Funds { account, currency: card.currency, floor_minor: card.floor_minor });
        if matches!(self.request.operation, Operation::Purchase | Operation::OfflinePurchase) {
            reply.authorisation_code = Some(authorisation_code(&self.request.rrn));
        }
        if let Some(arpc) = arpc.filter(|_| self.request.operation != Operation::OfflinePurchase) {
            let mut builder = Builder::new();
            builder.push(tags::ISSUER_AUTHENTICATION_DATA, &issuer_authentication_data(card.scheme, &arpc));
            reply.chip = builder.into_bytes();
        }
        if let Some(chip) = chip.filter(|_| card.atc_once) {
            let mut key = self.request.token.0.to_vec();
            key.push(self.request.card_sequence.unwrap_or(card.card_sequence));
            key.extend_from_slice(&chip.atc.to_be_bytes());
            reply.atc_once = Some(key);
        }
        reply
    }

    /// Sends the card's script with an approved purchase, if it has one and a key for it.
    fn with_script(&mut self, card: CardFile, chip: Option<ChipData>, reply: IssuerReply) -> Ask {
        let purchase = self.request.operation == Operation::Purchase;
        let (Some(script), Some(master), Some(chip), true) = (&card.script, &card.master_mac, chip, purchase) else {
            return Ask::Reply(Box::new(reply));
        };
        let command = Command::MakeScriptMac {
            master: master.clone(),
            account: self.request.account.clone(),
            card_sequence: self.request.card_sequence.unwrap_or(card.card_sequence),
            scheme: card.scheme.cryptogram(),
            atc: chip.atc,
            cryptogram: chip.cryptogram,
            data: script.mac_input(card.scheme.script_mac_bytes(), chip.atc, &chip.cryptogram),
        };
        self.stage = Stage::Script { card: Box::new(card), reply: Box::new(reply) };
        Ask::Keys(vec![command])
    }

    /// A script that cannot be made does not undo the approval: the payment does not depend on it.
    fn finish_script(&mut self, card: &CardFile, mut reply: IssuerReply, replies: &[Reply]) -> Ask {
        if let (Some(Reply::ScriptMac { mac }), Some(script)) = (replies.first(), &card.script) {
            reply.chip.extend_from_slice(&script.template(&mac[..card.scheme.script_mac_bytes()]));
        }
        Ask::Reply(Box::new(reply))
    }

    fn refuse(&self, rule: Rule) -> Ask {
        Ask::Reply(Box::new(self.reply(rule, ORGANISATION_DEFAULT)))
    }

    fn refuse_card(&self, card: &CardFile, rule: Rule) -> Ask {
        Ask::Reply(Box::new(self.reply(rule, card.organisation)))
    }

    fn reply(&self, rule: Rule, organisation: [u8; 3]) -> IssuerReply {
        IssuerReply {
            rule,
            checks: self.checks.clone(),
            authorisation_code: None,
            chip: Vec::new(),
            funds: None,
            organisation,
            issuer: self.config.issuer,
            pin_tries: None,
            atc_once: None,
        }
    }
}

fn verify_pin(pin: &PinBlock, file: &PinFile, request: &IssuerRequest) -> Command {
    Command::VerifyPin {
        block: pin.block,
        key: pin.key.clone(),
        account: request.account.clone(),
        reference_key: file.reference_key.clone(),
        reference: file.reference,
    }
}

/// Six digits from the reference number, so that a repeated request gets the same code without anything remembered.
fn authorisation_code(rrn: &Rrn) -> AuthorisationCode {
    // 2^64 divided by the golden ratio; the upper half of each product depends on every byte, so that numbers that follow each
    // other seldom have the same code.
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    const CODES: u64 = 1_000_000;
    let number =
        rrn.bytes().iter().fold(7_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(FACTOR).rotate_left(29));
    AuthorisationCode::parse(&format!("{:06}", (number >> 32) % CODES)).expect("six digits")
}

/// Looks a key of a space up in a store.
pub type Find<'a> = dyn FnMut(&str, &[u8]) -> Option<Vec<u8>> + 'a;

/// Serves one request to its end against a store and a key service at hand, for simulators and simple programs.
pub fn serve(
    config: &IssuerConfig,
    request: IssuerRequest,
    find: &mut Find<'_>,
    keys: &mut dyn KeyService,
) -> IssuerReply {
    let (mut conversation, mut ask) = Conversation::open(config, request);
    loop {
        ask = match ask {
            Ask::Find(wanted) => {
                let values = wanted.iter().map(|(space, key)| find(space, key)).collect();
                conversation.found(values)
            }
            Ask::Keys(commands) => conversation.replies(keys.execute(&commands)),
            Ask::Reply(reply) => return *reply,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_seldom_have_the_same_code() {
        let rrn = |number: u64| Rrn::parse(&format!("{number:012}")).unwrap();
        let codes = |numbers: core::ops::Range<u64>| -> std::collections::BTreeSet<[u8; 6]> {
            numbers.map(|number| *authorisation_code(&rrn(number)).bytes()).collect()
        };
        // By chance, half a pair among a thousand of a million codes.
        for first in [0, 123_456_000_000, 999_999_990_000] {
            assert!(codes(first..first + 1_000).len() >= 996, "{first}");
        }
        assert_eq!(authorisation_code(&rrn(7)), authorisation_code(&rrn(7)));
    }
}
