//! Offline data authentication inside a transaction (EMV 4.4 Book 3 §10.3, Book 2 §5–6).

use super::{CardError, Kernel, OdaMethod, Output, State};
use crate::apdu::{Command, Response, ins};
use crate::bits::{Bit, Tsi, Tvr, aip};
use crate::cryptogram::{Cryptogram, CryptogramKind, GenerateAcResponse};
use crate::oda::cda::{self, TransactionHashInput};
use crate::oda::icc::IccChecks;
use crate::oda::issuer::IssuerChecks;
use crate::oda::{OdaError, RsaPublicKey, dda, icc, issuer, sda, static_data};
use crate::trace::dynamic_signature;
use tlv::{Dol, Tag, tags};

const CAPABILITY_SDA: u8 = 0x80;
const CAPABILITY_DDA: u8 = 0x40;
const CAPABILITY_CDA: u8 = 0x08;

/// Dynamic authentication under way.
pub(super) struct DynamicTask {
    icc_key: RsaPublicKey,
    ddol_data: Vec<u8>,
}

/// Which certificate of the card is recovered.
#[derive(Clone, Copy)]
pub(super) struct CertificateTags {
    pub(super) certificate: Tag,
    pub(super) exponent: Tag,
    pub(super) remainder: Tag,
}

/// The card's authentication key.
pub(super) const ICC_KEY: CertificateTags = CertificateTags {
    certificate: tags::ICC_PUBLIC_KEY_CERTIFICATE,
    exponent: tags::ICC_PUBLIC_KEY_EXPONENT,
    remainder: tags::ICC_PUBLIC_KEY_REMAINDER,
};

/// The card's PIN encipherment key.
pub(super) const PIN_KEY: CertificateTags = CertificateTags {
    certificate: tags::ICC_PIN_PUBLIC_KEY_CERTIFICATE,
    exponent: tags::ICC_PIN_PUBLIC_KEY_EXPONENT,
    remainder: tags::ICC_PIN_PUBLIC_KEY_REMAINDER,
};

impl Kernel {
    pub(super) fn authenticate_data(&mut self) -> Output {
        self.session.oda.method = self.oda_method();
        match self.session.oda.method {
            OdaMethod::None => {
                self.session.set_tvr(Tvr::ODA_NOT_PERFORMED);
                self.check_restrictions()
            }
            OdaMethod::Sda => {
                self.session.set_tvr(Tvr::SDA_SELECTED);
                let result = self.verify_static_signature();
                self.conclude_oda(result, Tvr::SDA_FAILED)
            }
            OdaMethod::Dda => self.start_dynamic_authentication(),
            OdaMethod::Cda => match self.recover_icc_key() {
                Ok(key) => {
                    self.session.icc_key = Some(key);
                    self.session.cda_active = true;
                    self.check_restrictions()
                }
                Err(error) => self.conclude_oda(Err(error), Tvr::CDA_FAILED),
            },
        }
    }

    /// The strongest method both sides support.
    fn oda_method(&self) -> OdaMethod {
        let both =
            |card_bit, terminal_bit| self.session.aip[0] & card_bit != 0 && self.config.has_capability(2, terminal_bit);
        if both(aip::CDA, CAPABILITY_CDA) {
            OdaMethod::Cda
        } else if both(aip::DDA, CAPABILITY_DDA) {
            OdaMethod::Dda
        } else if both(aip::SDA, CAPABILITY_SDA) {
            OdaMethod::Sda
        } else {
            OdaMethod::None
        }
    }

    /// Notes the result of an authentication that is over and goes on.
    fn conclude_oda(&mut self, result: Result<(), OdaError>, failed: Bit) -> Output {
        self.note_oda(result, failed);
        self.check_restrictions()
    }

    fn note_oda(&mut self, result: Result<(), OdaError>, failed: Bit) {
        self.session.set_tsi(Tsi::ODA_PERFORMED);
        match result {
            Ok(()) => self.session.oda.succeeded = true,
            Err(error) => {
                self.session.oda.failure = Some(error);
                self.session.set_tvr(failed);
                if error == OdaError::DataMissing {
                    self.session.set_tvr(Tvr::ICC_DATA_MISSING);
                }
            }
        }
    }

    fn required(&self, tag: Tag) -> Result<&[u8], OdaError> {
        self.session.data.get(tag).ok_or(OdaError::DataMissing)
    }

    /// The issuer's key, through its certificate and the scheme's key.
    fn recover_issuer_key(&self) -> Result<RsaPublicKey, OdaError> {
        let data = &self.session.data;
        let [index] = data.get_array::<1>(tags::CAPK_INDEX_CARD).ok_or(OdaError::DataMissing)?;
        let certificate = self.required(tags::ISSUER_PUBLIC_KEY_CERTIFICATE)?;
        let exponent = self.required(tags::ISSUER_PUBLIC_KEY_EXPONENT)?;
        let rid = self.application().and_then(|aid| aid.first_chunk()).ok_or(OdaError::DataMissing)?;
        let capk = self.capks.usable(rid, index, self.transaction.date)?;
        let recovered = issuer::recover(&capk.key()?, certificate)?;
        let key = recovered.verify(&IssuerChecks {
            remainder: data.get(tags::ISSUER_PUBLIC_KEY_REMAINDER).unwrap_or_default(),
            exponent,
            pan: data.get(tags::PAN),
            date: Some(self.transaction.date),
        })?;
        if self.config.revoked.is_revoked(*rid, index, recovered.serial_number) {
            return Err(OdaError::Revoked);
        }
        Ok(key)
    }

    fn static_data(&self) -> Result<Vec<u8>, OdaError> {
        static_data::build(
            self.session.signed_records.as_deref().map(Vec::as_slice),
            self.session.data.get(tags::SDA_TAG_LIST),
            &self.session.aip,
        )
    }

    fn verify_static_signature(&mut self) -> Result<(), OdaError> {
        let signature = self.required(tags::SIGNED_STATIC_APPLICATION_DATA)?;
        let issuer_key = self.recover_issuer_key()?;
        let code = sda::recover(&issuer_key, signature)?.verify(&self.static_data()?)?;
        self.session.data.set_card(tags::DATA_AUTHENTICATION_CODE, &code);
        Ok(())
    }

    fn recover_icc_key(&self) -> Result<RsaPublicKey, OdaError> {
        let static_data = self.static_data()?;
        self.recover_card_key(ICC_KEY, &static_data)
    }

    /// One of the card's keys, through its certificate and the issuer's key.
    pub(super) fn recover_card_key(&self, from: CertificateTags, static_data: &[u8]) -> Result<RsaPublicKey, OdaError> {
        let certificate = self.required(from.certificate)?;
        let exponent = self.required(from.exponent)?;
        let issuer_key = self.recover_issuer_key()?;
        icc::recover(&issuer_key, certificate)?.verify(&IccChecks {
            remainder: self.session.data.get(from.remainder).unwrap_or_default(),
            exponent,
            static_data,
            pan: self.session.data.get(tags::PAN),
            date: Some(self.transaction.date),
        })
    }

    /// The key a PIN is enciphered under: the card's PIN key, or without one its authentication key (Book 2 §7.1).
    pub(super) fn recover_pin_key(&self) -> Result<RsaPublicKey, OdaError> {
        if self.session.data.card_has(PIN_KEY.certificate) {
            return self.recover_card_key(PIN_KEY, &[]);
        }
        match &self.session.icc_key {
            Some(key) => Ok(key.clone()),
            None => self.recover_icc_key(),
        }
    }

    fn start_dynamic_authentication(&mut self) -> Output {
        match self.prepare_dynamic_authentication() {
            Ok((task, dol)) => {
                self.session.icc_key = Some(task.icc_key.clone());
                let command =
                    Command::new(0x00, ins::INTERNAL_AUTHENTICATE, 0, 0).with_data(&task.ddol_data).expecting_all();
                self.transmit(command, Some(&dol), State::Authenticating(task))
            }
            Err(error) => self.conclude_oda(Err(error), Tvr::DDA_FAILED),
        }
    }

    fn prepare_dynamic_authentication(&self) -> Result<(DynamicTask, Dol), OdaError> {
        let icc_key = self.recover_icc_key()?;
        let default = Some(&self.session.application.default_ddol[..]).filter(|ddol| !ddol.is_empty());
        let ddol = self.session.data.get(tags::DDOL).or(default).ok_or(OdaError::Ddol)?;
        let dol = Dol::parse(ddol).map_err(|_| OdaError::Ddol)?;
        let fits = dol.total_length() <= crate::apdu::MAX_COMMAND_DATA_BYTES;
        if !dol.asks_for(tags::UNPREDICTABLE_NUMBER) || !fits {
            return Err(OdaError::Ddol);
        }
        let ddol_data = dol.build(|tag| self.session.data.get(tag));
        Ok((DynamicTask { icc_key, ddol_data }, dol))
    }

    pub(super) fn on_dynamic_signature(&mut self, task: &DynamicTask, response: &Response) -> Output {
        if !response.status.is_ok() {
            return self.card_error(CardError::InternalAuthenticate(response.status));
        }
        let verified = dynamic_signature(&response.data)
            .ok_or(OdaError::SignatureMissing)
            .and_then(|signature| dda::verify(&task.icc_key, &signature, &task.ddol_data));
        let result = verified.map(|number| self.session.data.set_card(tags::ICC_DYNAMIC_NUMBER, &number));
        self.conclude_oda(result, Tvr::DDA_FAILED)
    }

    /// Turns an answer to GENERATE AC into a cryptogram, verifying the signature when one was asked for. `false` means
    /// that combined data authentication failed.
    pub(super) fn accept_cryptogram(&mut self, answer: &GenerateAcResponse, with_cda: bool) -> (Cryptogram, bool) {
        let signed = with_cda && answer.kind != CryptogramKind::Aac;
        let mut application_cryptogram = answer.application_cryptogram;
        let mut authentic = true;
        if signed {
            let verified = self.verify_combined_signature(answer);
            authentic = verified.is_ok();
            if let Ok(combined) = &verified {
                application_cryptogram = Some(combined.application_cryptogram);
                self.session.data.set_card(tags::ICC_DYNAMIC_NUMBER, &combined.dynamic_number);
            }
            self.note_oda(verified.map(|_| ()), Tvr::CDA_FAILED);
        }
        let cryptogram = Cryptogram {
            cid: answer.cid,
            kind: answer.kind,
            atc: answer.atc,
            application_cryptogram: application_cryptogram.unwrap_or_default(),
            issuer_application_data: answer.issuer_application_data.clone(),
        };
        self.session.publish_cryptogram(&cryptogram);
        (cryptogram, authentic)
    }

    fn verify_combined_signature(&self, answer: &GenerateAcResponse) -> Result<cda::CombinedData, OdaError> {
        let signature = answer.signature.as_deref().ok_or(OdaError::SignatureMissing)?;
        let key = self.session.icc_key.as_ref().ok_or(OdaError::DataMissing)?;
        let input = TransactionHashInput {
            pdol_data: &self.session.pdol_data,
            cdol1_data: &self.session.cdol1_data,
            cdol2_data: &self.session.cdol2_data,
            response_objects: &answer.signed_objects,
        };
        cda::verify(key, signature, &self.transaction.unpredictable_number, answer.cid, &input)
    }
}
