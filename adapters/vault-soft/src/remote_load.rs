//! Bringing a key into a terminal from afar, in two passes (`docs/wire/remote-load.md`).

use crate::key_block::{check_value, checked_key, wrap};
use crate::office::mention;
use crate::refusal::of_entropy;
use crate::signing::{SigningKey, verify_signature};
use crate::transport::{self, TransportKey};
use crate::vault::SoftVault;
use aws_lc_rs::digest;
use keys::{
    AnyKeyBlock, AuditAct, Caller, KeyHeader, LOAD_NONCE_BYTES, LOADABLE_USAGES, LoadRequest, LoadToken, Owner,
    PUBLIC_KEY_BYTES, Refusal, Reply, Signed,
};
use paycrypto::constant_time_eq;
use paycrypto::mac::HmacSha256Key;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a terminal waits for the answer to its request.
pub const LOAD_REQUEST_LIFETIME_MS: u64 = 60 * 60_000;
/// How long a token may be presented.
pub const LOAD_TOKEN_LIFETIME_S: u64 = 60 * 60;

type Answer = Result<Reply, Refusal>;

/// A request that has not been answered.
struct Outstanding {
    owner: Owner,
    nonce: [u8; LOAD_NONCE_BYTES],
    transport: TransportKey,
    began_ms: u64,
}

/// Who a vault is to others, and the one question that it may have asked.
pub struct Identity {
    /// Signs audit heads and ceremony records.
    pub record: SigningKey,
    /// Signs load tokens.
    distribution: SigningKey,
    /// Signs load requests.
    terminal: SigningKey,
    outstanding: Mutex<Option<Outstanding>>,
}

impl Identity {
    /// Derived from the master key: nothing more to keep.
    pub fn derive(master: &HmacSha256Key) -> Self {
        Self {
            record: SigningKey::derive(master, b"record"),
            distribution: SigningKey::derive(master, b"key distribution"),
            terminal: SigningKey::derive(master, b"terminal"),
            outstanding: Mutex::default(),
        }
    }

    fn outstanding(&self) -> MutexGuard<'_, Option<Outstanding>> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label(token: &LoadToken) -> digest::Digest {
    digest::digest(&digest::SHA256, &token.envelope_label_input())
}

impl SoftVault {
    pub(crate) fn vault_identity(&self) -> Answer {
        let Identity { record, distribution, terminal, .. } = &self.identity;
        let (record, distribution) = (record.public(), distribution.public());
        Ok(Reply::VaultIdentity { record, distribution, terminal: terminal.public() })
    }

    /// The first trust is the enrolment's; it cannot be changed afterwards.
    pub(crate) fn pin_distribution_host(&self, caller: Caller, public_key: [u8; PUBLIC_KEY_BYTES]) -> Answer {
        let office = self.office()?;
        let mut state = office.state();
        match state.distribution_host {
            Some(pinned) if pinned == public_key => Ok(Reply::Done {}),
            Some(_) => Err(Refusal::DistributionHost),
            None => {
                self.note(office, &mut state, Some(caller), AuditAct::DistributionHostPinned { public_key });
                state.distribution_host = Some(public_key);
                Ok(Reply::Done {})
            }
        }
    }

    fn distribution_host(&self) -> Result<[u8; PUBLIC_KEY_BYTES], Refusal> {
        self.office()?.state().distribution_host.ok_or(Refusal::DistributionHost)
    }

    /// First pass: a fresh nonce and a fresh RSA key, signed by the terminal. A new request forgets the last one.
    pub(crate) fn begin_remote_load(&self, owner: &Owner) -> Answer {
        self.distribution_host()?;
        let transport = TransportKey::from_pkcs8(transport::generate().map_err(of_entropy)?.expose());
        let transport = transport.ok_or(Refusal::Unavailable)?;
        let mut nonce = [0; LOAD_NONCE_BYTES];
        self.entropy.fill(&mut nonce).map_err(of_entropy)?;
        let request = LoadRequest {
            owner: owner.clone(),
            terminal: self.identity.terminal.public(),
            nonce,
            transport_key: transport.public_der().to_vec(),
        };
        let began_ms = self.limiter.clock().now_ms();
        *self.identity.outstanding() = Some(Outstanding { owner: owner.clone(), nonce, transport, began_ms });
        let signature = self.identity.terminal.sign(&request.signed_bytes());
        Ok(Reply::LoadRequest { request: request.with_signature(&signature) })
    }

    /// Second pass: the host envelopes a key for the terminal that it knows from the enrolment.
    pub(crate) fn make_load_token(
        &self,
        caller: Caller,
        request: &[u8],
        terminal: &[u8; PUBLIC_KEY_BYTES],
        key: &AnyKeyBlock,
    ) -> Answer {
        let office = self.office()?;
        let (request, signature) = LoadRequest::split(request).map_err(|_| Refusal::Parameter)?;
        let signed = verify_signature(&request.terminal, &request.signed_bytes(), &signature);
        if !signed || request.terminal != *terminal {
            return Err(Refusal::NotAuthentic);
        }
        if key.header.owner != request.owner || !LOADABLE_USAGES.contains(&key.header.usage) {
            return Err(Refusal::WrongKey);
        }
        let clear = self.usable(key)?;
        if !key.header.exportable {
            return Err(Refusal::NotExportable);
        }
        let check = check_value(&key.header, clear.expose())?;
        let issued_s = self.limiter.clock().unix_ms() / 1000;
        let mut token = LoadToken {
            // What a terminal takes in never leaves it again.
            header: KeyHeader { exportable: false, ..key.header.clone() },
            terminal: *terminal,
            nonce: request.nonce,
            host: self.identity.distribution.public(),
            issued_s,
            expires_s: issued_s.saturating_add(LOAD_TOKEN_LIFETIME_S),
            check,
            envelope: Vec::new(),
        };
        let bound = label(&token);
        token.envelope = transport::encipher_labelled(&request.transport_key, clear.expose(), Some(bound.as_ref()))?;
        let signature = self.identity.distribution.sign(&token.signed_bytes());
        let act = AuditAct::LoadTokenMade { key: mention(key, Some(check)), terminal: *terminal, nonce: request.nonce };
        self.note(office, &mut office.state(), Some(caller), act);
        Ok(Reply::LoadTokenMade { token: token.with_signature(&signature), check })
    }

    /// The terminal takes the key. A token that is not by the trusted host leaves the request open; one that is ends it.
    pub(crate) fn accept_load_token(&self, caller: Caller, token: &[u8]) -> Answer {
        let host = self.distribution_host()?;
        let (token, signature) = LoadToken::split(token).map_err(|_| Refusal::Parameter)?;
        if token.host != host || !verify_signature(&host, &token.signed_bytes(), &signature) {
            return Err(Refusal::NotAuthentic);
        }
        let outstanding = self.take_outstanding(&token)?;
        let clock = self.limiter.clock();
        let waited_ms = clock.now_ms().saturating_sub(outstanding.began_ms);
        if waited_ms > LOAD_REQUEST_LIFETIME_MS || clock.unix_ms() / 1000 > token.expires_s {
            return Err(Refusal::Expired);
        }
        let header = &token.header;
        if header.owner != outstanding.owner || header.exportable || !LOADABLE_USAGES.contains(&header.usage) {
            return Err(Refusal::WrongKey);
        }
        let clear = outstanding.transport.decipher_labelled(&token.envelope, Some(label(&token).as_ref()))?;
        let key = checked_key(header, clear.expose())?;
        let check = check_value(header, key.expose())?;
        if !constant_time_eq(&check.0, &token.check.0) {
            return Err(Refusal::KeyCheck);
        }
        let block = wrap(&self.key_blocks, &*self.entropy, header.clone(), &key)?;
        let office = self.office()?;
        let act = AuditAct::KeyLoaded { key: mention(&block, Some(check)), host };
        self.note(office, &mut office.state(), Some(caller), act);
        Ok(Reply::KeyCreated { key: block, check })
    }

    /// The request that a token answers, which it ends.
    fn take_outstanding(&self, token: &LoadToken) -> Result<Outstanding, Refusal> {
        let mut outstanding = self.identity.outstanding();
        let answers = |asked: &Outstanding| constant_time_eq(&asked.nonce, &token.nonce);
        if token.terminal != self.identity.terminal.public() || !outstanding.as_ref().is_some_and(answers) {
            return Err(Refusal::NotAnAnswer);
        }
        outstanding.take().ok_or(Refusal::NotAnAnswer)
    }
}
