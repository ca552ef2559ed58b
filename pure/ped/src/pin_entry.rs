//! The PIN: asked for, used at once, wiped.

use crate::machine::Ped;
use crate::reading::{ENTROPY_BYTES_MAX, Next};
use crate::session::{PinPurpose, Stage};
use crate::words::{Effect, PinEntry};
use emv::{Input, PinKind, PinOutcome, PinRequest};
use pedlink::CardFailure;
use types::{Pin, SecretBytes};
use zeroize::Zeroizing;

/// Transaction type of a balance request: no money moves, so no amount is shown.
const BALANCE: u8 = 0x31;

impl Ped {
    /// The kernel wants a PIN.
    pub(crate) fn ask_pin(&mut self, request: &PinRequest) -> Next {
        let can_encipher = self.holdings.working_keys.is_some();
        let fits = request.random_length_bytes <= usize::from(ENTROPY_BYTES_MAX);
        if (request.kind == PinKind::Online && !can_encipher) || !fits {
            self.remark("pin", "no PIN can be taken: sign in first");
            return Some(Input::PinEntered(PinOutcome::Unavailable));
        }
        let purpose = PinPurpose::Kernel(request.kind);
        self.open_keypad(purpose, request.random_length_bytes, request.tries_left, request.retry);
        None
    }

    pub(crate) fn open_keypad(
        &mut self,
        purpose: PinPurpose,
        random_bytes: usize,
        tries_left: Option<u8>,
        retry: bool,
    ) {
        let Some(session) = self.session.as_mut() else { return };
        session.stage = Stage::Pin { purpose, random_bytes };
        let moves_money = session.transaction.transaction_type != BALANCE;
        let amount = moves_money.then_some(session.transaction.amount);
        let online = matches!(purpose, PinPurpose::Till | PinPurpose::Kernel(PinKind::Online));
        self.wait_at_most(self.config.pin_wait_ms);
        self.effect(Effect::AskPin { amount, tries_left, online, retry });
    }

    fn remark(&mut self, topic: &str, text: &str) {
        if let Some(session) = self.session.as_mut() {
            session.remark(topic, || text.to_owned());
        }
    }

    pub(crate) fn pin_entered(&mut self, entry: PinEntry) {
        let Some(Stage::Pin { purpose, random_bytes }) = self.session.as_ref().map(|session| &session.stage) else {
            return;
        };
        let (purpose, random_bytes) = (*purpose, *random_bytes);
        match (purpose, entry) {
            (PinPurpose::Till, PinEntry::Pin(pin)) => self.till_pin(pin),
            (PinPurpose::Till, PinEntry::Bypass) => self.answer_read(),
            (PinPurpose::Till, PinEntry::Cancel | PinEntry::Timeout) => self.end_reading(CardFailure::Cancelled),
            (PinPurpose::Kernel(kind), PinEntry::Pin(pin)) => self.kernel_pin(kind, pin, random_bytes),
            (PinPurpose::Kernel(_), PinEntry::Bypass) => self.drive(Input::PinEntered(PinOutcome::Bypassed)),
            (PinPurpose::Kernel(_), PinEntry::Cancel | PinEntry::Timeout) => {
                self.effect(Effect::CloseKeypad);
                self.drive(Input::PinEntered(PinOutcome::Cancelled));
            }
        }
    }

    fn till_pin(&mut self, pin: Pin) {
        match self.encipher(pin) {
            Ok(()) => self.answer_read(),
            Err(detail) => self.give_up(&detail),
        }
    }

    fn kernel_pin(&mut self, kind: PinKind, pin: Pin, random_bytes: usize) {
        match kind {
            PinKind::Online => match self.encipher(pin) {
                Ok(()) => self.drive(Input::PinEntered(PinOutcome::Entered)),
                Err(detail) => {
                    self.remark("pin", &detail);
                    self.drive(Input::PinEntered(PinOutcome::Unavailable));
                }
            },
            PinKind::OfflinePlaintext | PinKind::OfflineEnciphered if random_bytes == 0 => {
                self.offline_pin(pin, Vec::new())
            }
            PinKind::OfflinePlaintext | PinKind::OfflineEnciphered => {
                self.set_stage(Stage::PinEntropy { pin, bytes: random_bytes });
                self.wait_at_most(self.config.card_answer_ms);
                let bytes = u16::try_from(random_bytes).unwrap_or(ENTROPY_BYTES_MAX);
                self.effect(Effect::NeedEntropy { bytes });
            }
        }
    }

    /// The random bytes for an enciphered offline PIN.
    pub(crate) fn pin_entropy(&mut self, random: &SecretBytes) {
        let Some(session) = self.session.as_mut() else { return };
        match core::mem::replace(&mut session.stage, Stage::Response) {
            Stage::PinEntropy { pin, bytes } if random.len() >= bytes => {
                self.offline_pin(pin, random.expose()[..bytes].to_vec());
            }
            _ => self.give_up("too few random bytes"),
        }
    }

    fn offline_pin(&mut self, pin: Pin, random: Vec<u8>) {
        self.drive(Input::PinEntered(PinOutcome::Offline { pin, random }));
    }

    /// Makes F52 at once; the PIN is wiped with its last owner.
    fn encipher(&mut self, pin: Pin) -> Result<(), String> {
        self.take_account()?;
        let keys = self.holdings.working_keys.as_ref().ok_or("no working keys")?;
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let account = session.account.as_ref().ok_or("no card was read")?;
        let block = self.vault.encipher_pin(&keys.pin, pin, &account.pan);
        session.pin_block = Some(Zeroizing::new(block.map_err(|refusal| format!("vault: {refusal}"))?));
        Ok(())
    }
}
