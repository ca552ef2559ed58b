//! Custodians: who they are, and how they prove it.

use crate::limits::Subject;
use crate::office::{Office, Registered, State};
use crate::refusal::of_entropy;
use crate::stretching::{SALT_BYTES, stretch};
use crate::vault::SoftVault;
use keys::{
    AuditAct, CEREMONY_COMPONENTS_MIN, CUSTODIAN_PASSPHRASE_BYTES_MAX, CUSTODIAN_PASSPHRASE_BYTES_MIN, CUSTODIANS_MAX,
    Caller, CustodianLine, CustodianList, CustodianName, CustodianProof, Refusal, Reply,
};
use paycrypto::constant_time_eq;
use std::sync::PoisonError;
use types::SecretBytes;

/// Fewest custodians once there are any: one person alone must not be able to vouch for whom they like.
const CUSTODIANS_MIN: usize = CEREMONY_COMPONENTS_MIN as usize;

type Answer = Result<Reply, Refusal>;

impl SoftVault {
    /// The office; a vault without a trail has none.
    pub(crate) fn office(&self) -> Result<&Office, Refusal> {
        self.office.as_deref().ok_or(Refusal::Unavailable)
    }

    pub(crate) fn note(&self, office: &Office, state: &mut State, caller: Option<Caller>, act: AuditAct) -> u64 {
        office.note(state, keys::AuditEntry { at_ms: self.limiter.clock().unix_ms(), caller, act })
    }

    /// Checks who somebody is. Counts and records failures.
    pub(crate) fn authenticate(&self, caller: Caller, proof: &CustodianProof) -> Result<(), Refusal> {
        let office = self.office()?;
        let registered = office.state().custodians.get(&proof.name).cloned();
        // Names that nobody has share one count: their number is not limited.
        let counted = registered.as_ref().map_or("", |_| proof.name.text());
        let subject = Subject::Custodian(counted.to_owned());
        self.limiter.check(&subject)?;
        let right = self.is_passphrase_of(office, &proof.name, registered.as_ref(), &proof.passphrase)?;
        self.limiter.note(subject, right)?;
        if right {
            return Ok(());
        }
        let act = AuditAct::LogInFailed { name: proof.name.clone() };
        self.note(office, &mut office.state(), Some(caller), act);
        Err(Refusal::Custodian)
    }

    /// A name that nobody has takes as long as one that somebody has.
    fn is_passphrase_of(
        &self,
        office: &Office,
        name: &CustodianName,
        registered: Option<&Registered>,
        passphrase: &SecretBytes,
    ) -> Result<bool, Refusal> {
        if passphrase.len() > CUSTODIAN_PASSPHRASE_BYTES_MAX {
            return Ok(false);
        }
        let salt = registered.map_or([0; SALT_BYTES], |registered| registered.salt);
        let stretched = {
            let _turn = office.stretching.lock().unwrap_or_else(PoisonError::into_inner);
            stretch(passphrase.expose(), &salt)?
        };
        let Some(registered) = registered else { return Ok(false) };
        let verifier = office.verifiers.open(name.text().as_bytes(), &registered.verifier)?;
        Ok(constant_time_eq(&verifier, &*stretched))
    }

    fn newly_registered(
        &self,
        name: &CustodianName,
        passphrase: &SecretBytes,
        approved_by: Option<CustodianName>,
    ) -> Result<Registered, Refusal> {
        let office = self.office()?;
        if !(CUSTODIAN_PASSPHRASE_BYTES_MIN..=CUSTODIAN_PASSPHRASE_BYTES_MAX).contains(&passphrase.len()) {
            return Err(Refusal::Parameter);
        }
        let mut salt = [0; SALT_BYTES];
        self.entropy.fill(&mut salt).map_err(of_entropy)?;
        let stretched = {
            let _turn = office.stretching.lock().unwrap_or_else(PoisonError::into_inner);
            stretch(passphrase.expose(), &salt)?
        };
        let verifier = office.verifiers.seal(&*self.entropy, name.text().as_bytes(), &*stretched)?;
        Ok(Registered { since_ms: self.limiter.clock().unix_ms(), approved_by, salt, verifier })
    }

    fn enter_custodian(
        &self,
        office: &Office,
        state: &mut State,
        caller: Caller,
        name: &CustodianName,
        new: Registered,
    ) {
        let act = AuditAct::CustodianRegistered {
            name: name.clone(),
            approved_by: new.approved_by.clone(),
            salt: new.salt,
            verifier: new.verifier.clone(),
        };
        self.note(office, state, Some(caller), act);
        state.custodians.insert(name.clone(), new);
    }

    pub(crate) fn register_custodian(
        &self,
        caller: Caller,
        custodian: &CustodianProof,
        approver: Option<&CustodianProof>,
    ) -> Answer {
        let office = self.office()?;
        if let Some(approver) = approver {
            self.authenticate(caller, approver)?;
        }
        let approved_by = approver.map(|approver| approver.name.clone());
        let new = self.newly_registered(&custodian.name, &custodian.passphrase, approved_by)?;
        let mut state = office.state();
        // Checked under the lock that registers: two at once must not both be the second.
        let vouched = new.approved_by.as_ref().is_some_and(|name| state.custodians.contains_key(name));
        if state.custodians.contains_key(&custodian.name) || (state.custodians.len() >= CUSTODIANS_MIN && !vouched) {
            return Err(Refusal::AnotherCustodian);
        }
        if state.custodians.len() >= CUSTODIANS_MAX {
            return Err(Refusal::Parameter);
        }
        self.enter_custodian(office, &mut state, caller, &custodian.name, new);
        Ok(Reply::Done {})
    }

    pub(crate) fn remove_custodian(&self, caller: Caller, name: &CustodianName, approver: &CustodianProof) -> Answer {
        let office = self.office()?;
        if approver.name == *name {
            return Err(Refusal::AnotherCustodian);
        }
        self.authenticate(caller, approver)?;
        let mut state = office.state();
        if !state.custodians.contains_key(name) {
            return Err(Refusal::Parameter);
        }
        if state.custodians.len() <= CUSTODIANS_MIN || !state.custodians.contains_key(&approver.name) {
            return Err(Refusal::AnotherCustodian);
        }
        let act = AuditAct::CustodianRemoved { name: name.clone(), approved_by: approver.name.clone() };
        self.note(office, &mut state, Some(caller), act);
        state.custodians.remove(name);
        Ok(Reply::Done {})
    }

    pub(crate) fn change_passphrase(
        &self,
        caller: Caller,
        custodian: &CustodianProof,
        passphrase: &SecretBytes,
    ) -> Answer {
        let office = self.office()?;
        self.authenticate(caller, custodian)?;
        let new = self.newly_registered(&custodian.name, passphrase, None)?;
        let mut state = office.state();
        let old = state.custodians.get(&custodian.name).cloned().ok_or(Refusal::Custodian)?;
        let new = Registered { approved_by: old.approved_by, ..new };
        self.enter_custodian(office, &mut state, caller, &custodian.name, new);
        Ok(Reply::Done {})
    }

    pub(crate) fn list_custodians(&self) -> Answer {
        let state = self.office()?.state();
        let line = |(name, registered): (&CustodianName, &Registered)| CustodianLine {
            name: name.clone(),
            since_ms: registered.since_ms,
            approved_by: registered.approved_by.clone(),
        };
        Ok(Reply::Custodians { list: CustodianList(state.custodians.iter().map(line).collect()) })
    }
}
