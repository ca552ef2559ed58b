//! GENERATE AC: the request and the two formats of its answer (EMV 4.4 Book 3 §6.5.5).

use crate::apdu::{Command, Response, StatusWord, ins};
use thiserror::Error;
use tlv::{Element, Elements, Tag, TlvError, ber, tags};

/// Longest issuer application data, tag 9F10.
pub const MAX_ISSUER_APPLICATION_DATA_BYTES: usize = 32;

const CDA_REQUEST_BIT: u8 = 0x10;
const KIND_MASK: u8 = 0xC0;

/// A kind of application cryptogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CryptogramKind {
    /// Application authentication cryptogram: declined.
    Aac,
    /// Authorisation request cryptogram: ask the issuer.
    Arqc,
    /// Transaction certificate: approved.
    Tc,
}

impl CryptogramKind {
    /// Reference control parameter P1 and the two highest bits of the cryptogram information data.
    pub fn code(self) -> u8 {
        match self {
            CryptogramKind::Aac => 0x00,
            CryptogramKind::Tc => 0x40,
            CryptogramKind::Arqc => 0x80,
        }
    }

    /// From cryptogram information data; the reserved fourth code is none.
    pub fn from_information(cryptogram_information: u8) -> Option<Self> {
        match cryptogram_information & KIND_MASK {
            0x00 => Some(CryptogramKind::Aac),
            0x40 => Some(CryptogramKind::Tc),
            0x80 => Some(CryptogramKind::Arqc),
            _ => None,
        }
    }

    /// TC, ARQC or AAC.
    pub fn name(self) -> &'static str {
        match self {
            CryptogramKind::Aac => "AAC",
            CryptogramKind::Arqc => "ARQC",
            CryptogramKind::Tc => "TC",
        }
    }
}

/// Why an answer is unusable; the transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CryptogramError {
    /// Another status than `9000`.
    #[error("GENERATE AC answers status {0}")]
    Status(StatusWord),
    /// Malformed TLV or another template.
    #[error(transparent)]
    Tlv(#[from] TlvError),
    /// An object is missing or has a wrong length.
    #[error("object {tag} is missing or has a wrong length")]
    Object {
        /// Which object.
        tag: Tag,
    },
    /// The cryptogram information data has the reserved code, or promises more than was asked for.
    #[error("card answers a cryptogram that was not asked for")]
    Kind,
}

/// An application cryptogram with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cryptogram {
    /// Cryptogram information data, tag 9F27.
    pub cid: u8,
    /// Its kind.
    pub kind: CryptogramKind,
    /// Application transaction counter, tag 9F36.
    pub atc: [u8; 2],
    /// Application cryptogram, tag 9F26.
    pub application_cryptogram: [u8; 8],
    /// Issuer application data, tag 9F10; empty when the card gave none.
    pub issuer_application_data: Vec<u8>,
}

/// An answer that was read but, with a signature in it, not yet verified.
#[derive(Clone, PartialEq, Eq)]
pub struct GenerateAcResponse {
    /// Cryptogram information data.
    pub cid: u8,
    /// Its kind.
    pub kind: CryptogramKind,
    /// Application transaction counter.
    pub atc: [u8; 2],
    /// Application cryptogram; absent when it only stands inside the signature.
    pub application_cryptogram: Option<[u8; 8]>,
    /// Issuer application data; empty when absent.
    pub issuer_application_data: Vec<u8>,
    /// Signed dynamic application data, tag 9F4B.
    pub signature: Option<Vec<u8>>,
    /// Format 1 (tag 80) or 2 (template 77).
    pub format: u8,
    /// The objects of format 2 without the signature, as combined data authentication hashes them.
    pub signed_objects: Vec<u8>,
}

/// Builds the command.
pub fn build_command(kind: CryptogramKind, with_cda: bool, cdol_data: &[u8]) -> Command {
    let p1 = kind.code() | if with_cda { CDA_REQUEST_BIT } else { 0 };
    Command::new(0x80, ins::GENERATE_AC, p1, 0).with_data(cdol_data).expecting_all()
}

/// Reads the answer.
///
/// # Errors
/// See [`CryptogramError`].
pub fn read_response(response: &Response) -> Result<GenerateAcResponse, CryptogramError> {
    if !response.status.is_ok() {
        return Err(CryptogramError::Status(response.status));
    }
    match ber::single_template(&response.data, tags::RESPONSE_FORMAT_1) {
        Ok(element) => read_format_1(element.value),
        Err(_) => read_format_2(&ber::single_template(&response.data, tags::RESPONSE_FORMAT_2)?),
    }
}

fn kind_of(cid: u8) -> Result<CryptogramKind, CryptogramError> {
    CryptogramKind::from_information(cid).ok_or(CryptogramError::Kind)
}

fn read_format_1(value: &[u8]) -> Result<GenerateAcResponse, CryptogramError> {
    let refused = CryptogramError::Object { tag: tags::RESPONSE_FORMAT_1 };
    let (&[cid, atc_high, atc_low], rest) = value.split_first_chunk::<3>().ok_or(refused)?;
    let (&application_cryptogram, issuer_data) = rest.split_first_chunk::<8>().ok_or(refused)?;
    if issuer_data.len() > MAX_ISSUER_APPLICATION_DATA_BYTES {
        return Err(refused);
    }
    Ok(GenerateAcResponse {
        cid,
        kind: kind_of(cid)?,
        atc: [atc_high, atc_low],
        application_cryptogram: Some(application_cryptogram),
        issuer_application_data: issuer_data.to_vec(),
        signature: None,
        format: 1,
        signed_objects: Vec::new(),
    })
}

fn read_format_2(template: &Element<'_>) -> Result<GenerateAcResponse, CryptogramError> {
    let objects = Elements::at(template.value, template.value_offset).collect::<Result<Vec<_>, _>>()?;
    let get = |tag| objects.iter().find(|object| object.tag == tag).map(|object| object.value);
    let [cid] = fixed(tags::CRYPTOGRAM_INFORMATION_DATA, get(tags::CRYPTOGRAM_INFORMATION_DATA))?;
    let atc = fixed(tags::ATC, get(tags::ATC))?;
    let application_cryptogram = match get(tags::APPLICATION_CRYPTOGRAM) {
        Some(value) => Some(fixed(tags::APPLICATION_CRYPTOGRAM, Some(value))?),
        None => None,
    };
    let signature = get(tags::SIGNED_DYNAMIC_APPLICATION_DATA).map(<[u8]>::to_vec);
    if application_cryptogram.is_none() && signature.is_none() {
        return Err(CryptogramError::Object { tag: tags::APPLICATION_CRYPTOGRAM });
    }
    let issuer_application_data = get(tags::ISSUER_APPLICATION_DATA).unwrap_or_default().to_vec();
    if issuer_application_data.len() > MAX_ISSUER_APPLICATION_DATA_BYTES {
        return Err(CryptogramError::Object { tag: tags::ISSUER_APPLICATION_DATA });
    }
    Ok(GenerateAcResponse {
        cid,
        kind: kind_of(cid)?,
        atc,
        application_cryptogram,
        issuer_application_data,
        signature,
        format: 2,
        signed_objects: crate::oda::cda::response_objects_without_signature(template.value),
    })
}

fn fixed<const N: usize>(tag: Tag, value: Option<&[u8]>) -> Result<[u8; N], CryptogramError> {
    value.and_then(|value| value.try_into().ok()).ok_or(CryptogramError::Object { tag })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reserved_code_is_refused() {
        let response = Response::new(&[0x80, 0x0B, 0xC0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8], StatusWord::OK);
        assert_eq!(read_response(&response).err(), Some(CryptogramError::Kind));
    }

    #[test]
    fn kinds_are_ordered_by_what_they_promise() {
        assert!(CryptogramKind::Tc > CryptogramKind::Arqc && CryptogramKind::Arqc > CryptogramKind::Aac);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_response(&Response::new(&bytes, StatusWord::OK));
        }
    }
}
