//! Account data: opened once from a message, then known by token, truncated number and a sealed blob.

use crate::entropy::Entropy;
use crate::refusal::of_crypto;
use crate::sealing::SealingKey;
use keys::{Refusal, SealedAccount};
use machine::wire::{Encode, Malformed, Reader, Writer};
use paycrypto::TdesKey;
use paycrypto::mac::HmacSha256Key;
use paycrypto::track::decipher_track;
use types::{CardToken, Expiry, Pan, SecretBytes, Track2};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const LABEL: &[u8] = b"irontill account 1\0";

/// An account inside the vault.
pub struct Account {
    /// The number in the clear.
    pub pan: Pan,
    /// Expiry, if the message or its track had one.
    pub expiry: Option<Expiry>,
}

impl Encode for Account {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).text(self.pan.expose());
        writer.option(self.expiry, |writer, expiry| {
            writer.u8(expiry.year()).u8(expiry.month());
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("account version 1"));
        }
        let pan = Pan::parse(reader.text()?).map_err(|_| reader.malformed("a PAN"))?;
        let parts = reader.option(|reader| Ok((reader.u8()?, reader.u8()?)))?;
        let expiry = match parts {
            Some((year, month)) => Some(Expiry::new(year, month).ok_or_else(|| reader.malformed("an expiry"))?),
            None => None,
        };
        Ok(Self { pan, expiry })
    }
}

/// Reads field 35, deciphering it if a key is given.
fn read_track(track2: &SecretBytes, key: Option<&TdesKey>) -> Result<Track2, Refusal> {
    let clear = match key {
        Some(key) => decipher_track(key, track2.expose()).map_err(of_crypto)?,
        None => Zeroizing::new(track2.expose().to_vec()),
    };
    let text = core::str::from_utf8(&clear).map_err(|_| Refusal::AccountData)?;
    Track2::parse(text).map_err(|_| Refusal::AccountData)
}

/// Both if they agree, the one that is there otherwise.
fn agreed<T>(one: Option<T>, other: Option<T>, same: impl FnOnce(&T, &T) -> bool) -> Result<Option<T>, Refusal> {
    match (one, other) {
        (Some(one), Some(other)) if !same(&one, &other) => Err(Refusal::AccountData),
        (one, other) => Ok(one.or(other)),
    }
}

impl Account {
    /// Puts a message's account data together; what contradicts itself is refused.
    pub fn from_message(
        pan: Option<&Pan>,
        track2: Option<&SecretBytes>,
        track_key: Option<&TdesKey>,
        expiry: Option<Expiry>,
    ) -> Result<Self, Refusal> {
        let track = track2.map(|track2| read_track(track2, track_key)).transpose()?;
        let track_pan = track.as_ref().map(|track| track.pan().map_err(|_| Refusal::AccountData)).transpose()?;
        let same_pan =
            |one: &Pan, other: &Pan| paycrypto::constant_time_eq(one.expose().as_bytes(), other.expose().as_bytes());
        let pan = agreed(pan.map(Pan::duplicate), track_pan, same_pan)?.ok_or(Refusal::AccountData)?;
        let track_expiry = track.as_ref().and_then(Track2::expiry);
        let expiry = agreed(expiry, track_expiry, |one, other| one == other)?;
        Ok(Self { pan, expiry })
    }

    /// The number's ASCII digits.
    pub fn digits(&self) -> &[u8] {
        self.pan.expose().as_bytes()
    }

    /// The card's token under this vault's token key.
    pub fn token(&self, key: &HmacSha256Key) -> Result<CardToken, Refusal> {
        token_of(key, &self.pan)
    }

    /// Seals the account for this vault.
    pub fn seal(&self, sealing: &SealingKey, entropy: &dyn Entropy) -> Result<SealedAccount, Refusal> {
        let plaintext = Zeroizing::new(self.to_bytes());
        sealing.seal(entropy, LABEL, &plaintext).map(SealedAccount)
    }

    /// Opens what [`Account::seal`] made.
    pub fn open(sealing: &SealingKey, sealed: &SealedAccount) -> Result<Self, Refusal> {
        let plaintext = sealing.open(LABEL, &sealed.0)?;
        Self::from_bytes(&plaintext).map_err(|_| Refusal::NotAuthentic)
    }
}

/// A card's token.
pub fn token_of(key: &HmacSha256Key, pan: &Pan) -> Result<CardToken, Refusal> {
    paycrypto::token::card_token(key, pan.expose().as_bytes()).map(CardToken).map_err(of_crypto)
}
