//! What the host is told at its start.

use crate::policy::Policies;
use iso8583::unionpay::{AidParameters, Capk, DownloadSet, TerminalParameters};
use keys::MacAlgorithm;
use std::collections::BTreeMap;
use types::{InstitutionId, MerchantId, TerminalId};

/// Time allowed to the key service, the issuer or a look-up before a request is given up: well below the terminal's
/// own time-out (40 seconds at least, unionpay-pos §5.4).
pub const REPLY_TIMEOUT_MS_DEFAULT: u64 = 15_000;
/// Numbers of instalments that are offered.
pub const INSTALMENTS_DEFAULT: [u8; 5] = [3, 6, 12, 18, 24];

/// How long messages under working keys that a sign-in has replaced are still taken, in milliseconds: longer than anything of
/// before the sign-in is under way or waits to be sent again.
pub const KEY_OVERLAP_MS_DEFAULT: u64 = 15 * 60_000;

/// What terminals download. A version is raised with every change; terminals that have an older one are told so.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ParameterSet {
    /// Version of the keys; 0 means "nothing to tell anybody".
    pub capk_version: u32,
    /// Certification authority public keys.
    pub capks: Vec<Capk>,
    /// Version of the application parameters.
    pub aid_version: u32,
    /// Application parameters.
    pub aids: Vec<AidParameters>,
    /// What terminals are told of themselves (360).
    pub terminal: TerminalParameterBook,
    /// The other sets, as far as there are any.
    pub published: BTreeMap<DownloadSet, Published>,
    /// Raised when every terminal is to upload its status (362); 0 means "no".
    pub status_version: u32,
}

impl ParameterSet {
    /// Version of a set; 0 means "nothing to tell anybody".
    pub fn version(&self, set: DownloadSet) -> u32 {
        match set {
            DownloadSet::Capks => self.capk_version,
            DownloadSet::Aids => self.aid_version,
            DownloadSet::Terminal => self.terminal.version,
            set => self.published.get(&set).map_or(0, |published| published.version),
        }
    }
}

/// Terminal parameters: for all, for merchants, for terminals; the narrower goes before. Which transactions a terminal may send
/// (tag 26) stands in its enrolment and nowhere else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TerminalParameterBook {
    /// Version of the whole book.
    pub version: u32,
    /// For every terminal.
    pub all: TerminalParameters,
    /// For the terminals of a merchant.
    pub merchants: BTreeMap<MerchantId, TerminalParameters>,
    /// For one terminal.
    pub terminals: BTreeMap<TerminalId, TerminalParameters>,
}

impl TerminalParameterBook {
    /// What holds for one terminal.
    pub fn of(&self, merchant: MerchantId, terminal: TerminalId) -> TerminalParameters {
        let merchant = self.merchants.get(&merchant).cloned().unwrap_or_default();
        let terminal = self.terminals.get(&terminal).cloned().unwrap_or_default();
        terminal.over(merchant.over(self.all.clone()))
    }
}

/// A set that terminals download as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Its version.
    pub version: u32,
    /// What it says.
    pub content: PublishedContent,
}

/// What a set says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublishedContent {
    /// F62 of the one answer (364, 392, 394).
    Whole(Vec<u8>),
    /// Entries of a BIN list, digits (390, 396, 398).
    List(Vec<String>),
}

/// Configuration shared by all machines of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostConfig {
    /// Acquiring institution (F32, F44).
    pub acquirer: InstitutionId,
    /// What terminals download.
    pub parameters: ParameterSet,
    /// MAC of field 64.
    pub mac_algorithm: MacAlgorithm,
    /// Whether new MAC keys have 16 bytes.
    pub double_length_mac_key: bool,
    /// What merchants may do.
    pub policies: Policies,
    /// Numbers of instalments that are offered; none offers no instalment sales.
    pub instalments: Vec<u8>,
    /// Time allowed to the key service, the issuer or a look-up.
    pub reply_timeout_ms: u64,
    /// How long messages under working keys that a sign-in has replaced are still taken, in milliseconds; 0 for not at all.
    pub key_overlap_ms: u64,
}

impl HostConfig {
    /// The usual settings.
    pub fn new(acquirer: InstitutionId, parameters: ParameterSet) -> Self {
        Self {
            acquirer,
            parameters,
            mac_algorithm: MacAlgorithm::UnionPayEcb,
            double_length_mac_key: true,
            policies: Policies::default(),
            instalments: INSTALMENTS_DEFAULT.to_vec(),
            reply_timeout_ms: REPLY_TIMEOUT_MS_DEFAULT,
            key_overlap_ms: KEY_OVERLAP_MS_DEFAULT,
        }
    }
}
