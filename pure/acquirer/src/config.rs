//! What the host is told at its start.

use crate::policy::Policies;
use iso8583::unionpay::{AidParameters, Capk};
use keys::MacAlgorithm;
use types::InstitutionId;

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
