//! INTERNAL AUTHENTICATE and EXTERNAL AUTHENTICATE (EMV 4.4 Book 3 §6.5.9, §6.5.4).

use crate::apdu::{Answer, Command, Handled};
use crate::card::Card;
use crate::certificate;
use crate::cvr::IssuerAuthentication;
use crate::personalisation::{AuthenticationMethod, ResponseFormat};
use crate::session::{FirstCryptogram, Stage};
use crate::status::{self, StatusWord};
use paycrypto::constant_time_eq;
use paycrypto::emv::{ArpcMethod, IssuerResponse};
use tlv::{Builder, tags};

/// Bytes of the ICC dynamic number (Book 2 §6.5.1: 2 to 8).
pub(super) const DYNAMIC_NUMBER_BYTES: usize = 8;
/// Shortest and longest issuer authentication data (tag 91).
const ISSUER_AUTHENTICATION_BYTES: core::ops::RangeInclusive<usize> = 8..=16;
const ARPC_METHOD_1_BYTES: usize = 8;
const ARPC_METHOD_2_BYTES: usize = 4;

impl Card {
    /// Dynamic data authentication: signs the card's number and the terminal's.
    pub(crate) fn internal_authenticate(&mut self, command: &Command<'_>) -> Handled {
        command.require_parameters(0)?;
        let (index, transaction) = self.running()?;
        if transaction.stage != Stage::Initiated {
            return Err(status::CONDITIONS_NOT_SATISFIED);
        }
        let application = &self.applications[index];
        if application.method < AuthenticationMethod::Dynamic {
            return Err(status::INSTRUCTION_NOT_SUPPORTED);
        }
        command.require_length(application.ddol_bytes)?;
        let number: [u8; DYNAMIC_NUMBER_BYTES] = self.random();
        let dynamic_data = [&[DYNAMIC_NUMBER_BYTES as u8], &number[..]].concat();
        let application = &self.applications[index];
        let key = application.signature_key.as_ref().ok_or(status::INSTRUCTION_NOT_SUPPORTED)?;
        let signature = certificate::dynamic_signature(key, &dynamic_data, command.data)
            .map_err(|_| status::CONDITIONS_NOT_SATISFIED)?;
        let mut response = Builder::new();
        match application.response_format {
            ResponseFormat::One => response.push(tags::RESPONSE_FORMAT_1, &signature),
            ResponseFormat::Two => response.push_template(tags::RESPONSE_FORMAT_2, |template| {
                template.push(tags::SIGNED_DYNAMIC_APPLICATION_DATA, &signature);
            }),
        }
        self.running()?.1.dynamic_signature_given = true;
        Ok(Answer::ok(response.into_bytes()))
    }

    /// Issuer authentication by command: once a transaction, between the two cryptograms.
    pub(crate) fn external_authenticate(&mut self, command: &Command<'_>) -> Handled {
        command.require_parameters(0)?;
        let (index, transaction) = self.running()?;
        let done = transaction.issuer_authentication != IssuerAuthentication::NotPerformed;
        let promised = self.applications[index].authenticates_issuer_by_command();
        let (_, transaction) = self.running()?;
        if transaction.stage != Stage::OnlineRequested || done || !promised {
            return Err(status::CONDITIONS_NOT_SATISFIED);
        }
        if !ISSUER_AUTHENTICATION_BYTES.contains(&command.data.len()) {
            return Err(status::WRONG_LENGTH);
        }
        match self.authenticate_issuer(command.data)? {
            true => Ok(Answer::done()),
            false => Err(status::AUTHENTICATION_FAILED),
        }
    }

    /// Checks an ARPC (tag 91) against the transaction's ARQC and remembers the verdict.
    pub(super) fn authenticate_issuer(&mut self, data: &[u8]) -> Result<bool, StatusWord> {
        let (index, transaction) = self.running()?;
        let first = transaction.first.ok_or(status::CONDITIONS_NOT_SATISFIED)?;
        let unpredictable_number = transaction.array(tags::UNPREDICTABLE_NUMBER);
        let update = self.check_arpc(index, first, unpredictable_number, data);
        let (_, transaction) = self.running()?;
        transaction.issuer_authentication =
            if update.is_some() { IssuerAuthentication::Passed } else { IssuerAuthentication::Failed };
        transaction.card_status_update = update.flatten();
        self.state.applications[index].issuer_authentication_failed = update.is_none();
        Ok(update.is_some())
    }

    /// `None` for a wrong ARPC; the card status update that came with a right one of method 2.
    fn check_arpc(
        &self,
        index: usize,
        first: FirstCryptogram,
        unpredictable_number: [u8; 4],
        data: &[u8],
    ) -> Option<Option<[u8; 4]>> {
        let application = &self.applications[index];
        let version = application.scheme.version();
        let counter = self.state.applications[index].transaction_counter.to_be_bytes();
        let arpc_of = |response| {
            version.arpc(&application.keys.cryptogram, counter, unpredictable_number, &first.value, response).ok()
        };
        let (arpc, expected, update) = match version.arpc_method() {
            ArpcMethod::One => {
                let (arpc, rest) = data.split_at_checked(ARPC_METHOD_1_BYTES)?;
                let code = *rest.first_chunk()?;
                (arpc, arpc_of(IssuerResponse::ResponseCode(code))?, None)
            }
            ArpcMethod::Two => {
                let (arpc, rest) = data.split_at_checked(ARPC_METHOD_2_BYTES)?;
                let (update, proprietary) = rest.split_first_chunk()?;
                (arpc, arpc_of(IssuerResponse::CardStatusUpdate(*update, proprietary))?, Some(*update))
            }
        };
        constant_time_eq(arpc, &expected).then_some(update)
    }
}
