//! A terminal's working keys: made by the host's vault, read by the PED's.

use crate::entropy::Entropy;
use crate::key_block::{draw_key, wrap};
use crate::refusal::of_crypto;
use crate::sealing::SealingKey;
use keys::{Algorithm, AnyKeyBlock, KeyHeader, Owner, Refusal, Usage, UsageMarker, Validity, WorkingKeys};
use paycrypto::working_keys::{read_field_62, write_field_62};
use paycrypto::{KeyBytes, TdesKey, TdesKeyLength};

/// Wraps working keys of one owner and version.
pub struct Wrapper<'a> {
    pub sealing: &'a SealingKey,
    pub entropy: &'a dyn Entropy,
    pub owner: &'a Owner,
    pub version: u32,
}

impl Wrapper<'_> {
    fn header(&self, usage: Usage, algorithm: Algorithm) -> KeyHeader {
        KeyHeader {
            usage,
            algorithm,
            exportable: false,
            owner: self.owner.clone(),
            version: self.version,
            validity: Validity::ALWAYS,
        }
    }

    fn draw(&self, usage: Usage, algorithm: Algorithm) -> Result<TdesKey, Refusal> {
        let key = draw_key(self.entropy, &self.header(usage, algorithm))?;
        TdesKey::new(key.expose()).map_err(of_crypto)
    }

    fn wrap<U: UsageMarker>(&self, key: &TdesKey) -> Result<keys::KeyBlock<U>, Refusal> {
        let algorithm = match key.length() {
            TdesKeyLength::Single => Algorithm::Des,
            TdesKeyLength::Double => Algorithm::TdesDouble,
            TdesKeyLength::Triple => Algorithm::TdesTriple,
        };
        let bytes = KeyBytes::new(key.expose_bytes()).map_err(of_crypto)?;
        let block: AnyKeyBlock = wrap(self.sealing, self.entropy, self.header(U::USAGE, algorithm), &bytes)?;
        block.typed().map_err(|_| Refusal::Unavailable)
    }

    fn wrap_all(&self, keys: &paycrypto::working_keys::WorkingKeys) -> Result<WorkingKeys, Refusal> {
        Ok(WorkingKeys {
            pin: self.wrap(&keys.pin_key)?,
            mac: self.wrap(&keys.mac_key)?,
            track: keys.track_key.as_ref().map(|key| self.wrap(key)).transpose()?,
        })
    }

    /// Draws working keys and writes their delivery under the terminal's master key.
    pub fn generate(
        &self,
        master: &TdesKey,
        with_track_key: bool,
        double_length_mac_key: bool,
    ) -> Result<(WorkingKeys, Vec<u8>), Refusal> {
        let mac_algorithm = if double_length_mac_key { Algorithm::TdesDouble } else { Algorithm::Des };
        let track_key = with_track_key.then(|| self.draw(Usage::TrackEncryption, Algorithm::TdesDouble));
        let clear = paycrypto::working_keys::WorkingKeys {
            pin_key: self.draw(Usage::PinEncryption, Algorithm::TdesDouble)?,
            mac_key: self.draw(Usage::MessageMac, mac_algorithm)?,
            track_key: track_key.transpose()?,
        };
        let delivery = write_field_62(master, &clear).map_err(of_crypto)?;
        Ok((self.wrap_all(&clear)?, delivery))
    }

    /// Reads a delivery; every check value must fit.
    pub fn load(&self, master: &TdesKey, delivery: &[u8]) -> Result<WorkingKeys, Refusal> {
        let clear = read_field_62(master, delivery).map_err(of_crypto)?;
        if clear.pin_key.length() != TdesKeyLength::Double {
            return Err(Refusal::Parameter);
        }
        self.wrap_all(&clear)
    }
}
