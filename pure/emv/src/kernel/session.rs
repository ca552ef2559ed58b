//! What the kernel knows about the application in use; dropped whole when another one is selected.

use super::{Decision, OdaReport, Outcome};
use crate::apdu::MAX_COMMAND_DATA_BYTES;
use crate::bits::{Bit, Tsi, Tvr};
use crate::config::{TerminalApplication, TerminalConfig, TransactionData, initial_data};
use crate::cryptogram::Cryptogram;
use crate::cvm::{RESULTS_NOT_PERFORMED, Rules};
use crate::data::DataStore;
use crate::oda::RsaPublicKey;
use crate::scripts::{RESULT_BYTES, ScriptResult};
use tlv::tags;
use zeroize::Zeroizing;

/// What the host said.
#[derive(Clone)]
pub(super) struct HostAnswer {
    pub(super) approved: bool,
    pub(super) issuer_data: Zeroizing<Vec<u8>>,
}

/// Everything about one application.
pub(super) struct Session {
    pub(super) application: TerminalApplication,
    pub(super) data: DataStore,
    pub(super) tvr: Tvr,
    pub(super) tsi: Tsi,
    pub(super) aip: [u8; 2],
    pub(super) pdol_data: Zeroizing<Vec<u8>>,
    pub(super) cdol1_data: Zeroizing<Vec<u8>>,
    pub(super) cdol2_data: Zeroizing<Vec<u8>>,
    /// Signed records; `None` when one of them was unusable.
    pub(super) signed_records: Option<Zeroizing<Vec<u8>>>,
    pub(super) oda: OdaReport,
    /// The card's key, once its certificate chain is verified.
    pub(super) icc_key: Option<RsaPublicKey>,
    /// Combined data authentication will be asked for.
    pub(super) cda_active: bool,
    pub(super) cvm_rules: Option<Rules>,
    pub(super) cvm_results: [u8; 3],
    pub(super) pin_bypassed: bool,
    /// The card was asked for its PIN try counter.
    pub(super) pin_tries_asked: bool,
    pub(super) pin_tries_left: Option<u8>,
    pub(super) pin_attempts: u8,
    pub(super) signature_required: bool,
    pub(super) online_pin_entered: bool,
    pub(super) cryptogram_requested: bool,
    pub(super) first_cryptogram: Option<Cryptogram>,
    pub(super) second_cryptogram: Option<Cryptogram>,
    pub(super) host: Option<HostAnswer>,
    pub(super) unable_to_go_online: bool,
    pub(super) script_results: Vec<ScriptResult>,
    /// Set by the second cryptogram, while scripts still run.
    pub(super) decision: Option<Decision>,
}

impl Session {
    pub(super) fn before_selection(data: DataStore) -> Self {
        Session {
            application: TerminalApplication::new(&[]),
            data,
            tvr: Tvr::default(),
            tsi: Tsi::default(),
            aip: [0; 2],
            pdol_data: Zeroizing::default(),
            cdol1_data: Zeroizing::default(),
            cdol2_data: Zeroizing::default(),
            signed_records: None,
            oda: OdaReport::default(),
            icc_key: None,
            cda_active: false,
            cvm_rules: None,
            cvm_results: RESULTS_NOT_PERFORMED,
            pin_bypassed: false,
            pin_tries_asked: false,
            pin_tries_left: None,
            pin_attempts: 0,
            signature_required: false,
            online_pin_entered: false,
            cryptogram_requested: false,
            first_cryptogram: None,
            second_cryptogram: None,
            host: None,
            unable_to_go_online: false,
            script_results: Vec::new(),
            decision: None,
        }
    }

    /// A fresh session for one of the terminal's applications.
    pub(super) fn for_application(
        config: &TerminalConfig,
        transaction: &TransactionData,
        application: &TerminalApplication,
    ) -> Self {
        let mut data = initial_data(config, transaction);
        data.set_terminal(tags::AID_TERMINAL, &application.aid);
        data.set_terminal(tags::APPLICATION_VERSION_TERMINAL, &application.version);
        let floor_limit = u32::try_from(application.floor_limit_minor).unwrap_or(u32::MAX);
        data.set_terminal(tags::TERMINAL_FLOOR_LIMIT, &floor_limit.to_be_bytes());
        Session { application: application.clone(), ..Session::before_selection(data) }
    }

    pub(super) fn set_tvr(&mut self, bit: Bit) {
        self.tvr.set(bit);
        self.publish_tvr();
    }

    pub(super) fn publish_tvr(&mut self) {
        self.data.set_terminal(tags::TVR, &self.tvr.0);
    }

    pub(super) fn set_tsi(&mut self, bit: Bit) {
        self.tsi.set(bit);
        self.data.set_terminal(tags::TSI, &self.tsi.0);
    }

    pub(super) fn set_cvm_results(&mut self, results: [u8; 3]) {
        self.cvm_results = results;
        self.data.set_terminal(tags::CVM_RESULTS, &results);
    }

    /// Adds script results and publishes them under both tags.
    pub(super) fn add_script_results(&mut self, results: &[ScriptResult]) {
        self.script_results.extend_from_slice(results);
        let most = MAX_COMMAND_DATA_BYTES / RESULT_BYTES;
        let encoded: Vec<u8> = self.script_results.iter().take(most).flat_map(ScriptResult::encode).collect();
        self.data.set_terminal(tags::ISSUER_SCRIPT_RESULTS, &encoded);
        self.data.set_terminal(tags::UNIONPAY_SCRIPT_RESULTS, &encoded);
    }

    /// Publishes a cryptogram's objects.
    pub(super) fn publish_cryptogram(&mut self, cryptogram: &Cryptogram) {
        self.data.set_card(tags::CRYPTOGRAM_INFORMATION_DATA, &[cryptogram.cid]);
        self.data.set_card(tags::ATC, &cryptogram.atc);
        self.data.set_card(tags::APPLICATION_CRYPTOGRAM, &cryptogram.application_cryptogram);
        self.data.set_card(tags::ISSUER_APPLICATION_DATA, &cryptogram.issuer_application_data);
    }

    pub(super) fn host_approved(&self) -> bool {
        self.host.as_ref().is_some_and(|answer| answer.approved)
    }

    pub(super) fn outcome(&self, decision: Decision) -> Outcome {
        Outcome {
            decision,
            went_online: self.host.is_some(),
            unable_to_go_online: self.unable_to_go_online,
            signature_required: self.signature_required,
            online_pin_entered: self.online_pin_entered,
            reversal_required: self.host_approved() && decision != Decision::Approved,
            tvr: self.tvr,
            tsi: self.tsi,
            cvm_results: self.cvm_results,
            first_cryptogram: self.first_cryptogram.clone(),
            second_cryptogram: self.second_cryptogram.clone(),
            script_results: self.script_results.clone(),
            oda: self.oda,
        }
    }
}
