//! GENERATE APPLICATION CRYPTOGRAM and card risk management (EMV 4.4 Book 3 §6.5.5, §9.3; Book 2 §6.6).

use super::authenticate::DYNAMIC_NUMBER_BYTES;
use crate::apdu::{Answer, Command, Handled};
use crate::card::Card;
use crate::certificate;
use crate::cvr::{CryptogramKind, Facts, IssuerAuthentication};
use crate::issued::CRYPTOGRAM_OBJECTS;
use crate::log;
use crate::personalisation::{AuthenticationMethod, Misbehaviour, ResponseFormat};
use crate::session::{FirstCryptogram, Stage, Transaction};
use crate::status::{self, StatusWord};
use sha1::{Digest, Sha1};
use tlv::{Builder, tags};

/// P1: the cryptogram asked for, and whether it is to be signed with CDA.
const P1_KIND_MASK: u8 = 0xC0;
const P1_COMBINED: u8 = 0x10;
/// Terminal's own authorisation response codes: unable to go online, approved or declined.
const UNABLE_TO_GO_ONLINE: [&[u8]; 2] = [b"Y3", b"Z3"];
/// TVR byte 1: SDA, DDA or CDA failed.
const TVR_AUTHENTICATION_FAILED: u8 = 0x4C;

/// Card status update, second byte (EMV 4.4 Book 3 annex C10): what the issuer orders.
const CSU_APPROVED: u8 = 0x80;
const CSU_CARD_BLOCK: u8 = 0x40;
const CSU_APPLICATION_BLOCK: u8 = 0x20;
const CSU_UPDATE_PIN_TRIES: u8 = 0x10;
const CSU_GO_ONLINE_NEXT: u8 = 0x08;

impl Card {
    /// The first or the second cryptogram of a transaction.
    pub(crate) fn generate_ac(&mut self, command: &Command<'_>) -> Handled {
        let requested = requested_kind(command.p1)?;
        if command.p1 & !(P1_KIND_MASK | P1_COMBINED) != 0 || command.p2 != 0 {
            return Err(status::WRONG_PARAMETERS);
        }
        let combined = command.p1 & P1_COMBINED != 0;
        match self.running()?.1.stage {
            Stage::Initiated => self.first_cryptogram(requested, combined, command.data),
            Stage::OnlineRequested => self.second_cryptogram(requested, combined, command.data),
            Stage::Completed => Err(status::CONDITIONS_NOT_SATISFIED),
        }
    }

    fn first_cryptogram(&mut self, requested: CryptogramKind, combined: bool, data: &[u8]) -> Handled {
        let index = self.selected_application()?;
        let application = &self.applications[index];
        let transaction = self.session.transaction.as_mut().ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        transaction.take_values(&application.cdol1, data).ok_or(status::WRONG_LENGTH)?;
        transaction.cdol1_data = data.to_vec();
        transaction.previous_incomplete = self.state.applications[index].online_incomplete;
        let kind = self.decide_first(index, requested);
        let issuer_data = self.issuer_application_data(index, kind, None, combined)?;
        let cryptogram = self.cryptogram(index, &issuer_data)?;
        let state = &mut self.state.applications[index];
        state.online_incomplete = kind == CryptogramKind::OnlineRequest;
        let (_, transaction) = self.running()?;
        transaction.first = Some(FirstCryptogram { kind, value: cryptogram });
        transaction.stage =
            if kind == CryptogramKind::OnlineRequest { Stage::OnlineRequested } else { Stage::Completed };
        if kind != CryptogramKind::OnlineRequest {
            self.conclude_offline(index, kind)?;
        }
        self.cryptogram_response(index, kind, cryptogram, &issuer_data, combined, &[])
    }

    fn second_cryptogram(&mut self, requested: CryptogramKind, combined: bool, data: &[u8]) -> Handled {
        if requested == CryptogramKind::OnlineRequest {
            return Err(status::CONDITIONS_NOT_SATISFIED);
        }
        let index = self.selected_application()?;
        let application = &self.applications[index];
        let transaction = self.session.transaction.as_mut().ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        transaction.take_values(&application.cdol2, data).ok_or(status::WRONG_LENGTH)?;
        self.authenticate_issuer_in_list(index)?;
        let kind = self.decide_second(index, requested)?;
        // The issuer's orders and counters take effect before the results are written, as the issuer will read them.
        self.obey_card_status_update(index)?;
        let first = self.running()?.1.first.ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        let issuer_data = self.issuer_application_data(index, first.kind, Some(kind), combined)?;
        let cryptogram = self.cryptogram(index, &issuer_data)?;
        self.running()?.1.stage = Stage::Completed;
        self.state.applications[index].online_incomplete = false;
        self.conclude_second(index, kind)?;
        self.cryptogram_response(index, kind, cryptogram, &issuer_data, combined, data)
    }

    /// Card action analysis for the first cryptogram.
    fn decide_first(&self, index: usize, requested: CryptogramKind) -> CryptogramKind {
        let state = &self.state.applications[index];
        let wants_online = (state.is_new() && self.applications[index].risk.new_card_goes_online)
            || state.online_incomplete
            || state.issuer_authentication_failed
            || state.go_online_next
            || state.lower_limit_reached();
        match requested {
            _ if state.blocked => CryptogramKind::Declined,
            CryptogramKind::Approved if wants_online => CryptogramKind::OnlineRequest,
            other => other,
        }
    }

    /// Card action analysis for the second cryptogram.
    fn decide_second(&mut self, index: usize, requested: CryptogramKind) -> Result<CryptogramKind, StatusWord> {
        let (_, transaction) = self.running()?;
        let unable = unable_to_go_online(transaction);
        let authentication = transaction.issuer_authentication;
        let refused_by_update = transaction.card_status_update.is_some_and(|update| update[1] & CSU_APPROVED == 0);
        let state = &self.state.applications[index];
        let mandatory = self.applications[index].risk.issuer_authentication_mandatory;
        let declined = requested == CryptogramKind::Declined
            || state.blocked
            || authentication == IssuerAuthentication::Failed
            || refused_by_update
            || (unable && state.upper_limit_reached())
            || (!unable && mandatory && authentication == IssuerAuthentication::NotPerformed);
        Ok(if declined { CryptogramKind::Declined } else { CryptogramKind::Approved })
    }

    /// Issuer authentication data that came inside CDOL2; all zeros means that none came.
    fn authenticate_issuer_in_list(&mut self, index: usize) -> Result<(), StatusWord> {
        if !self.applications[index].cdol2.asks_for(tags::ISSUER_AUTHENTICATION_DATA) {
            return Ok(());
        }
        let data = self.running()?.1.value(tags::ISSUER_AUTHENTICATION_DATA).to_vec();
        if data.iter().any(|byte| *byte != 0) {
            self.authenticate_issuer(&data)?;
        }
        Ok(())
    }

    fn obey_card_status_update(&mut self, index: usize) -> Result<(), StatusWord> {
        let Some([tries, orders, ..]) = self.running()?.1.card_status_update else {
            return Ok(());
        };
        if orders & CSU_UPDATE_PIN_TRIES != 0 {
            self.state.pin_tries_left = (tries & 0x0F).min(self.pin_tries_max);
        }
        self.state.card_blocked |= orders & CSU_CARD_BLOCK != 0;
        let state = &mut self.state.applications[index];
        state.blocked |= orders & CSU_APPLICATION_BLOCK != 0;
        state.go_online_next = orders & CSU_GO_ONLINE_NEXT != 0;
        Ok(())
    }

    /// Counters after a transaction that never went online.
    fn conclude_offline(&mut self, index: usize, kind: CryptogramKind) -> Result<(), StatusWord> {
        let (_, transaction) = self.running()?;
        let failed = transaction.value(tags::TVR).first().is_some_and(|byte| byte & TVR_AUTHENTICATION_FAILED != 0);
        let state = &mut self.state.applications[index];
        state.offline_authentication_failed = failed && kind == CryptogramKind::Declined;
        if kind == CryptogramKind::Approved {
            self.count_offline_approval(index)?;
            self.write_log(index)?;
        }
        Ok(())
    }

    /// Counters after the second cryptogram.
    fn conclude_second(&mut self, index: usize, kind: CryptogramKind) -> Result<(), StatusWord> {
        let (_, transaction) = self.running()?;
        let unable = unable_to_go_online(transaction);
        let authentication = transaction.issuer_authentication;
        let scripts = transaction.script_commands;
        let approved = kind == CryptogramKind::Approved;
        if approved {
            self.write_log(index)?;
        }
        if unable {
            return if approved { self.count_offline_approval(index) } else { Ok(()) };
        }
        let state = &mut self.state.applications[index];
        state.issuer_authentication_missing = authentication == IssuerAuthentication::NotPerformed;
        if authentication == IssuerAuthentication::Failed {
            return Ok(());
        }
        state.last_online_transaction_counter = state.transaction_counter;
        state.consecutive_offline = 0;
        state.cumulative_offline_minor = 0;
        state.issuer_authentication_failed = false;
        state.offline_authentication_failed = false;
        if scripts == 0 {
            (state.script_commands, state.script_failed) = (0, false);
        }
        Ok(())
    }

    fn count_offline_approval(&mut self, index: usize) -> Result<(), StatusWord> {
        let application_currency = self.applications[index].currency_code;
        let (_, transaction) = self.running()?;
        let amount = decimal(transaction.value(tags::AMOUNT_AUTHORISED));
        let currency = decimal(transaction.value(tags::TRANSACTION_CURRENCY_CODE));
        let state = &mut self.state.applications[index];
        state.consecutive_offline = state.consecutive_offline.saturating_add(1);
        if currency == u64::from(application_currency) {
            state.cumulative_offline_minor = state.cumulative_offline_minor.saturating_add(amount);
        }
        Ok(())
    }

    fn write_log(&mut self, index: usize) -> Result<(), StatusWord> {
        let counter = self.state.applications[index].transaction_counter.to_be_bytes();
        let (_, transaction) = self.running()?;
        let value_of = |tag| if tag == tags::ATC { Some(&counter[..]) } else { transaction.known_value(tag) };
        let entry = log::entry(value_of);
        self.state.applications[index].add_log_entry(entry);
        Ok(())
    }

    fn issuer_application_data(
        &mut self,
        index: usize,
        first: CryptogramKind,
        second: Option<CryptogramKind>,
        combined: bool,
    ) -> Result<Vec<u8>, StatusWord> {
        let pin_tries_left = self.state.pin_tries_left;
        let combined_signature_given = self.will_sign(index, combined, second.unwrap_or(first));
        let application = &self.applications[index];
        let transaction = self.session.transaction.as_ref().ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        let facts = Facts {
            first,
            second,
            pin: transaction.pin,
            pin_enciphered: transaction.pin_enciphered,
            pin_tries_left,
            issuer_authentication: transaction.issuer_authentication,
            unable_to_go_online: second.is_some() && unable_to_go_online(transaction),
            previous_incomplete: transaction.previous_incomplete,
            dynamic_signature_given: transaction.dynamic_signature_given,
            combined_signature_given,
            domestic: decimal(transaction.value(tags::TERMINAL_COUNTRY_CODE)) == u64::from(application.country_code),
            state: &self.state.applications[index],
        };
        Ok(facts.issuer_application_data(application.scheme))
    }

    /// The cryptogram over the latest values (see [`crate::CryptogramScheme`]).
    fn cryptogram(&mut self, index: usize, issuer_data: &[u8]) -> Result<[u8; 8], StatusWord> {
        let application = &self.applications[index];
        let counter = self.state.applications[index].transaction_counter.to_be_bytes();
        let transaction = self.session.transaction.as_ref().ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        let mut data: Vec<u8> =
            CRYPTOGRAM_OBJECTS.iter().flat_map(|(tag, _)| transaction.value(*tag).iter().copied()).collect();
        data.extend(application.aip);
        data.extend(counter);
        data.extend(application.scheme.issuer_part(issuer_data).unwrap_or(&[]));
        let number = transaction.array(tags::UNPREDICTABLE_NUMBER);
        let key = &application.keys.cryptogram;
        let version = application.scheme.version();
        Ok(version.cryptogram(key, counter, number, &data).expect("a double-length key"))
    }

    /// A cryptogram is signed if the terminal asks, the card can, and it does not decline (Book 2 §6.6.1).
    fn will_sign(&self, index: usize, combined: bool, kind: CryptogramKind) -> bool {
        let able = self.applications[index].method == AuthenticationMethod::Combined;
        combined && able && kind != CryptogramKind::Declined
    }

    fn cryptogram_response(
        &mut self,
        index: usize,
        kind: CryptogramKind,
        cryptogram: [u8; 8],
        issuer_data: &[u8],
        combined: bool,
        cdol2_data: &[u8],
    ) -> Handled {
        let counter = self.state.applications[index].transaction_counter.to_be_bytes();
        let parts = ResponseParts { kind, counter, cryptogram, issuer_data };
        if !self.will_sign(index, combined, kind) {
            return Ok(Answer::ok(parts.unsigned(self.applications[index].response_format)));
        }
        let signature = self.combined_signature(index, &parts, cdol2_data)?;
        self.running()?.1.combined_signature_given = true;
        Ok(Answer::ok(parts.signed(&signature)))
    }

    /// Signed dynamic application data of CDA (Book 2 §6.6.1, table 19).
    fn combined_signature(
        &mut self,
        index: usize,
        parts: &ResponseParts<'_>,
        cdol2_data: &[u8],
    ) -> Result<Vec<u8>, StatusWord> {
        let number: [u8; DYNAMIC_NUMBER_BYTES] = self.random();
        let application = &self.applications[index];
        let transaction = self.session.transaction.as_ref().ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        let mut hashed =
            [&transaction.pdol_data, &transaction.cdol1_data, cdol2_data, &parts.signed_objects()].concat();
        if application.misbehaviour == Misbehaviour::SignsAlteredTransactionData {
            hashed[0] ^= 0x01;
        }
        let dynamic_data = [
            &[DYNAMIC_NUMBER_BYTES as u8],
            &number[..],
            &[parts.kind.information_data()],
            &parts.cryptogram,
            &Sha1::digest(&hashed),
        ]
        .concat();
        let terminal_number = transaction.value(tags::UNPREDICTABLE_NUMBER);
        let key = application.signature_key.as_ref().ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        certificate::dynamic_signature(key, &dynamic_data, terminal_number)
            .map_err(|_| status::CONDITIONS_NOT_SATISFIED)
    }
}

/// What GENERATE AC answers with.
struct ResponseParts<'a> {
    kind: CryptogramKind,
    counter: [u8; 2],
    cryptogram: [u8; 8],
    issuer_data: &'a [u8],
}

impl ResponseParts<'_> {
    fn unsigned(&self, format: ResponseFormat) -> Vec<u8> {
        let mut response = Builder::new();
        let information = [self.kind.information_data()];
        match format {
            ResponseFormat::One => {
                let values = [&information[..], &self.counter, &self.cryptogram, self.issuer_data].concat();
                response.push(tags::RESPONSE_FORMAT_1, &values);
            }
            ResponseFormat::Two => response.push_template(tags::RESPONSE_FORMAT_2, |template| {
                template.push(tags::CRYPTOGRAM_INFORMATION_DATA, &information);
                template.push(tags::ATC, &self.counter);
                template.push(tags::APPLICATION_CRYPTOGRAM, &self.cryptogram);
                template.push(tags::ISSUER_APPLICATION_DATA, self.issuer_data);
            }),
        }
        response.into_bytes()
    }

    /// The objects of a signed answer without the signature, as the transaction data hash covers them.
    fn signed_objects(&self) -> Vec<u8> {
        let mut objects = Builder::new();
        objects.push(tags::CRYPTOGRAM_INFORMATION_DATA, &[self.kind.information_data()]);
        objects.push(tags::ATC, &self.counter);
        objects.push(tags::ISSUER_APPLICATION_DATA, self.issuer_data);
        objects.into_bytes()
    }

    /// A signed answer: the cryptogram itself stands only inside the signature.
    fn signed(&self, signature: &[u8]) -> Vec<u8> {
        let mut response = Builder::new();
        response.push_template(tags::RESPONSE_FORMAT_2, |template| {
            template.push_encoded(&self.signed_objects());
            template.push(tags::SIGNED_DYNAMIC_APPLICATION_DATA, signature);
        });
        response.into_bytes()
    }
}

fn requested_kind(p1: u8) -> Result<CryptogramKind, StatusWord> {
    match p1 & P1_KIND_MASK {
        0x00 => Ok(CryptogramKind::Declined),
        0x40 => Ok(CryptogramKind::Approved),
        0x80 => Ok(CryptogramKind::OnlineRequest),
        _ => Err(status::WRONG_PARAMETERS),
    }
}

fn unable_to_go_online(transaction: &Transaction) -> bool {
    UNABLE_TO_GO_ONLINE.contains(&transaction.value(tags::AUTHORISATION_RESPONSE_CODE))
}

/// BCD to a number; nibbles that are no digits count as they are, which no caller depends on.
fn decimal(packed: &[u8]) -> u64 {
    packed.iter().fold(0_u64, |value, byte| {
        value.wrapping_mul(100).wrapping_add(u64::from(byte >> 4) * 10).wrapping_add(u64::from(byte & 0x0F))
    })
}
