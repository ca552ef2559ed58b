//! Terminal risk management, action analysis and the first cryptogram (EMV 4.4 Book 3 §10.6–§10.8).

use super::verifying::{get_data, read_object};
use super::{CardError, Decision, Kernel, OnlineRequest, Output, State};
use crate::action::{ActionCodes, OnlineCapability};
use crate::apdu::Response;
use crate::bits::{Tsi, Tvr, aip};
use crate::cryptogram::{self, CryptogramError, CryptogramKind, GenerateAcResponse};
use crate::risk;
use sha1::{Digest, Sha1};
use tlv::{Dol, Tag, tags};
use zeroize::Zeroizing;

/// Terminal generated authorisation response codes, tag 8A (Book 4 Annex A6).
pub(super) mod response_code {
    pub const OFFLINE_APPROVED: [u8; 2] = *b"Y1";
    pub const OFFLINE_DECLINED: [u8; 2] = *b"Z1";
    pub const UNABLE_ONLINE_APPROVED: [u8; 2] = *b"Y3";
    pub const UNABLE_ONLINE_DECLINED: [u8; 2] = *b"Z3";
}

impl Kernel {
    pub(super) fn manage_risk(&mut self) -> Output {
        if self.session.aip[0] & aip::TERMINAL_RISK_MANAGEMENT == 0 {
            return self.analyse_action();
        }
        let session = &mut self.session;
        risk::apply(&self.config, &session.application, &self.transaction, &session.data, &mut session.tvr);
        session.publish_tvr();
        session.set_tsi(Tsi::TERMINAL_RISK_PERFORMED);
        match risk::velocity_limits(&self.session.data) {
            Some(limits) => self.transmit(get_data(tags::ATC), None, State::TransactionCounter { limits }),
            None => self.analyse_action(),
        }
    }

    pub(super) fn on_transaction_counter(&mut self, limits: (u8, u8), response: &Response) -> Output {
        let counter = read_counter(tags::ATC, response);
        let next = State::LastOnlineCounter { limits, counter };
        self.transmit(get_data(tags::LAST_ONLINE_ATC), None, next)
    }

    pub(super) fn on_last_online_counter(
        &mut self,
        limits: (u8, u8),
        counter: Option<u16>,
        response: &Response,
    ) -> Output {
        let last_online = read_counter(tags::LAST_ONLINE_ATC, response);
        risk::apply_velocity(limits, counter, last_online, &mut self.session.tvr);
        self.session.publish_tvr();
        self.analyse_action()
    }

    pub(super) fn online_capability(&self) -> OnlineCapability {
        if self.config.is_online_only() {
            OnlineCapability::OnlineOnly
        } else if self.config.is_offline_only() {
            OnlineCapability::OfflineOnly
        } else {
            OnlineCapability::OfflineWithOnline
        }
    }

    fn analyse_action(&mut self) -> Output {
        let codes = ActionCodes::join(&self.session.application, &self.session.data);
        let mut requested = codes.first_request(self.session.tvr, self.online_capability());
        // A merchant's demand for an authorisation holds even when no action code asks for it.
        if self.transaction.force_online && requested == CryptogramKind::Tc && !self.config.is_offline_only() {
            requested = CryptogramKind::Arqc;
        }
        let with_cda = self.session.cda_active && requested != CryptogramKind::Aac;
        let (command, dol, data) = self.cryptogram_command(tags::CDOL1, requested, with_cda);
        self.session.cdol1_data = data;
        self.session.cryptogram_requested = true;
        self.transmit(command, Some(&dol), State::FirstCryptogram { requested, with_cda })
    }

    /// GENERATE AC with the values of one CDOL; the list was checked when the records were read.
    pub(super) fn cryptogram_command(
        &mut self,
        list: Tag,
        requested: CryptogramKind,
        with_cda: bool,
    ) -> (crate::apdu::Command, Dol, Zeroizing<Vec<u8>>) {
        let bytes = self.session.data.get(list).unwrap_or_default();
        let dol = Dol::parse(bytes).expect("CDOLs are checked after reading the records");
        if dol.asks_for(tags::TC_HASH_VALUE) {
            self.compute_transaction_hash();
        }
        let data = Zeroizing::new(dol.build(|tag| self.session.data.get(tag)));
        (cryptogram::build_command(requested, with_cda, &data), dol, data)
    }

    /// The TC hash value over what the TDOL lists (§10.8.1, Book 3 §5.2.2).
    fn compute_transaction_hash(&mut self) {
        let from_card = self.session.data.get(tags::TDOL).map(<[u8]>::to_vec);
        let tdol = match from_card {
            Some(tdol) => tdol,
            None if self.session.application.default_tdol.is_empty() => Vec::new(),
            None => {
                self.session.set_tvr(Tvr::DEFAULT_TDOL_USED);
                self.session.application.default_tdol.clone()
            }
        };
        let input = match Dol::parse(&tdol) {
            Ok(dol) => Zeroizing::new(dol.build(|tag| self.session.data.get(tag))),
            Err(_) => Zeroizing::default(),
        };
        self.session.data.set_terminal(tags::TC_HASH_VALUE, &Sha1::digest(&input[..]));
    }

    pub(super) fn on_first_cryptogram(
        &mut self,
        requested: CryptogramKind,
        with_cda: bool,
        response: &Response,
    ) -> Output {
        let answer = match read_permitted(requested, with_cda, response) {
            Ok(answer) => answer,
            Err(error) => return self.card_error(CardError::Cryptogram(error)),
        };
        self.session.set_tsi(Tsi::CARD_RISK_PERFORMED);
        let (cryptogram, authentic) = self.accept_cryptogram(&answer, with_cda);
        self.session.first_cryptogram = Some(cryptogram.clone());
        match (cryptogram.kind, authentic) {
            (CryptogramKind::Arqc, true) if self.config.is_offline_only() => self.complete_without_issuer(),
            (CryptogramKind::Arqc, true) => {
                self.state = State::Online;
                Output::GoOnline(OnlineRequest { online_pin: self.session.online_pin_entered, cryptogram })
            }
            (CryptogramKind::Arqc, false) => self.decline_unauthentic(),
            (CryptogramKind::Tc, true) => self.decide_offline(Decision::Approved),
            (CryptogramKind::Tc, false) | (CryptogramKind::Aac, _) => self.decide_offline(Decision::Declined),
        }
    }

    fn decide_offline(&mut self, decision: Decision) -> Output {
        let code = match decision {
            Decision::Approved => response_code::OFFLINE_APPROVED,
            _ => response_code::OFFLINE_DECLINED,
        };
        self.session.data.set_terminal(tags::AUTHORISATION_RESPONSE_CODE, &code);
        self.finish(decision)
    }
}

/// Reads an answer that must not promise more than was asked for, and whose cryptogram must be readable without a
/// signature when none was asked for.
pub(super) fn read_permitted(
    requested: CryptogramKind,
    with_cda: bool,
    response: &Response,
) -> Result<GenerateAcResponse, CryptogramError> {
    let answer = cryptogram::read_response(response)?;
    if answer.kind > requested {
        return Err(CryptogramError::Kind);
    }
    let signature_expected = with_cda && answer.kind != CryptogramKind::Aac;
    if !signature_expected && answer.application_cryptogram.is_none() {
        return Err(CryptogramError::Object { tag: tags::APPLICATION_CRYPTOGRAM });
    }
    Ok(answer)
}

fn read_counter(tag: Tag, response: &Response) -> Option<u16> {
    match read_object(tag, response) {
        Some(&[high, low]) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}
