//! The office of a vault: what it records, and the state that its records make.
//!
//! State is what replaying the trail gives: custodians, the trusted distribution host. Components of an open ceremony
//! are the exception; they live in memory only and are gone after a restart.

use crate::audit_medium::AuditMedium;
use crate::audit_trail::{AuditError, AuditKey, Trail};
use crate::ceremonies::OpenCeremony;
use crate::sealing::SealingKey;
use crate::stretching::SALT_BYTES;
use aws_lc_rs::digest;
use keys::{
    AbortReason, AnyKeyBlock, AuditAct, AuditEntry, AuditPage, AuditRecord, Beginning, Caller, Command, CommandKind,
    CommandNumber, CustodianName, KeyCheckValue, KeyId, KeyMention, Refusal, Reply, audit_head_message,
};
use machine::wire::Encode;
use paycrypto::mac::HmacSha256Key;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Refusals recorded one by one in a minute; more are counted.
pub const REFUSALS_RECORDED_PER_MINUTE_MAX: u32 = 60;
const MINUTE_MS: u64 = 60_000;
/// No ceremony is open.
const NO_DEADLINE: u64 = u64::MAX;

/// How a command that was carried out is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recording {
    /// Not at all: a payment's work, thousands a minute.
    Operational,
    /// Not at all: changes nothing and gives out nothing that is worth a record.
    Inquiry,
    /// An administrative act.
    Act,
    /// An administrative act by which a key leaves.
    Export,
    /// Records itself, in the order in which such acts change the office.
    BySelf,
}

/// The one table of what is recorded. A new command does not compile before it has its place here.
fn recording(command: CommandKind) -> Recording {
    use CommandKind as C;
    match command {
        C::GenerateWorkingKeys | C::LoadWorkingKeys | C::MakeMac | C::VerifyMac => Recording::Operational,
        C::MakeAuthenticationCode | C::VerifyAuthenticationCode => Recording::Operational,
        C::TranslatePin | C::TranslatePinBlock | C::VerifyPin => Recording::Operational,
        C::VerifyPinReference | C::VerifyPinVerificationValue | C::VerifyPinOffset => Recording::Operational,
        C::VerifyCryptogram | C::VerifyArqc => Recording::Operational,
        C::MakeScriptMac | C::MakeIssuerScriptMac | C::EncipherIssuerScript => Recording::Operational,
        C::VerifyCardCode | C::VerifyDynamicCode => Recording::Operational,
        C::MakeDukptMac | C::VerifyDukptMac | C::JudgeKsn | C::OpenDukptAccount => Recording::Operational,
        C::EncipherPin | C::EncipherTrack | C::Tokenise | C::Seal | C::Unseal => Recording::Operational,
        C::Random => Recording::Operational,
        C::TransportPublicKey | C::CheckKey | C::CheckKeyValue | C::VaultIdentity => Recording::Inquiry,
        C::OpenAccount | C::SealAccount | C::TokeniseAccount => Recording::Inquiry,
        C::ReadAudit | C::ListCustodians | C::CeremonyStatus | C::ReadCeremonyRecord => Recording::Inquiry,
        // What comes of it is recorded when the token is accepted.
        C::BeginRemoteLoad => Recording::Inquiry,
        C::GenerateKey | C::GenerateKeyWithValidity | C::DeriveInitialKey => Recording::Act,
        C::ImportTransportKey | C::ImportProtectionKey | C::ImportKey | C::ImportKeyBlock => Recording::Act,
        C::MakeTransportKey => Recording::Act,
        // They make what a card's holder is known by.
        C::MakePinReference | C::MakePinVerificationValue | C::MakePinOffset | C::MakeCardCode => Recording::Act,
        C::ExportKey | C::ExportKeyBlock => Recording::Export,
        C::RegisterCustodian | C::RemoveCustodian | C::ChangePassphrase => Recording::BySelf,
        C::OpenCeremony | C::EnterComponent | C::DrawComponent => Recording::BySelf,
        C::CompleteCeremony | C::AbortCeremony => Recording::BySelf,
        C::PinDistributionHost | C::MakeLoadToken | C::AcceptLoadToken => Recording::BySelf,
    }
}

/// A registered custodian.
#[derive(Clone)]
pub struct Registered {
    pub since_ms: u64,
    pub approved_by: Option<CustodianName>,
    pub salt: [u8; SALT_BYTES],
    pub verifier: Vec<u8>,
}

/// Counts refusals, so that a flood of them does not fill the disk.
#[derive(Default)]
struct RefusalMeter {
    began_ms: u64,
    recorded: u32,
    counted: u32,
}

impl RefusalMeter {
    /// Whether this one is recorded, and how many uncounted ones must be recorded before it.
    fn admit(&mut self, now_ms: u64) -> (bool, u32) {
        let mut earlier = 0;
        if now_ms.saturating_sub(self.began_ms) >= MINUTE_MS {
            earlier = core::mem::take(&mut self.counted);
            (self.began_ms, self.recorded) = (now_ms, 0);
        }
        if self.recorded < REFUSALS_RECORDED_PER_MINUTE_MAX {
            self.recorded += 1;
            (true, earlier)
        } else {
            self.counted = self.counted.saturating_add(1);
            (false, earlier)
        }
    }
}

/// What changes.
pub struct State {
    pub trail: Trail,
    pub custodians: BTreeMap<CustodianName, Registered>,
    pub ceremony: Option<OpenCeremony>,
    pub distribution_host: Option<[u8; 32]>,
    refusals: RefusalMeter,
}

/// What replaying the trail gives.
#[derive(Default)]
struct Replayed {
    custodians: BTreeMap<CustodianName, Registered>,
    open_ceremony: Option<u64>,
    distribution_host: Option<[u8; 32]>,
}

impl Replayed {
    fn read(&mut self, record: &AuditRecord) {
        match &record.entry.act {
            AuditAct::CustodianRegistered { name, approved_by, salt, verifier } => {
                let since_ms = record.entry.at_ms;
                let (approved_by, verifier) = (approved_by.clone(), verifier.clone());
                self.custodians.insert(name.clone(), Registered { since_ms, approved_by, salt: *salt, verifier });
            }
            AuditAct::CustodianRemoved { name, .. } => {
                self.custodians.remove(name);
            }
            AuditAct::CeremonyOpened { .. } => self.open_ceremony = Some(record.sequence),
            AuditAct::CeremonyCompleted { .. } | AuditAct::CeremonyAborted { .. } => self.open_ceremony = None,
            AuditAct::DistributionHostPinned { public_key } => self.distribution_host = Some(*public_key),
            _ => {}
        }
    }
}

/// The office of one vault.
pub struct Office {
    state: Mutex<State>,
    pub verifiers: SealingKey,
    /// Stretching takes memory: one at a time.
    pub stretching: Mutex<()>,
    deadline_ms: AtomicU64,
    unsettled: AtomicBool,
}

impl Office {
    /// Opens the trail and takes up its state.
    pub fn open(
        medium: Box<dyn AuditMedium>,
        master: &HmacSha256Key,
        must_exist: bool,
        at_ms: u64,
    ) -> Result<Self, AuditError> {
        let mut replayed = Replayed::default();
        let key = AuditKey::derive(master);
        let trail = Trail::open(medium, key, must_exist, at_ms, &mut |record| replayed.read(record))?;
        let state = State {
            trail,
            custodians: replayed.custodians,
            ceremony: None,
            distribution_host: replayed.distribution_host,
            refusals: RefusalMeter::default(),
        };
        let office = Self {
            state: Mutex::new(state),
            verifiers: SealingKey::derive(master, b"custodian"),
            stretching: Mutex::default(),
            deadline_ms: AtomicU64::new(NO_DEADLINE),
            unsettled: AtomicBool::new(true),
        };
        if let Some(ceremony) = replayed.open_ceremony {
            let act = AuditAct::CeremonyAborted { ceremony, why: AbortReason::Restarted };
            office.note(&mut office.state(), AuditEntry { at_ms, caller: None, act });
        }
        Ok(office)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panicking holder loses its own command; records are whole before they are queued.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record; [`Office::commit`] makes it durable before any reply leaves.
    pub fn note(&self, state: &mut State, entry: AuditEntry) -> u64 {
        self.unsettled.store(true, Ordering::Release);
        state.trail.note(entry)
    }

    /// Makes what is queued durable.
    pub fn commit(&self) -> Result<(), AuditError> {
        if !self.unsettled.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.state();
        let committed = state.trail.commit();
        self.unsettled.store(!state.trail.is_settled(), Ordering::Release);
        committed
    }

    /// Watches over the ceremony that is open, or over none.
    pub fn watch(&self, ceremony: Option<&OpenCeremony>) {
        self.deadline_ms.store(ceremony.map_or(NO_DEADLINE, |ceremony| ceremony.deadline_ms), Ordering::Release);
    }

    /// Whether the open ceremony's time is up.
    pub fn ceremony_is_overdue(&self, now_ms: impl FnOnce() -> u64) -> bool {
        let deadline_ms = self.deadline_ms.load(Ordering::Acquire);
        deadline_ms != NO_DEADLINE && now_ms() >= deadline_ms
    }

    /// Queues a refusal, or counts it.
    pub fn note_refusal(&self, entry: AuditEntry, now_ms: u64) {
        let mut state = self.state();
        let (recorded, earlier) = state.refusals.admit(now_ms);
        if earlier > 0 {
            let act = AuditAct::RefusalsCounted { count: earlier };
            self.note(&mut state, AuditEntry { act, caller: None, ..entry });
        }
        if recorded {
            self.note(&mut state, entry);
        }
    }

    /// Records what a command did, unless it did so itself. Says whether the reply must wait for a record.
    pub fn record(&self, caller: Caller, command: &Command, reply: &Reply, at_ms: u64, now_ms: u64) -> bool {
        let kind = command.kind();
        let entry = |act| AuditEntry { at_ms, caller: Some(caller), act };
        match reply {
            Reply::Refused { why } if is_recorded_refusal(caller, kind, *why) => {
                let act = AuditAct::Refused { command: CommandNumber::of(kind), why: why.number() };
                self.note_refusal(entry(act), now_ms);
                true
            }
            Reply::Refused { .. } => false,
            _ => match recording(kind) {
                Recording::Operational | Recording::Inquiry => false,
                Recording::BySelf => true,
                Recording::Act | Recording::Export => {
                    let act = act_of(command, reply);
                    self.note(&mut self.state(), entry(act));
                    true
                }
            },
        }
    }
}

fn is_recorded_refusal(caller: Caller, kind: CommandKind, why: Refusal) -> bool {
    match caller {
        // A wrong passphrase has a record of its own.
        _ if why == Refusal::Custodian => false,
        Caller::Administration => true,
        _ if reaches_beyond(why) => true,
        // Of a PED, what belongs to its enrolment and not to a payment.
        Caller::Ped => {
            let is_payment = matches!(recording(kind), Recording::Operational | Recording::Inquiry);
            !is_payment || kind == CommandKind::BeginRemoteLoad
        }
        Caller::Host => false,
    }
}

/// What no payment gives rise to, whatever a shopper or a line does: a command or usage that the table does not have, a key block
/// that was forged or is of another vault, a key for another use, a key that may not leave.
fn reaches_beyond(why: Refusal) -> bool {
    matches!(why, Refusal::NotPermitted | Refusal::WrongKey | Refusal::NotAuthentic | Refusal::NotExportable)
}

fn act_of(command: &Command, reply: &Reply) -> AuditAct {
    let kind = command.kind();
    let number = CommandNumber::of(kind);
    let named: Vec<KeyMention> = command.key_blocks().into_iter().map(|block| mention(block, None)).collect();
    match reply.key_blocks()[..] {
        [made] => AuditAct::KeyMade { command: number, key: mention(made, check_of(reply)), parents: named },
        _ if recording(kind) == Recording::Export => AuditAct::KeyExported { command: number, keys: named },
        _ => AuditAct::Done { command: number, keys: named },
    }
}

fn check_of(reply: &Reply) -> Option<KeyCheckValue> {
    match reply {
        Reply::KeyCreated { check, .. } | Reply::TransportKeyMade { check, .. } => Some(*check),
        _ => None,
    }
}

/// A key as records name it.
pub fn mention(block: &AnyKeyBlock, check: Option<KeyCheckValue>) -> KeyMention {
    let hash = digest::digest(&digest::SHA256, &block.to_bytes());
    let id = KeyId(*hash.as_ref().first_chunk().expect("SHA-256 has more than eight bytes"));
    KeyMention { id, header: block.header.clone(), check }
}

/// A stretch of the durable trail. `sign` signs its end.
pub fn page(
    trail: &mut Trail,
    from: u64,
    count: u16,
    sign: impl FnOnce(&[u8]) -> [u8; keys::SIGNATURE_BYTES],
) -> Result<AuditPage, AuditError> {
    let (total, head) = (trail.sequence(), trail.chain());
    let mut frames = Vec::new();
    let mut bytes = 0;
    let count = if from == 0 { 0 } else { u64::from(count.min(keys::AUDIT_PAGE_RECORDS_MAX)) };
    for sequence in from..from.saturating_add(count).min(total.saturating_add(1)) {
        let frame = trail.frame(sequence)?;
        bytes += frame.len();
        if bytes > keys::AUDIT_PAGE_BYTES_MAX && !frames.is_empty() {
            break;
        }
        frames.push(frame);
    }
    Ok(AuditPage { first: from, frames, total, head, signature: sign(&audit_head_message(total, &head)) })
}

/// Begins the trail of a vault whose file is yet to be written. An older trail, kept elsewhere by the caller, is named
/// by its digest and the reason for setting it aside.
pub fn begin(
    medium: Box<dyn AuditMedium>,
    master: &HmacSha256Key,
    why: Beginning,
    at_ms: u64,
) -> Result<(), AuditError> {
    let mut trail = Trail::open(medium, AuditKey::derive(master), false, at_ms, &mut |_| {})?;
    trail.note(AuditEntry { at_ms, caller: None, act: AuditAct::Begun { why } });
    trail.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::permitted;

    #[test]
    fn a_flood_of_refusals_is_counted() {
        let mut meter = RefusalMeter::default();
        let admitted = (0..100).filter(|_| meter.admit(MINUTE_MS).0).count();
        assert_eq!(admitted, REFUSALS_RECORDED_PER_MINUTE_MAX as usize);
        assert_eq!(meter.admit(2 * MINUTE_MS), (true, 100 - REFUSALS_RECORDED_PER_MINUTE_MAX));
        assert_eq!(meter.admit(2 * MINUTE_MS), (true, 0));
    }

    /// The recorded ones by name: whoever takes one off the list says so here.
    #[test]
    fn every_command_is_an_act_or_operational_by_one_table() {
        use CommandKind as C;
        let of = |wanted: Recording| -> Vec<CommandKind> {
            CommandKind::ALL.iter().copied().filter(|kind| recording(*kind) == wanted).collect()
        };
        let acts = [
            C::GenerateKey,
            C::ImportTransportKey,
            C::ImportKey,
            C::MakePinReference,
            C::MakeTransportKey,
            C::GenerateKeyWithValidity,
            C::ImportKeyBlock,
            C::DeriveInitialKey,
            C::MakePinVerificationValue,
            C::MakePinOffset,
            C::MakeCardCode,
            C::ImportProtectionKey,
        ];
        assert_eq!(of(Recording::Act), acts);
        assert_eq!(of(Recording::Export), [C::ExportKey, C::ExportKeyBlock]);
        for kind in CommandKind::ALL {
            let is_recorded = !matches!(recording(*kind), Recording::Operational | Recording::Inquiry);
            assert!(!is_recorded || !permitted(Caller::Host, *kind), "{kind:?} is of payments and would be recorded");
            let administrative = permitted(Caller::Administration, *kind);
            assert!(!administrative || recording(*kind) != Recording::Operational, "{kind:?} is administrative");
        }
    }
}
