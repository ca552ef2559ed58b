//! Field 62 of the UnionPay sign-in answer: working keys under the terminal master key (UnionPay POS §4.2).

use zeroize::Zeroizing;

use crate::check_value::{UNIONPAY_CHECK_VALUE_BYTES, unionpay_check_value, verify_zero_block_check_value};
use crate::key_wrap::{unwrap_tdes_key, wrap_ecb};
use crate::{CryptoError, TdesKey, TdesKeyLength};

const SINGLE_BYTES: usize = 8;
const DOUBLE_BYTES: usize = 16;
/// Field 62 for 60.3 = 001: single-length PIK and MAK.
pub const FIELD_62_SINGLE_BYTES: usize = 24;
/// Field 62 for 60.3 = 003: double-length PIK, and MAK.
pub const FIELD_62_DOUBLE_BYTES: usize = 40;
/// Field 62 for 60.3 = 004: as 003, then TDK.
pub const FIELD_62_DOUBLE_WITH_TRACK_BYTES: usize = 60;

/// The clear working keys of one sign-in.
#[derive(Debug)]
pub struct WorkingKeys {
    /// PIN key (PIK, PIN密钥).
    pub pin_key: TdesKey,
    /// MAC key (MAK, MAC密钥): single or double length.
    pub mac_key: TdesKey,
    /// Track key (TDK, 磁道密钥), if the terminal enciphers tracks.
    pub track_key: Option<TdesKey>,
}

fn push_key(field: &mut Vec<u8>, tmk: &TdesKey, key: &TdesKey, slot_bytes: usize) -> Result<(), CryptoError> {
    let wrapped = wrap_ecb(tmk, key.expose_bytes())?;
    if wrapped.len() > slot_bytes {
        return Err(CryptoError::KeyLength(wrapped.len()));
    }
    let zeros = slot_bytes - wrapped.len();
    field.extend_from_slice(&wrapped);
    field.resize(field.len() + zeros, 0);
    field.extend_from_slice(&unionpay_check_value(key));
    Ok(())
}

/// Writes field 62. Single-length PIK and MAK give layout 001; a double-length PIK gives 003, with a track key 004; a
/// single-length MAK then is followed by eight zero bytes.
///
/// # Errors
/// [`CryptoError::KeyLength`] for a key that its slot does not hold: a double-length MAK or a track key beside a
/// single-length PIK, a PIK or track key of three parts.
pub fn write_field_62(tmk: &TdesKey, keys: &WorkingKeys) -> Result<Vec<u8>, CryptoError> {
    let single = keys.pin_key.length() == TdesKeyLength::Single;
    let slot_bytes = if single { SINGLE_BYTES } else { DOUBLE_BYTES };
    let mut field = Vec::with_capacity(FIELD_62_DOUBLE_WITH_TRACK_BYTES);
    push_key(&mut field, tmk, &keys.pin_key, slot_bytes)?;
    push_key(&mut field, tmk, &keys.mac_key, slot_bytes)?;
    if let Some(track_key) = &keys.track_key {
        if single || track_key.length() != TdesKeyLength::Double {
            return Err(CryptoError::KeyLength(track_key.expose_bytes().len()));
        }
        push_key(&mut field, tmk, track_key, DOUBLE_BYTES)?;
    }
    Ok(field)
}

fn take_key(tmk: &TdesKey, field: &mut &[u8], slot_bytes: usize, may_be_single: bool) -> Result<TdesKey, CryptoError> {
    let length = field.len();
    let (slot, rest) = field.split_at_checked(slot_bytes).ok_or(CryptoError::DataLength(length))?;
    let (check_value, rest) =
        rest.split_at_checked(UNIONPAY_CHECK_VALUE_BYTES).ok_or(CryptoError::DataLength(length))?;
    *field = rest;
    let wrapped = match slot.split_at_checked(SINGLE_BYTES) {
        Some((first, second)) if may_be_single && second.iter().all(|byte| *byte == 0) => first,
        _ => slot,
    };
    let key = unwrap_tdes_key(tmk, wrapped)?;
    verify_zero_block_check_value(&key, check_value)?;
    Ok(key)
}

/// Reads field 62 by its length and verifies every check value.
///
/// # Errors
/// [`CryptoError::DataLength`] unless it has 24, 40 or 60 bytes; [`CryptoError::CheckValue`] if any value does not
/// match, in which case all keys are to be thrown away.
pub fn read_field_62(tmk: &TdesKey, field_62: &[u8]) -> Result<WorkingKeys, CryptoError> {
    let (slot_bytes, with_track) = match field_62.len() {
        FIELD_62_SINGLE_BYTES => (SINGLE_BYTES, false),
        FIELD_62_DOUBLE_BYTES => (DOUBLE_BYTES, false),
        FIELD_62_DOUBLE_WITH_TRACK_BYTES => (DOUBLE_BYTES, true),
        other => return Err(CryptoError::DataLength(other)),
    };
    let mut rest = field_62;
    let pin_key = take_key(tmk, &mut rest, slot_bytes, false)?;
    let mac_key = take_key(tmk, &mut rest, slot_bytes, slot_bytes == DOUBLE_BYTES)?;
    let track_key = if with_track { Some(take_key(tmk, &mut rest, DOUBLE_BYTES, false)?) } else { None };
    Ok(WorkingKeys { pin_key, mac_key, track_key })
}

/// Makes a working key of fresh random bytes: odd parity set, weak keys refused.
///
/// # Errors
/// [`CryptoError::KeyLength`] for a length no key has, [`CryptoError::Parameter`] if the draw is a weak key: draw
/// again.
pub fn working_key_from_random(random: &[u8]) -> Result<TdesKey, CryptoError> {
    let mut bytes = Zeroizing::new(random.to_vec());
    crate::key_material::set_odd_parity(&mut bytes);
    if crate::key_material::is_weak_tdes_key(&bytes) {
        return Err(CryptoError::Parameter);
    }
    TdesKey::new(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
        let value = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
        digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
    }

    fn key(text: &str) -> TdesKey {
        TdesKey::new(&unhex(text)).unwrap()
    }

    #[test]
    fn captured_sign_in_answers() {
        // UnionPay POS §4.6, key-delivery vectors V1 and V2.
        let vectors = [
            (
                "258FB0AB70D025CDB99DF2C4D302D646",
                "46F161A743497B32EAC760DF5EA57DF5 900ECCE3 977731A7EA402DDF 0000000000000000 CFF1592A",
                "D931648F3DE313A4A22C15DCA4F4299E",
                "AB7C577CC7A18045",
            ),
            (
                "CA5D92598DCA48CE8A4C76361A9269E9",
                "6701EAD6A9AD51E51AA406E2C27FCFA9 8D0A74B8 B651F9E9BACE9AE1 0000000000000000 AB7153CA",
                "807A23AD32B36D457AE91FDF927570EA",
                "5BB5C72CD00B7338",
            ),
        ];
        for (tmk, field, pik, mak) in vectors {
            let keys = read_field_62(&key(tmk), &unhex(field)).unwrap();
            assert!(keys.pin_key.same_key(&key(pik)) && keys.mac_key.same_key(&key(mak)));
            assert!(keys.track_key.is_none());
            assert_eq!(write_field_62(&key(tmk), &keys).unwrap(), unhex(field));
        }
    }

    #[test]
    fn synthetic_sign_in_with_track_key() {
        // UnionPay POS §9, S2.
        let tmk = key("0123456789ABCDEFFEDCBA9876543210");
        let field = unhex(
            "4230EF1CB268495597F4494DD23D8A72EB7A8DF9EA2CBA4CA7EFCB8D00000000000000007B21CF1A\
             0F67E2EB76A5259C93AD0D927A7712E43ABB5F40",
        );
        let keys = read_field_62(&tmk, &field).unwrap();
        assert!(keys.track_key.as_ref().unwrap().same_key(&key("13579BDF02468ACEECA86420FDB97531")));
        assert_eq!(write_field_62(&tmk, &keys).unwrap(), field);
    }

    #[test]
    fn a_wrong_check_value_spoils_the_sign_in() {
        let tmk = key("CA5D92598DCA48CE8A4C76361A9269E9");
        let mut field = unhex("6701EAD6A9AD51E51AA406E2C27FCFA98D0A74B8B651F9E9BACE9AE10000000000000000AB7153CA");
        field[16] ^= 1;
        assert_eq!(read_field_62(&tmk, &field).err(), Some(CryptoError::CheckValue));
        assert_eq!(read_field_62(&tmk, &field[1..]).err(), Some(CryptoError::DataLength(39)));
    }

    #[test]
    fn weak_draws_are_refused() {
        assert_eq!(working_key_from_random(&[0; 16]).err(), Some(CryptoError::Parameter));
        assert!(working_key_from_random(&unhex("00112233445566778899AABBCCDDEEFF")).is_ok());
    }

    proptest! {
        #[test]
        fn hostile_fields_never_panic(field in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_field_62(&key("0123456789ABCDEFFEDCBA9876543210"), &field);
        }
    }
}
