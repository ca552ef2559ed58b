//! Restrictions and cardholder verification (EMV 4.4 Book 3 §10.4, §10.5, Book 4 §6.3.4).

use super::{CardError, Kernel, Output, PinKind, PinOutcome, PinRequest, State, Termination};
use crate::apdu::{Command, Response, StatusWord, ins};
use crate::bits::{Bit, Tsi, Tvr, aip};
use crate::cvm::{self, Circumstances, CvmResult, Method, RESULTS_FAILED, RESULTS_NOT_PERFORMED, Rules};
use crate::oda::RsaPublicKey;
use crate::pin;
use crate::restrictions;
use tlv::cvm::CvmListError;
use tlv::{CvRule, CvmList, Tag, ber, tags};
use types::Pin;
use zeroize::Zeroizing;

/// Most times the PIN is asked for, whatever the card says about tries left.
const MAX_PIN_ATTEMPTS: u8 = 15;

/// An offline PIN under way.
pub(super) struct PinTask {
    rule: CvRule,
    /// The key to encipher under; `None` for a plaintext PIN.
    key: Option<RsaPublicKey>,
    retry: bool,
}

impl Kernel {
    pub(super) fn check_restrictions(&mut self) -> Output {
        let session = &mut self.session;
        restrictions::apply(&self.config, &self.transaction, &session.data, &mut session.tvr);
        session.publish_tvr();
        self.verify_cardholder()
    }

    fn verify_cardholder(&mut self) -> Output {
        self.session.set_cvm_results(RESULTS_NOT_PERFORMED);
        if self.session.aip[0] & aip::CARDHOLDER_VERIFICATION == 0 {
            return self.manage_risk();
        }
        match self.session.data.get(tags::CVM_LIST).map(CvmList::parse) {
            Some(Ok(list)) => {
                self.session.set_cvm_results(RESULTS_FAILED);
                self.session.cvm_rules = Some(Rules::new(list));
                self.apply_next_rule()
            }
            // A list without rules counts as no list (§10.5).
            None | Some(Err(CvmListError::NoRule)) => {
                self.session.set_tvr(Tvr::ICC_DATA_MISSING);
                self.manage_risk()
            }
            Some(Err(_)) => self.card_error(CardError::Format(tags::CVM_LIST)),
        }
    }

    fn next_rule(&mut self) -> Option<CvRule> {
        let circumstances =
            Circumstances { config: &self.config, transaction: &self.transaction, data: &self.session.data };
        self.session.cvm_rules.as_mut()?.next(&circumstances)
    }

    fn apply_next_rule(&mut self) -> Output {
        match self.next_rule() {
            Some(rule) => self.apply_rule(rule),
            None => self.cvm_failed(),
        }
    }

    fn apply_rule(&mut self, rule: CvRule) -> Output {
        let method = Method::of(rule);
        if method == Method::Unrecognised {
            self.session.set_tvr(Tvr::UNRECOGNISED_CVM);
            return self.rule_not_performed(rule);
        }
        if method.needs_pin() && !cvm::has_pin_pad(&self.config) {
            self.session.set_tvr(Tvr::PIN_PAD_NOT_WORKING);
        }
        if !method.is_supported(&self.config) {
            return self.rule_not_performed(rule);
        }
        if method.needs_pin() && self.session.pin_bypassed {
            return self.rule_failed(rule);
        }
        match method {
            Method::Signature => self.rule_succeeded(rule, CvmResult::Unknown),
            Method::NoCvm => self.rule_succeeded(rule, CvmResult::Successful),
            Method::OnlinePin => self.ask_online_pin(rule),
            Method::PlaintextPin { .. } => self.start_offline_pin(PinTask { rule, key: None, retry: false }),
            Method::EncipheredPin { .. } => match self.recover_pin_key() {
                Ok(key) => self.start_offline_pin(PinTask { rule, key: Some(key), retry: false }),
                Err(_) => self.rule_failed(rule),
            },
            Method::Fail | Method::Unrecognised => self.rule_failed(rule),
        }
    }

    fn rule_succeeded(&mut self, rule: CvRule, result: CvmResult) -> Output {
        let method = Method::of(rule);
        let result = if method.needs_signature() { CvmResult::Unknown } else { result };
        self.session.signature_required = method.needs_signature();
        self.session.set_cvm_results(cvm::results(rule, result));
        self.session.set_tsi(Tsi::CVM_PERFORMED);
        self.manage_risk()
    }

    /// A rule that was carried out and failed.
    fn rule_failed(&mut self, rule: CvRule) -> Output {
        self.session.set_cvm_results(cvm::results(rule, CvmResult::Failed));
        self.rule_not_performed(rule)
    }

    /// A rule that leaves no trace in the CVM results.
    fn rule_not_performed(&mut self, rule: CvRule) -> Output {
        if rule.apply_next_if_unsuccessful() { self.apply_next_rule() } else { self.cvm_failed() }
    }

    fn rule_failed_with(&mut self, rule: CvRule, bit: Bit) -> Output {
        self.session.set_tvr(bit);
        self.rule_failed(rule)
    }

    fn cvm_failed(&mut self) -> Output {
        self.session.set_tvr(Tvr::CVM_FAILED);
        self.session.set_tsi(Tsi::CVM_PERFORMED);
        self.manage_risk()
    }

    fn ask_online_pin(&mut self, rule: CvRule) -> Output {
        self.state = State::AskingOnlinePin(rule);
        Output::AskPin(PinRequest { kind: PinKind::Online, tries_left: None, retry: false, random_length_bytes: 0 })
    }

    pub(super) fn on_online_pin(&mut self, rule: CvRule, outcome: PinOutcome) -> Output {
        match outcome {
            PinOutcome::Entered => {
                self.session.online_pin_entered = true;
                self.session.set_tvr(Tvr::ONLINE_PIN_ENTERED);
                self.rule_succeeded(rule, CvmResult::Unknown)
            }
            PinOutcome::Offline { .. } => self.terminate(Termination::Misuse),
            other => self.on_no_pin(rule, &other),
        }
    }

    fn on_no_pin(&mut self, rule: CvRule, outcome: &PinOutcome) -> Output {
        match outcome {
            PinOutcome::Bypassed => {
                self.session.pin_bypassed = true;
                self.rule_failed_with(rule, Tvr::PIN_NOT_ENTERED)
            }
            PinOutcome::Unavailable => self.rule_failed_with(rule, Tvr::PIN_PAD_NOT_WORKING),
            PinOutcome::Cancelled => self.terminate(Termination::Cancelled),
            PinOutcome::Entered | PinOutcome::Offline { .. } => self.terminate(Termination::Misuse),
        }
    }

    fn start_offline_pin(&mut self, task: PinTask) -> Output {
        if self.session.pin_tries_asked {
            return self.ask_offline_pin(task);
        }
        self.session.pin_tries_asked = true;
        self.transmit(get_data(tags::PIN_TRY_COUNTER), None, State::PinTryCounter(task))
    }

    pub(super) fn on_pin_try_counter(&mut self, task: PinTask, response: &Response) -> Output {
        self.session.pin_tries_left = match read_object(tags::PIN_TRY_COUNTER, response) {
            Some([tries]) => Some(*tries),
            _ => None,
        };
        self.ask_offline_pin(task)
    }

    fn ask_offline_pin(&mut self, task: PinTask) -> Output {
        if self.session.pin_tries_left == Some(0) || self.session.pin_attempts >= MAX_PIN_ATTEMPTS {
            return self.rule_failed_with(task.rule, Tvr::PIN_TRY_LIMIT_EXCEEDED);
        }
        let request = PinRequest {
            kind: if task.key.is_some() { PinKind::OfflineEnciphered } else { PinKind::OfflinePlaintext },
            tries_left: self.session.pin_tries_left,
            retry: task.retry,
            random_length_bytes: task.key.as_ref().map_or(0, pin::random_length_bytes),
        };
        self.state = State::AskingOfflinePin(task);
        Output::AskPin(request)
    }

    pub(super) fn on_offline_pin(&mut self, task: PinTask, outcome: PinOutcome) -> Output {
        let (pin, random) = match outcome {
            PinOutcome::Offline { pin, random } => (pin, Zeroizing::new(random)),
            other => return self.on_no_pin(task.rule, &other),
        };
        self.session.pin_attempts += 1;
        match &task.key {
            None => self.transmit(pin::verify_plaintext(&pin), None, State::VerifyingPin(task)),
            Some(key) if random.len() != pin::random_length_bytes(key) => self.terminate(Termination::Misuse),
            Some(_) => {
                let command = Command::new(0x00, ins::GET_CHALLENGE, 0, 0).expecting_all();
                self.transmit(command, None, State::Challenge { task, pin, random })
            }
        }
    }

    pub(super) fn on_challenge(&mut self, task: PinTask, pin: &Pin, random: &[u8], response: &Response) -> Output {
        let challenge: Option<[u8; pin::CHALLENGE_BYTES]> =
            response.data[..].try_into().ok().filter(|_| response.status.is_ok());
        let command = match (challenge, &task.key) {
            (Some(challenge), Some(key)) => pin::verify_enciphered(pin, &challenge, random, key).ok(),
            _ => None,
        };
        match command {
            Some(command) => self.transmit(command, None, State::VerifyingPin(task)),
            None => self.rule_failed(task.rule),
        }
    }

    pub(super) fn on_pin_verified(&mut self, task: PinTask, status: StatusWord) -> Output {
        match (status, status.tries_left()) {
            (StatusWord::OK, _) => self.rule_succeeded(task.rule, CvmResult::Successful),
            (_, Some(tries @ 1..)) => {
                self.session.pin_tries_left = Some(tries);
                self.ask_offline_pin(PinTask { retry: true, ..task })
            }
            (StatusWord::AUTHENTICATION_BLOCKED | StatusWord::REFERENCE_DATA_INVALIDATED, _) | (_, Some(0)) => {
                self.session.pin_tries_left = Some(0);
                self.rule_failed_with(task.rule, Tvr::PIN_TRY_LIMIT_EXCEEDED)
            }
            _ => self.rule_failed(task.rule),
        }
    }
}

/// GET DATA for a primitive object with a two-byte tag.
pub(super) fn get_data(tag: Tag) -> Command {
    let [p1, p2] = (tag.number() as u16).to_be_bytes();
    Command::new(0x80, ins::GET_DATA, p1, p2).expecting_all()
}

/// The value a card answered to GET DATA.
pub(super) fn read_object(tag: Tag, response: &Response) -> Option<&[u8]> {
    response.status.is_ok().then(|| ber::find(&response.data, tag).ok().flatten()).flatten()
}
