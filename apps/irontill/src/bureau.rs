//! The card bureau of the demo: brings the public test cards and their keys into the built-in issuer.

use crate::system::Folder;
use anyhow::{Context, anyhow};
use card::{CardAccountData, profiles};
use irontill_host::{Admin, IssuerCard, IssuerPin, TransportedKey, WrappedKey};
use issuer::EntryModes;
use keys::{
    Algorithm, IssuerMasterAc, IssuerMasterMac, KeyBlock, KeyCheckValue, KeyEncryption, Owner, PinEncryption,
    PinReferenceKey, UsageMarker,
};
use paycrypto::TdesKey;
use sim::lab::{OPENING_BALANCE_MINOR, SINGLE_LIMIT_MINOR, organisation, scheme, script, transport_envelope};
use std::collections::BTreeMap;
use types::Currency;

struct Bureau<'a> {
    admin: &'a mut Admin,
    under: KeyBlock<KeyEncryption>,
    transport: TdesKey,
    pin_key: TdesKey,
    pin_block_key: KeyBlock<PinEncryption>,
    reference_key: KeyBlock<PinReferenceKey>,
    masters: BTreeMap<u8, (KeyBlock<IssuerMasterAc>, KeyBlock<IssuerMasterMac>)>,
    /// Version of every key of this run.
    version: u32,
}

fn crypto(cause: paycrypto::CryptoError) -> anyhow::Error {
    anyhow!("{cause}")
}

fn random_key() -> anyhow::Result<TdesKey> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    TdesKey::new(&bytes).map_err(crypto)
}

/// Loads every test card that the issuer does not know yet.
pub fn load_test_cards(folder: &Folder) -> anyhow::Result<()> {
    let mut admin = folder.admin()?;
    if admin.cards()? >= profiles().len() {
        return Ok(());
    }
    let owner = owner()?;
    let reference_key = admin.kept_or_generated_key(&owner, Algorithm::HmacSha256)?;
    Bureau::open(&mut admin, reference_key)?.load_all()
}

/// Rotation of every key of the issuer while the host runs: each test card gets a file anew, with its master keys under a fresh key
/// encryption key, and its PIN under a fresh PIN key into the next version of the PIN reference key. A card's file is replaced as a
/// whole, so an authorisation sees the old keys or the new ones and never some of each. Gives the number of cards.
pub fn rotate_issuer_keys(admin: &mut Admin) -> anyhow::Result<usize> {
    let owner = owner()?;
    let present: Option<KeyBlock<PinReferenceKey>> = admin.kept_key(&owner)?;
    let version = present.map_or(1, |key| key.header().version.saturating_add(1));
    let reference_key = admin.generate_key(&owner, version, Algorithm::HmacSha256, false)?;
    Bureau::open(admin, reference_key.clone())?.load_all()?;
    // Last: a rotation that broke off leaves cards of both versions, each with its own key in its file, and begins again here.
    admin.keep_key(&reference_key)?;
    Ok(profiles().len())
}

fn owner() -> anyhow::Result<Owner> {
    Owner::new("test issuer").context("an owner's name")
}

impl<'a> Bureau<'a> {
    fn open(admin: &'a mut Admin, reference_key: KeyBlock<PinReferenceKey>) -> anyhow::Result<Self> {
        let (owner, version) = (reference_key.header().owner.clone(), reference_key.header().version);
        let transport = random_key()?;
        let public_key = admin.transport_public_key()?;
        let enciphered = transport_envelope(&public_key, transport.expose_bytes())?;
        let check = KeyCheckValue(paycrypto::check_value::unionpay_check_value(&transport));
        let under = admin.import_transport_key(&owner, version, &TransportedKey { enciphered, check })?;
        let pin_key = random_key()?;
        let pin_block_key = import(admin, &under, &transport, &pin_key, version)?;
        let masters = BTreeMap::new();
        Ok(Self { admin, under, transport, pin_key, pin_block_key, reference_key, masters, version })
    }

    fn load_all(&mut self) -> anyhow::Result<()> {
        let today = irontill_host::today_utc();
        for profile in profiles() {
            let card = self.card(&profile.account()).with_context(|| profile.name)?;
            self.admin.load_card(card, today)?;
        }
        Ok(())
    }

    fn masters(
        &mut self,
        card: &CardAccountData,
    ) -> anyhow::Result<(KeyBlock<IssuerMasterAc>, KeyBlock<IssuerMasterMac>)> {
        let scheme = card.scheme.cryptogram_version_number();
        if let Some(masters) = self.masters.get(&scheme) {
            return Ok(masters.clone());
        }
        let clear = |key: &types::Secret<16>| TdesKey::new(key.expose()).map_err(crypto);
        let (cryptogram, integrity) = (clear(&card.issuer_keys.cryptogram)?, clear(&card.issuer_keys.integrity)?);
        let ac = import(self.admin, &self.under, &self.transport, &cryptogram, self.version)?;
        let mac = import(self.admin, &self.under, &self.transport, &integrity, self.version)?;
        self.masters.insert(scheme, (ac, mac));
        Ok(self.masters[&scheme].clone())
    }

    fn card(&mut self, card: &CardAccountData) -> anyhow::Result<IssuerCard> {
        let (master_ac, master_mac) = self.masters(card)?;
        let pan = card.pan.expose().as_bytes();
        let block = paycrypto::pin_block::encipher_format_0(&self.pin_key, &card.pin, pan).map_err(crypto)?;
        Ok(IssuerCard {
            pan: card.pan.duplicate(),
            card_sequence: card.sequence_number,
            organisation: organisation(card.scheme),
            currency: Currency::CNY,
            floor_minor: 0,
            opening_minor: OPENING_BALANCE_MINOR,
            single_limit_minor: Some(SINGLE_LIMIT_MINOR),
            scheme: scheme(card.scheme)?,
            master_ac,
            master_mac: Some(master_mac),
            pin: Some(IssuerPin { block, key: self.pin_block_key.clone(), reference_key: self.reference_key.clone() }),
            entry_modes: EntryModes::CHIP_CARD,
            // Many programs hold "the same" test card at once, each with a counter of its own. A card that approves alone cannot be
            // lent so: its counter is what tells an online sale's certificate from an offline sale's.
            atc_once: card.approves_offline,
            script: card.sends_script.then(script),
        })
    }
}

fn import<U: UsageMarker>(
    admin: &mut Admin,
    under: &KeyBlock<KeyEncryption>,
    transport: &TdesKey,
    key: &TdesKey,
    version: u32,
) -> anyhow::Result<KeyBlock<U>> {
    let mut enciphered = key.expose_bytes().to_vec();
    paycrypto::encrypt_ecb(transport, &mut enciphered).map_err(crypto)?;
    let check = KeyCheckValue(paycrypto::check_value::unionpay_check_value(key));
    let wrapped = WrappedKey { enciphered, check, version };
    Ok(admin.import_key(under, Algorithm::TdesDouble, &wrapped)?)
}
