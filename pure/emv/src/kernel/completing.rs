//! Online result, issuer authentication, scripts and the second cryptogram (EMV 4.4 Book 3 §10.9–§10.11).

use super::deciding::{read_permitted, response_code};
use super::session::HostAnswer;
use super::{CardError, Decision, Kernel, OnlineResult, Output, State};
use crate::action::{ActionCodes, OnlineCapability};
use crate::apdu::{Command, Response, StatusWord, ins};
use crate::bits::{Tsi, Tvr, aip};
use crate::cryptogram::{CryptogramError, CryptogramKind};
use crate::scripts::{self, ScriptRun, ScriptTiming};
use tlv::{Elements, dictionary, tags};
use zeroize::Zeroizing;

impl Kernel {
    pub(super) fn on_online_result(&mut self, result: OnlineResult) -> Output {
        let (code, issuer_data) = match result {
            OnlineResult::Answered { response_code, issuer_data } => (response_code, Zeroizing::new(issuer_data)),
            OnlineResult::Unable => return self.complete_without_issuer(),
        };
        self.session.data.set_terminal(tags::AUTHORISATION_RESPONSE_CODE, &code);
        for element in Elements::new(&issuer_data).map_while(Result::ok) {
            if element.tag != tags::AUTHORISATION_RESPONSE_CODE {
                self.session.data.set_issuer(element.tag, element.value);
            }
        }
        let approved = self.config.approval_codes.contains(&code);
        self.session.host = Some(HostAnswer { approved, issuer_data });
        self.authenticate_issuer()
    }

    fn authenticate_issuer(&mut self) -> Output {
        let supported = self.session.aip[0] & aip::ISSUER_AUTHENTICATION != 0;
        let data = self.session.data.get(tags::ISSUER_AUTHENTICATION_DATA).map(<[u8]>::to_vec);
        match data.filter(|_| supported) {
            Some(data) if has_valid_length(&data) => {
                let command = Command::new(0x00, ins::EXTERNAL_AUTHENTICATE, 0, 0).with_data(&data);
                self.transmit(command, None, State::IssuerAuthentication)
            }
            Some(_) => {
                self.session.set_tvr(Tvr::ISSUER_AUTHENTICATION_FAILED);
                self.run_scripts(ScriptTiming::Before)
            }
            None => self.run_scripts(ScriptTiming::Before),
        }
    }

    pub(super) fn on_issuer_authentication(&mut self, status: StatusWord) -> Output {
        self.session.set_tsi(Tsi::ISSUER_AUTHENTICATION_PERFORMED);
        if !status.is_ok() {
            self.session.set_tvr(Tvr::ISSUER_AUTHENTICATION_FAILED);
        }
        self.run_scripts(ScriptTiming::Before)
    }

    fn run_scripts(&mut self, timing: ScriptTiming) -> Output {
        let scripts = match &self.session.host {
            Some(answer) => scripts::parse(&answer.issuer_data, timing),
            None => Vec::new(),
        };
        let run = ScriptRun::new(scripts, timing);
        if !run.is_empty() {
            self.session.set_tsi(Tsi::SCRIPT_PERFORMED);
        }
        self.continue_scripts(run)
    }

    fn continue_scripts(&mut self, mut run: ScriptRun) -> Output {
        match run.next_command() {
            Some(command) => self.transmit(command, None, State::Script(run)),
            None => self.conclude_scripts(&run),
        }
    }

    pub(super) fn on_script_status(&mut self, mut run: ScriptRun, status: StatusWord) -> Output {
        run.on_status(status);
        self.continue_scripts(run)
    }

    pub(super) fn on_script_card_gone(&mut self, mut run: ScriptRun) -> Output {
        run.on_card_gone();
        self.conclude_scripts(&run)
    }

    fn conclude_scripts(&mut self, run: &ScriptRun) -> Output {
        if !run.is_empty() {
            self.session.add_script_results(run.results());
        }
        match run.timing() {
            ScriptTiming::Before => {
                if run.has_failed() {
                    self.session.set_tvr(Tvr::SCRIPT_FAILED_BEFORE);
                }
                self.complete_with_issuer()
            }
            ScriptTiming::After => {
                if run.has_failed() {
                    self.session.set_tvr(Tvr::SCRIPT_FAILED_AFTER);
                }
                let decision = self.session.decision.unwrap_or(Decision::Declined);
                self.finish(decision)
            }
        }
    }

    fn complete_with_issuer(&mut self) -> Output {
        let requested = if self.session.host_approved() { CryptogramKind::Tc } else { CryptogramKind::Aac };
        self.request_second_cryptogram(requested)
    }

    /// The issuer cannot be reached: the default action codes decide (§10.7); a terminal that must be online declines.
    pub(super) fn complete_without_issuer(&mut self) -> Output {
        self.session.unable_to_go_online = true;
        let codes = ActionCodes::join(&self.session.application, &self.session.data);
        let requested = match self.online_capability() {
            OnlineCapability::OnlineOnly => CryptogramKind::Aac,
            _ => codes.without_issuer(self.session.tvr),
        };
        let code = match requested {
            CryptogramKind::Tc => response_code::UNABLE_ONLINE_APPROVED,
            _ => response_code::UNABLE_ONLINE_DECLINED,
        };
        self.session.data.set_terminal(tags::AUTHORISATION_RESPONSE_CODE, &code);
        self.request_second_cryptogram(requested)
    }

    /// An authorisation request whose signature is false never reaches the issuer (Book 2 §6.6.2).
    pub(super) fn decline_unauthentic(&mut self) -> Output {
        let code = response_code::OFFLINE_DECLINED;
        self.session.data.set_terminal(tags::AUTHORISATION_RESPONSE_CODE, &code);
        self.request_second_cryptogram(CryptogramKind::Aac)
    }

    fn request_second_cryptogram(&mut self, requested: CryptogramKind) -> Output {
        let with_cda = self.session.cda_active && requested == CryptogramKind::Tc;
        let (command, dol, data) = self.cryptogram_command(tags::CDOL2, requested, with_cda);
        self.session.cdol2_data = data;
        self.transmit(command, Some(&dol), State::SecondCryptogram { requested, with_cda })
    }

    pub(super) fn on_second_cryptogram(
        &mut self,
        requested: CryptogramKind,
        with_cda: bool,
        response: &Response,
    ) -> Output {
        let answer = match read_permitted(requested, with_cda, response) {
            Ok(answer) if answer.kind == CryptogramKind::Arqc => Err(CryptogramError::Kind),
            other => other,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.card_error(CardError::Cryptogram(error)),
        };
        let (cryptogram, authentic) = self.accept_cryptogram(&answer, with_cda);
        let approved = cryptogram.kind == CryptogramKind::Tc && authentic;
        self.session.second_cryptogram = Some(cryptogram);
        self.session.decision = Some(if approved { Decision::Approved } else { Decision::Declined });
        self.run_scripts(ScriptTiming::After)
    }
}

fn has_valid_length(issuer_authentication_data: &[u8]) -> bool {
    dictionary::lookup(tags::ISSUER_AUTHENTICATION_DATA)
        .is_some_and(|info| info.accepts_length(issuer_authentication_data.len()))
}
