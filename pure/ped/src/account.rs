//! Account data of a card, and the blob in which it waits for a reversal or an upload.

use crate::chip::ChipRecord;
use crate::vault::Vault;
use core::fmt;
use keys::Refusal;
use machine::wire::{Malformed, Reader, Writer};
use pedlink::SealedBlob;
use types::{Expiry, MerchantId, Pan, SecretBytes, TerminalId, Track2};

/// Layout of what is sealed.
const BLOB_VERSION: u8 = 1;
/// What the seal is bound to, before terminal and merchant.
const BLOB_LABEL: &[u8] = b"irontill/ped/transaction/";

/// What a card said of itself. Lives in a session only; prints masked, wiped on drop.
#[derive(Debug)]
pub(crate) struct CardAccount {
    pub(crate) pan: Pan,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) card_sequence: Option<u8>,
    pub(crate) track2: Option<Track2>,
}

/// Why a card's account data cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccountFault {
    #[error("the card gave no account number")]
    NoPan,
    #[error("the card's account number and its track 2 disagree")]
    Disagree,
}

impl CardAccount {
    /// Reads 5A, 57, 5F24 and 5F34 of a card. Values are BCD, filled with F.
    pub(crate) fn read(
        pan: Option<&[u8]>,
        track2: Option<&[u8]>,
        expiration: Option<&[u8]>,
        sequence: Option<&[u8]>,
    ) -> Result<Self, AccountFault> {
        let track2 = track2.and_then(|bytes| Track2::parse(&digits(bytes)).ok());
        let of_track = track2.as_ref().and_then(|track| track.pan().ok());
        let of_card = pan.and_then(|bytes| Pan::parse(&digits(bytes)).ok());
        let pan = match (of_card, of_track) {
            (Some(pan), Some(other)) if pan.expose() != other.expose() => return Err(AccountFault::Disagree),
            (Some(pan), _) | (None, Some(pan)) => pan,
            (None, None) => return Err(AccountFault::NoPan),
        };
        let of_chip = expiration.and_then(|bytes| Expiry::parse(digits(bytes).get(..4)?).ok());
        let expiry = of_chip.or_else(|| track2.as_ref().and_then(Track2::expiry));
        let card_sequence = sequence.and_then(|bytes| digits(bytes).parse().ok());
        Ok(Self { pan, expiry, card_sequence, track2 })
    }
}

/// The nibbles of packed digits without filler: `D` separates, `F` ends. Wiped when dropped.
fn digits(bytes: &[u8]) -> zeroize::Zeroizing<String> {
    const ALPHABET: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = zeroize::Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]) {
        if nibble == 0x0F {
            break;
        }
        text.push(char::from(ALPHABET[usize::from(nibble)]));
    }
    text
}

/// What a blob holds: enough to repeat a message about a transaction, and nothing that may not be kept after its
/// authorisation (no track, no PIN block).
pub(crate) struct StoredTransaction {
    pub(crate) pan: Pan,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) card_sequence: Option<u8>,
    /// F22 as it was sent.
    pub(crate) entry_mode: EntryMode,
    pub(crate) chip: ChipRecord,
}

impl fmt::Debug for StoredTransaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StoredTransaction({:?})", self.pan)
    }
}

/// F22 of a contact chip: digits 05, then whether F52 goes along (unionpay-pos §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EntryMode {
    ContactWithPin,
    ContactWithoutPin,
}

impl EntryMode {
    pub(crate) fn of_pin(sent: bool) -> Self {
        if sent { EntryMode::ContactWithPin } else { EntryMode::ContactWithoutPin }
    }

    /// Three digits.
    pub(crate) fn digits(self) -> &'static str {
        match self {
            EntryMode::ContactWithPin => "051",
            EntryMode::ContactWithoutPin => "052",
        }
    }
}

impl StoredTransaction {
    /// The bytes to seal, in one allocation that is wiped: `version · PAN length · PAN · the rest`.
    fn encode(&self) -> SecretBytes {
        let rest = self.encode_rest();
        let pan = self.pan.expose().as_bytes();
        let mut bytes = Vec::with_capacity(2 + pan.len() + rest.len());
        bytes.push(BLOB_VERSION);
        bytes.push(u8::try_from(pan.len()).expect("a PAN has at most 19 digits"));
        bytes.extend_from_slice(pan);
        bytes.extend_from_slice(&rest);
        SecretBytes::new(bytes)
    }

    fn encode_rest(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.option(self.expiry, |writer, expiry| {
            writer.u8(expiry.year()).u8(expiry.month());
        });
        writer.option(self.card_sequence, |writer, sequence| {
            writer.u8(sequence);
        });
        writer.bool(self.entry_mode == EntryMode::ContactWithPin);
        writer.bytes(&self.chip.request);
        writer.option(self.chip.last.as_ref(), |writer, last| {
            writer.bytes(last);
        });
        writer.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != BLOB_VERSION {
            return Err(reader.malformed("a known blob version"));
        }
        let pan = read_pan(&mut reader)?;
        let expiry = reader.option(|reader| {
            let expiry = Expiry::new(reader.u8()?, reader.u8()?);
            expiry.ok_or_else(|| reader.malformed("an expiry"))
        })?;
        let card_sequence = reader.option(Reader::u8)?;
        let entry_mode = EntryMode::of_pin(reader.bool()?);
        let request = reader.bytes()?.to_vec();
        let last = reader.option(|reader| Ok(reader.bytes()?.to_vec()))?;
        reader.finish()?;
        Ok(Self { pan, expiry, card_sequence, entry_mode, chip: ChipRecord { request, last } })
    }
}

fn read_pan(reader: &mut Reader<'_>) -> Result<Pan, Malformed> {
    let length = usize::from(reader.u8()?);
    let digits = core::str::from_utf8(reader.raw(length, "an account number")?);
    let pan = digits.ok().and_then(|digits| Pan::parse(digits).ok());
    pan.ok_or_else(|| reader.malformed("an account number"))
}

/// Whose blobs these are: a blob of another terminal or merchant does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlobOwner {
    pub(crate) terminal: TerminalId,
    pub(crate) merchant: MerchantId,
}

impl BlobOwner {
    fn label(self) -> Vec<u8> {
        [BLOB_LABEL, self.terminal.bytes(), b"/", self.merchant.bytes()].concat()
    }

    pub(crate) fn seal(self, vault: &mut Vault, transaction: &StoredTransaction) -> Result<SealedBlob, Refusal> {
        vault.seal(self.label(), transaction.encode()).map(SealedBlob)
    }

    pub(crate) fn open(self, vault: &mut Vault, blob: &SealedBlob) -> Result<StoredTransaction, Refusal> {
        let plaintext = vault.unseal(self.label(), blob.0.clone())?;
        StoredTransaction::decode(plaintext.expose()).map_err(|_| Refusal::NotAuthentic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAN: [u8; 10] = [0x62, 0x22, 0x62, 0, 0, 0, 0, 0, 0x01, 0x2F];
    const TRACK: [u8; 19] =
        [0x62, 0x22, 0x62, 0, 0, 0, 0, 0, 0x01, 0x2D, 0x30, 0x12, 0x20, 0x11, 0x23, 0x45, 0, 0, 0x0F];

    #[test]
    fn a_card_tells_its_account() {
        let account = CardAccount::read(Some(&PAN), Some(&TRACK), Some(&[0x30, 0x12, 0x31]), Some(&[0x12])).unwrap();
        assert_eq!(account.pan.expose(), "6222620000000000012");
        assert_eq!(account.track2.unwrap().expose(), "6222620000000000012D30122011234500000");
        assert_eq!((account.expiry.unwrap().expose().as_str(), account.card_sequence), ("3012", Some(12)));
    }

    #[test]
    fn half_an_account_is_enough_and_two_are_too_many() {
        let from_track = CardAccount::read(None, Some(&TRACK), None, None).unwrap();
        assert_eq!(from_track.pan.expose(), "6222620000000000012");
        assert_eq!(from_track.expiry.unwrap().expose(), "3012");
        assert!(matches!(CardAccount::read(None, None, None, None), Err(AccountFault::NoPan)));
        let mut other = PAN;
        other[8] = 0x02;
        assert!(matches!(CardAccount::read(Some(&other), Some(&TRACK), None, None), Err(AccountFault::Disagree)));
        assert!(matches!(CardAccount::read(Some(&[0xAB; 8]), None, None, None), Err(AccountFault::NoPan)));
    }

    #[test]
    fn a_stored_transaction_comes_back() {
        let stored = StoredTransaction {
            pan: Pan::parse("6222620000000000012").unwrap(),
            expiry: Expiry::new(30, 12),
            card_sequence: Some(1),
            entry_mode: EntryMode::ContactWithPin,
            chip: ChipRecord { request: vec![0x95, 1, 0], last: None },
        };
        let sealed = stored.encode();
        let bytes = sealed.expose();
        let back = StoredTransaction::decode(bytes).unwrap();
        assert!(back.encode().matches(&sealed));
        assert_eq!(back.entry_mode.digits(), "051");
        assert!((0..bytes.len()).all(|length| StoredTransaction::decode(&bytes[..length]).is_err()));
    }
}
