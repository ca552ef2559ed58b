//! Key ceremonies: components of several custodians become one key (ANSI X9.24-1 §7.5, PCI PIN requirement 6).
//!
//! Components stay in this process's memory, are wiped when the ceremony ends, and are never written anywhere.

use crate::key_block::{check_value, checked_key, draw_key, wrap};
use crate::office::{Office, State, mention};
use crate::refusal::of_crypto;
use crate::secret_memory::SecretBytesBox;
use crate::vault::SoftVault;
use keys::{
    AbortReason, AuditAct, CEREMONY_COMPONENTS_MAX, CEREMONY_COMPONENTS_MIN, Caller, CeremonyRecord, CeremonyState,
    ComponentLine, CustodianName, CustodianProof, ExpectedCheck, KeyCheckValue, KeyHeader, Refusal, Reply,
    signed_record,
};
use paycrypto::key_material::{combine_components, has_odd_parity, is_weak_tdes_key, set_odd_parity};
use paycrypto::{KeyBytes, constant_time_eq};
use types::SecretBytes;
use zeroize::Zeroizing;

/// How long a ceremony may take.
pub const CEREMONY_TIMEOUT_MS: u64 = 30 * 60_000;

type Answer = Result<Reply, Refusal>;

/// A ceremony in progress.
pub struct OpenCeremony {
    pub ceremony: u64,
    pub header: KeyHeader,
    pub components: u8,
    pub opened_ms: u64,
    /// When it ends by itself, on the monotonic clock.
    pub deadline_ms: u64,
    lines: Vec<ComponentLine>,
    /// For as long as half an hour: in secret memory.
    parts: Vec<SecretBytesBox>,
}

impl OpenCeremony {
    fn state(&self, now_ms: u64) -> CeremonyState {
        CeremonyState {
            ceremony: self.ceremony,
            header: self.header.clone(),
            components: self.components,
            entered: self.lines.clone(),
            opened_ms: self.opened_ms,
            left_ms: self.deadline_ms.saturating_sub(now_ms),
        }
    }

    /// Whether this person may bring the next component.
    fn takes_from(&self, custodian: &CustodianName) -> Result<(), Refusal> {
        if self.lines.iter().any(|line| line.custodian == *custodian) {
            return Err(Refusal::AnotherCustodian);
        }
        if self.lines.len() >= usize::from(self.components) { Err(Refusal::Ceremony) } else { Ok(()) }
    }
}

/// The ceremony of this number.
fn open_ceremony(state: &mut State, ceremony: u64) -> Result<&mut OpenCeremony, Refusal> {
    state.ceremony.as_mut().filter(|open| open.ceremony == ceremony).ok_or(Refusal::Ceremony)
}

fn fits(expected: Option<&ExpectedCheck>, check: KeyCheckValue) -> Result<(), Refusal> {
    let right = expected.is_none_or(|expected| constant_time_eq(expected.bytes(), &check.0[..expected.bytes().len()]));
    if right { Ok(()) } else { Err(Refusal::KeyCheck) }
}

/// A component must be able to be one: as long as the key, odd parity and not weak for DES, never all zero.
fn checked_component(header: &KeyHeader, component: &[u8]) -> Result<KeyBytes, Refusal> {
    let zero = component.iter().fold(0, |sum, byte| sum | byte) == 0;
    if component.len() != header.algorithm.key_bytes() || zero {
        return Err(Refusal::Parameter);
    }
    if header.algorithm.is_des() && (!has_odd_parity(component) || is_weak_tdes_key(component)) {
        return Err(Refusal::Parameter);
    }
    KeyBytes::new(component).map_err(of_crypto)
}

/// Puts components together; a DES key gets odd parity.
fn combined(header: &KeyHeader, parts: &[&[u8]]) -> Result<KeyBytes, Refusal> {
    let joined = combine_components(parts).map_err(of_crypto)?;
    let mut bytes = Zeroizing::new(joined.expose().to_vec());
    if header.algorithm.is_des() {
        set_odd_parity(&mut bytes);
    }
    if bytes.iter().fold(0, |sum, byte| sum | byte) == 0 {
        return Err(Refusal::Parameter);
    }
    checked_key(header, &bytes)
}

impl SoftVault {
    pub(crate) fn open_ceremony(&self, caller: Caller, header: KeyHeader, components: u8) -> Answer {
        let office = self.office()?;
        if !header.usage.suits(header.algorithm) {
            return Err(Refusal::WrongKey);
        }
        if !(CEREMONY_COMPONENTS_MIN..=CEREMONY_COMPONENTS_MAX).contains(&components) {
            return Err(Refusal::Parameter);
        }
        let mut state = office.state();
        if state.ceremony.is_some() {
            return Err(Refusal::Ceremony);
        }
        if state.custodians.len() < usize::from(components) {
            return Err(Refusal::AnotherCustodian);
        }
        let clock = self.limiter.clock();
        let act = AuditAct::CeremonyOpened { header: header.clone(), components };
        let ceremony = self.note(office, &mut state, Some(caller), act);
        let open = OpenCeremony {
            ceremony,
            header,
            components,
            opened_ms: clock.unix_ms(),
            deadline_ms: clock.now_ms().saturating_add(CEREMONY_TIMEOUT_MS),
            lines: Vec::new(),
            parts: Vec::new(),
        };
        office.watch(Some(&open));
        let told = open.state(clock.now_ms());
        state.ceremony = Some(open);
        Ok(Reply::Ceremony { state: told })
    }

    /// Who brings a component, checked before and after the slow part.
    fn bringing(&self, caller: Caller, ceremony: u64, custodian: &CustodianProof) -> Result<KeyHeader, Refusal> {
        let office = self.office()?;
        let header = {
            let mut state = office.state();
            let open = open_ceremony(&mut state, ceremony)?;
            open.takes_from(&custodian.name)?;
            open.header.clone()
        };
        self.authenticate(caller, custodian)?;
        Ok(header)
    }

    fn take_component(
        &self,
        caller: Caller,
        ceremony: u64,
        line: ComponentLine,
        part: &KeyBytes,
    ) -> Result<CeremonyState, Refusal> {
        let office = self.office()?;
        let mut state = office.state();
        let open = open_ceremony(&mut state, ceremony)?;
        open.takes_from(&line.custodian)?;
        let act = AuditAct::ComponentEntered {
            ceremony,
            custodian: line.custodian.clone(),
            check: line.check,
            drawn: line.drawn,
        };
        open.lines.push(line);
        open.parts.push(SecretBytesBox::copy_from(part.expose()));
        let told = open.state(self.limiter.clock().now_ms());
        self.note(office, &mut state, Some(caller), act);
        Ok(told)
    }

    fn component_line(&self, custodian: &CustodianProof, check: KeyCheckValue, drawn: bool) -> ComponentLine {
        ComponentLine { custodian: custodian.name.clone(), check, at_ms: self.limiter.clock().unix_ms(), drawn }
    }

    pub(crate) fn enter_component(
        &self,
        caller: Caller,
        ceremony: u64,
        custodian: &CustodianProof,
        component: &SecretBytes,
        expected: Option<&ExpectedCheck>,
    ) -> Answer {
        let header = self.bringing(caller, ceremony, custodian)?;
        let part = checked_component(&header, component.expose())?;
        let check = check_value(&header, part.expose())?;
        fits(expected, check)?;
        let line = self.component_line(custodian, check, false);
        Ok(Reply::ComponentTaken { check, state: self.take_component(caller, ceremony, line, &part)? })
    }

    pub(crate) fn draw_component(&self, caller: Caller, ceremony: u64, custodian: &CustodianProof) -> Answer {
        let header = self.bringing(caller, ceremony, custodian)?;
        let part = draw_key(&*self.entropy, &header)?;
        let check = check_value(&header, part.expose())?;
        let component = SecretBytes::copy_from(part.expose());
        let line = self.component_line(custodian, check, true);
        let state = self.take_component(caller, ceremony, line, &part)?;
        Ok(Reply::ComponentDrawn { component, check, state })
    }

    pub(crate) fn ceremony_status(&self) -> Answer {
        let state = self.office()?.state();
        let open = state.ceremony.as_ref().ok_or(Refusal::Ceremony)?;
        Ok(Reply::Ceremony { state: open.state(self.limiter.clock().now_ms()) })
    }

    pub(crate) fn complete_ceremony(&self, caller: Caller, ceremony: u64, expected: Option<&ExpectedCheck>) -> Answer {
        let office = self.office()?;
        let mut state = office.state();
        let open = open_ceremony(&mut state, ceremony)?;
        if open.lines.len() != usize::from(open.components) {
            return Err(Refusal::Ceremony);
        }
        let parts: Vec<&[u8]> = open.parts.iter().map(SecretBytesBox::expose).collect();
        let key = combined(&open.header, &parts)?;
        let check = check_value(&open.header, key.expose())?;
        fits(expected, check)?;
        let block = wrap(&self.key_blocks, &*self.entropy, open.header.clone(), &key)?;
        let named = mention(&block, Some(check));
        let completed_ms = self.limiter.clock().unix_ms();
        let record = CeremonyRecord {
            vault: self.identity.record.public(),
            ceremony,
            header: open.header.clone(),
            id: named.id,
            check,
            opened_ms: open.opened_ms,
            completed_ms,
            components: open.lines.clone(),
            audit_record: state.trail.sequence() + 1,
            audit_head_before: state.trail.chain(),
        };
        let act = AuditAct::CeremonyCompleted { ceremony, block: block.clone(), key: named };
        office.note(&mut state, keys::AuditEntry { at_ms: completed_ms, caller: Some(caller), act });
        end_ceremony(office, &mut state);
        Ok(Reply::CeremonyCompleted { key: block, check, record: self.signed(&record) })
    }

    fn signed(&self, record: &CeremonyRecord) -> Vec<u8> {
        let text = record.text();
        signed_record(&text, &self.identity.record.sign(text.as_bytes())).into_bytes()
    }

    pub(crate) fn abort_ceremony(&self, caller: Caller, ceremony: u64) -> Answer {
        let office = self.office()?;
        let mut state = office.state();
        open_ceremony(&mut state, ceremony)?;
        let act = AuditAct::CeremonyAborted { ceremony, why: AbortReason::Asked };
        self.note(office, &mut state, Some(caller), act);
        end_ceremony(office, &mut state);
        Ok(Reply::Done {})
    }

    /// Ends a ceremony whose time is up. Looked at with every batch.
    pub(crate) fn end_overdue_ceremony(&self) {
        let Some(office) = &self.office else { return };
        if !office.ceremony_is_overdue(|| self.limiter.clock().now_ms()) {
            return;
        }
        let mut state = office.state();
        let now_ms = self.limiter.clock().now_ms();
        // Another thread may have ended it and opened the next.
        let Some(open) = state.ceremony.as_ref().filter(|open| now_ms >= open.deadline_ms) else { return };
        let act = AuditAct::CeremonyAborted { ceremony: open.ceremony, why: AbortReason::TimedOut };
        self.note(office, &mut state, None, act);
        end_ceremony(office, &mut state);
    }

    pub(crate) fn read_ceremony_record(&self, ceremony: u64) -> Answer {
        let office = self.office()?;
        let mut state = office.state();
        state.trail.commit().map_err(|_| Refusal::Unavailable)?;
        let (mut header, mut opened_ms, mut components) = (None, 0, Vec::new());
        for sequence in ceremony.max(1)..=state.trail.sequence() {
            let (record, before) = state.trail.record(sequence).map_err(|_| Refusal::Unavailable)?;
            let at_ms = record.entry.at_ms;
            match record.entry.act {
                AuditAct::CeremonyOpened { header: opened, .. } if sequence == ceremony => {
                    (header, opened_ms) = (Some(opened), at_ms);
                }
                _ if header.is_none() => return Err(Refusal::Ceremony),
                AuditAct::ComponentEntered { custodian, check, drawn, .. } => {
                    components.push(ComponentLine { custodian, check, at_ms, drawn });
                }
                AuditAct::CeremonyAborted { .. } => return Err(Refusal::Ceremony),
                AuditAct::CeremonyCompleted { block, key, .. } => {
                    let check = key.check.ok_or(Refusal::Unavailable)?;
                    let record = CeremonyRecord {
                        vault: self.identity.record.public(),
                        ceremony,
                        header: key.header,
                        id: key.id,
                        check,
                        opened_ms,
                        completed_ms: at_ms,
                        components,
                        audit_record: sequence,
                        audit_head_before: before,
                    };
                    return Ok(Reply::CeremonyCompleted { key: block, check, record: self.signed(&record) });
                }
                _ => {}
            }
        }
        Err(Refusal::Ceremony)
    }
}

fn end_ceremony(office: &Office, state: &mut State) {
    // Dropping wipes the components.
    state.ceremony = None;
    office.watch(None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use keys::{Algorithm, Owner, Usage, Validity};

    fn header(usage: Usage, algorithm: Algorithm) -> KeyHeader {
        let owner = Owner::new("x").unwrap();
        KeyHeader { usage, algorithm, exportable: false, owner, version: 1, validity: Validity::ALWAYS }
    }

    #[test]
    fn components_are_checked() {
        let kek = header(Usage::KeyEncryption, Algorithm::TdesDouble);
        let good = 0x1123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes();
        let mut odd = good;
        set_odd_parity(&mut odd);
        assert!(checked_component(&kek, &odd).is_ok());
        let mut even = odd;
        even[3] ^= 1;
        let equal_halves = [odd[..8].to_vec(), odd[..8].to_vec()].concat();
        let weak = [vec![0x01; 8], odd[8..].to_vec()].concat();
        for wrong in [&even[..], &odd[..15], &[0; 16], &equal_halves, &weak, &[]] {
            assert_eq!(checked_component(&kek, wrong).err(), Some(Refusal::Parameter), "{} bytes", wrong.len());
        }
        let pvk = header(Usage::PinReference, Algorithm::HmacSha256);
        assert!(checked_component(&pvk, &[2; 32]).is_ok());
        assert!(checked_component(&pvk, &[0; 32]).is_err());
    }

    #[test]
    fn the_key_is_the_exclusive_or_with_odd_parity() {
        let kek = header(Usage::KeyEncryption, Algorithm::TdesDouble);
        let (one, two) =
            (0x1123_4567_89AB_CDEF_FEDC_BA98_7654_3211_u128, 0x2FF0_0FF0_0FF0_0FF0_1032_5476_98BA_DCFE_u128);
        let key = combined(&kek, &[&one.to_be_bytes(), &two.to_be_bytes()]).unwrap();
        assert!(has_odd_parity(key.expose()));
        let plain = one ^ two;
        let same_but_parity = key.expose().iter().zip(plain.to_be_bytes()).all(|(got, sum)| got & 0xFE == sum & 0xFE);
        assert!(same_but_parity, "only parity bits may differ");
        let same: [&[u8]; 2] = [&[5; 32], &[5; 32]];
        assert!(combined(&header(Usage::PinReference, Algorithm::HmacSha256), &same).is_err(), "the sum is zero");
    }
}
