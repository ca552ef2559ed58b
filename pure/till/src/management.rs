//! What a till keeps beside money: the sets of parameters that the host gave it, as they came, and cardholders' signatures
//! until the host has them.

use iso8583::unionpay::{ContactlessParameter, DownloadSet, TerminalParameters, parse_bins, parse_contactless};
use std::collections::BTreeMap;
use types::Stan;

/// Failed occasions after which a signature is left alone until the settlement.
pub(crate) const SIGNATURE_OCCASIONS_MAX: u8 = 3;
/// Signatures that may wait for the host; with more, paper is signed. It bounds a snapshot.
pub(crate) const SIGNATURES_WAITING_MAX: usize = 200;

/// Where a signature stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureStatus {
    /// It is here and the host does not have it.
    Waiting {
        /// Occasions on which the host did not take it.
        occasions: u8,
    },
    /// The host has it.
    Uploaded,
}

/// An electronic signature of the open batch (unionpay-pos §6.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Trace number of the transaction that was signed.
    pub stan: Stan,
    /// F62: JBIG. Empty once the host has it.
    pub image: Vec<u8>,
    /// Where it stands.
    pub status: SignatureStatus,
}

/// The downloaded sets. Terminal parameters are in force (`Config::under`); contactless parameters, lists, rates and TMS data
/// are kept and shown, and nothing uses them until the kernels that need them exist.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Management {
    /// F62 of each set; of a list in pages, its entries one behind the other.
    pub sets: BTreeMap<DownloadSet, Vec<u8>>,
    /// Signatures of the open batch, oldest first.
    pub signatures: Vec<Signature>,
}

impl Management {
    /// A set that came whole takes the place of the one before, but terminal parameters only change what they name.
    pub(crate) fn take(&mut self, set: DownloadSet, content: &[u8]) {
        let content = match set {
            DownloadSet::Terminal => self.merged(content).unwrap_or_else(|| content.to_vec()),
            _ => content.to_vec(),
        };
        self.sets.insert(set, content);
    }

    fn merged(&self, content: &[u8]) -> Option<Vec<u8>> {
        TerminalParameters::parse(content).ok()?.over(self.parameters()).format()
    }

    /// The signature of a transaction.
    pub fn signature(&self, stan: Stan) -> Option<&Signature> {
        self.signatures.iter().find(|signature| signature.stan == stan)
    }

    /// The signatures that the host does not have.
    pub fn waiting_signatures(&self) -> impl Iterator<Item = &Signature> {
        self.signatures.iter().filter(|signature| signature.status != SignatureStatus::Uploaded)
    }

    /// The signatures that are tried before the settlement: not refused too often yet.
    pub(crate) fn hopeful_signatures(&self) -> impl Iterator<Item = &Signature> {
        let hopeful =
            |status| matches!(status, SignatureStatus::Waiting { occasions } if occasions < SIGNATURE_OCCASIONS_MAX);
        self.signatures.iter().filter(move |signature| hopeful(signature.status))
    }

    pub(crate) fn sign(&mut self, stan: Stan, image: &[u8]) {
        self.forget_signature(stan);
        let status = SignatureStatus::Waiting { occasions: 0 };
        self.signatures.push(Signature { stan, image: image.to_vec(), status });
    }

    pub(crate) fn signature_tried(&mut self, stan: Stan) {
        if let Some(Signature { status: SignatureStatus::Waiting { occasions }, .. }) = self.signature_mut(stan) {
            *occasions = occasions.saturating_add(1);
        }
    }

    pub(crate) fn signature_uploaded(&mut self, stan: Stan) {
        if let Some(signature) = self.signature_mut(stan) {
            signature.status = SignatureStatus::Uploaded;
            signature.image = Vec::new();
        }
    }

    /// Its batch is closed, or paper takes its place.
    pub(crate) fn forget_signature(&mut self, stan: Stan) {
        self.signatures.retain(|signature| signature.stan != stan);
    }

    fn signature_mut(&mut self, stan: Stan) -> Option<&mut Signature> {
        self.signatures.iter_mut().find(|signature| signature.stan == stan)
    }

    /// The terminal parameters, all unset if there are none.
    pub fn parameters(&self) -> TerminalParameters {
        let content = self.sets.get(&DownloadSet::Terminal);
        content.and_then(|content| TerminalParameters::parse(content).ok()).unwrap_or_default()
    }

    /// The contactless parameters.
    pub fn contactless(&self) -> Vec<ContactlessParameter> {
        let content = self.sets.get(&DownloadSet::Contactless);
        content.and_then(|content| parse_contactless(content).ok()).unwrap_or_default()
    }

    /// The entries of a BIN list.
    pub fn bins(&self, set: DownloadSet) -> Vec<String> {
        let content = self.sets.get(&set);
        content.and_then(|content| parse_bins(content).ok()).unwrap_or_default()
    }
}
