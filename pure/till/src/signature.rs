//! Electronic signatures (unionpay-pos §6.1): taken from the screen, kept, uploaded behind everything that moves money; what the
//! host does not have when the batch closes is signed on paper.

use crate::config::Config;
use crate::machine::{Till, Turn, prints};
use crate::management::SIGNATURES_WAITING_MAX;
use crate::message;
use crate::receipt::{Receipt, SignatureSlip, date_time, institutions};
use crate::record::Record;
use crate::text::Text;
use crate::transaction::Transaction;
use crate::wire::{End, Message};
use crate::words::{Effect, Operation, OutcomeStatus, TransactionOutcome};
use iso8583::gbk;
use iso8583::unionpay::{SIGNATURE_BYTES_MAX, SignatureElement, signature_size, signature_tags as tags};
use types::{ResponseCode, Stan};

/// Characters of an institution code.
const INSTITUTION_CHARACTERS: usize = 11;
/// Characters of an application label.
const LABEL_CHARACTERS: usize = 16;

impl Till {
    /// Keeps what the cardholder wrote.
    pub(crate) fn sign(&mut self, turn: &mut Turn, stan: Stan, image: Vec<u8>) {
        if let Some(why) = self.signature_refusal(stan, &image) {
            return self.refuse(turn, Operation::Signature, why);
        }
        self.note(turn, Record::SignatureTaken { stan, image });
        let text = Text::new("电子签名已保存", "The signature is kept and goes to the host by itself");
        let outcome = TransactionOutcome::new(Operation::Signature, OutcomeStatus::Done, text);
        self.answer(turn, TransactionOutcome { stan: Some(stan), batch: Some(self.state.batch), ..outcome });
        self.advance(turn);
    }

    fn signature_refusal(&self, stan: Stan, image: &[u8]) -> Option<Text> {
        let management = &self.state.management;
        let signed = self.state.transaction(stan).filter(|of| prints(of) && of.batch == self.state.batch);
        if signed.is_none() {
            return Some(Text::new("该交易无需签名", "No approved payment of this batch has that voucher"));
        }
        if self.state.settlement.is_some() {
            return Some(Text::new("正在结算,请在纸质签购单上签名", "The batch is being settled: sign the paper slip"));
        }
        if management.signature(stan).is_some() {
            return Some(Text::new("该交易已签名", "This payment is signed already"));
        }
        if image.len() > SIGNATURE_BYTES_MAX {
            return Some(Text::new("签名数据过长,请重新签名", "The signature is too large: sign again"));
        }
        if let Err(error) = signature_size(image) {
            return Some(Text::new("签名图像格式错", format!("The signature is no JBIG image: {error}")));
        }
        let full = management.waiting_signatures().count() >= SIGNATURES_WAITING_MAX;
        full.then(|| {
            Text::new(
                "待上送签名过多,请在纸质签购单上签名",
                "Too many signatures wait for the host: sign the paper slip",
            )
        })
    }

    pub(crate) fn send_signature(&mut self, turn: &mut Turn, stan: Stan) {
        let image = self.state.management.signature(stan).map(|signature| signature.image.clone());
        match self.state.transaction(stan).zip(image) {
            Some((of, image)) => {
                let request = message::signature(&self.config, of, &image);
                self.send(turn, Message::Signature(stan), request);
            }
            None => self.signature_tried(turn, stan),
        }
    }

    pub(crate) fn signature_ended(&mut self, turn: &mut Turn, stan: Stan, end: End) {
        match end {
            End::Answered(summary) => {
                let taken = |code: &ResponseCode| matches!(*code, ResponseCode::APPROVED | ResponseCode::DUPLICATE);
                match summary.response_code.filter(taken).filter(|_| summary.mac_verified) {
                    Some(response_code) => {
                        self.note(turn, Record::SignatureUploaded { stan, response_code });
                        self.step_done(turn);
                    }
                    None => self.signature_again(turn, stan),
                }
            }
            // The host was not asked. A payment may still be approved without it.
            End::NotSent if self.is_paying() => self.signature_waits(turn, stan),
            End::NotSent => self.fail_flush(turn, End::NotSent.text()),
            End::Refused { sign_in_needed: false, .. } => self.signature_tried(turn, stan),
            _ => self.signature_again(turn, stan),
        }
    }

    fn signature_again(&mut self, turn: &mut Turn, stan: Stan) {
        if self.may_send_again() { self.advance(turn) } else { self.signature_tried(turn, stan) }
    }

    /// A signature holds up neither a payment nor a settlement.
    fn signature_tried(&mut self, turn: &mut Turn, stan: Stan) {
        self.note(turn, Record::SignatureTried { stan });
        self.signature_waits(turn, stan);
    }

    /// Not again in this job.
    fn signature_waits(&mut self, turn: &mut Turn, stan: Stan) {
        if let Some(job) = &mut self.job {
            job.signatures_tried.push(stan);
            job.flush_failed = true;
        }
        self.step_done(turn);
    }

    /// The batch closes: what the host does not have must be signed on paper.
    pub(crate) fn leave_signatures(&mut self, turn: &mut Turn) {
        let stans: Vec<Stan> = self.state.management.waiting_signatures().map(|signature| signature.stan).collect();
        if stans.is_empty() {
            return;
        }
        stans.iter().for_each(|stan| self.note(turn, Record::SignatureLeft { stan: *stan }));
        let batch = self.state.settlement.as_ref().map_or(self.state.batch, |settlement| settlement.batch);
        let slip = SignatureSlip {
            merchant_name: self.config.merchant_name.clone(),
            terminal: self.config.terminal,
            batch: batch.to_string(),
            stans,
        };
        turn.emit(Effect::Print(Box::new(Receipt::SignatureLeft(Box::new(slip)))));
    }
}

/// What the cardholder saw when signing, the most important first: F55 may have no room for all of it.
pub(crate) fn elements(config: &Config, of: &Transaction) -> Vec<SignatureElement> {
    let (issuer, acquirer) = institutions(of);
    let code = of.authorisation_code();
    let mut elements = Elements(Vec::new());
    elements.text(tags::MERCHANT_NAME, &config.merchant_name);
    elements.text(tags::TRANSACTION_TYPE, &of.kind.operation().text().zh);
    elements.digits(tags::OPERATOR, &config.operator, 1);
    elements.text(tags::ACQUIRER, clipped(&acquirer, INSTITUTION_CHARACTERS));
    elements.text(tags::ISSUER, clipped(&issuer, INSTITUTION_CHARACTERS));
    elements.digits(tags::DATE_TIME, &date_time(of), 7);
    elements.text(tags::AUTHORISATION_CODE, code.as_ref().map_or("", |code| code.text()));
    elements.text(tags::CURRENCY, &format!("{:03}", of.amount.currency().numeric()));
    if of.kind.is_notice() {
        elements.text(tags::ORGANISATION, clipped(of.organisation(), 3));
    }
    original_elements(of, &mut elements);
    elements.text(tags::APPLICATION_LABEL, clipped(&of.card.label, LABEL_CHARACTERS));
    elements.bytes(tags::APPLICATION, of.card.aid.clone());
    elements.digits(tags::CRYPTOGRAM, &of.chip.cryptogram, 8);
    elements.digits(tags::COPIES, &config.receipt.copies.to_string(), 1);
    elements.0
}

fn original_elements(of: &Transaction, elements: &mut Elements) {
    let Some(original) = &of.original else { return };
    elements.digits(tags::ORIGINAL_VOUCHER, &original.stan.map_or_else(String::new, |stan| stan.to_string()), 3);
    elements.digits(tags::ORIGINAL_REFERENCE, &original.rrn.map_or_else(String::new, |rrn| rrn.to_string()), 6);
    // `YYYY-MM-DD`
    elements.digits(tags::ORIGINAL_DATE, original.date.get(5..).unwrap_or_default(), 2);
    let code = original.authorisation_code.map_or_else(String::new, |code| code.to_string());
    elements.text(tags::ORIGINAL_AUTHORISATION_CODE, &code);
}

fn clipped(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// Gathers elements; what says nothing is left out.
struct Elements(Vec<SignatureElement>);

impl Elements {
    fn bytes(&mut self, tag: u16, value: Vec<u8>) {
        if !value.is_empty() {
            self.0.push(SignatureElement { tag, value });
        }
    }

    fn text(&mut self, tag: u16, text: &str) {
        self.bytes(tag, gbk::encode(text).unwrap_or_default());
    }

    /// The hexadecimal digits of a text, packed and padded on the left to so many bytes; left out if there are none or more.
    fn digits(&mut self, tag: u16, text: &str, bytes: usize) {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
        let Some(filler) = (2 * bytes).checked_sub(digits.len()).filter(|filler| *filler < 2 * bytes) else { return };
        let padded: Vec<u8> = core::iter::repeat_n(0, filler).chain(digits).collect();
        self.bytes(tag, padded.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_packed_from_the_right() {
        let mut elements = Elements(Vec::new());
        elements.digits(tags::OPERATOR, "1", 1);
        elements.digits(tags::DATE_TIME, "2026-03-15 09:31:02", 7);
        elements.digits(tags::CRYPTOGRAM, "", 8);
        elements.digits(tags::ORIGINAL_DATE, "12345", 2);
        elements.text(tags::ISSUER, "");
        let values: Vec<&[u8]> = elements.0.iter().map(|element| &element.value[..]).collect();
        assert_eq!(values, [&[1][..], &[0x20, 0x26, 0x03, 0x15, 0x09, 0x31, 0x02]]);
        assert_eq!((clipped("银联借记", 2), clipped("ab", 3)), ("银联", "ab"));
    }
}
