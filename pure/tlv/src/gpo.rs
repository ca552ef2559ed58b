//! The answer to GET PROCESSING OPTIONS (EMV 4.4 Book 3 §6.5.8.4).

use crate::afl::{Afl, AflError};
use crate::ber::{Element, Elements, TlvError, single_template};
use crate::tags;
use thiserror::Error;

/// Bytes of the Application Interchange Profile.
pub const AIP_BYTES: usize = 2;

/// Why the answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GpoError {
    /// Not well-formed, or neither template 77 nor tag 80.
    #[error(transparent)]
    Tlv(#[from] TlvError),
    /// The AFL inside it is refused.
    #[error(transparent)]
    Afl(#[from] AflError),
}

/// The answer, read from either format.
#[derive(Clone, PartialEq, Eq)]
pub struct GpoResponse<'a> {
    /// Application Interchange Profile, tag 82.
    pub aip: [u8; AIP_BYTES],
    /// The AFL. Format 2 may lack it; a contact kernel then ends the transaction, contactless kernels 1 and 3 go on.
    pub afl: Option<Afl>,
    /// The objects of format 2, AIP and AFL included; empty for format 1.
    pub objects: Vec<Element<'a>>,
}

impl<'a> GpoResponse<'a> {
    /// Reads the response data field (without status word).
    ///
    /// # Errors
    /// See [`GpoError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, GpoError> {
        if let Ok(format_1) = single_template(bytes, tags::RESPONSE_FORMAT_1) {
            return parse_format_1(&format_1);
        }
        let format_2 = single_template(bytes, tags::RESPONSE_FORMAT_2)?;
        parse_format_2(&format_2)
    }
}

fn parse_format_1<'a>(element: &Element<'a>) -> Result<GpoResponse<'a>, GpoError> {
    let (aip, afl) = element
        .value
        .split_at_checked(AIP_BYTES)
        .ok_or(TlvError::ValueLength { tag: element.tag, offset: element.value_offset })?;
    Ok(GpoResponse { aip: [aip[0], aip[1]], afl: Some(Afl::parse(afl)?), objects: Vec::new() })
}

fn parse_format_2<'a>(template: &Element<'a>) -> Result<GpoResponse<'a>, GpoError> {
    let objects = Elements::at(template.value, template.value_offset).collect::<Result<Vec<_>, _>>()?;
    let aip = objects.iter().find(|object| object.tag == tags::AIP).ok_or(TlvError::Missing { tag: tags::AIP })?;
    let aip_value: [u8; AIP_BYTES] =
        aip.value.try_into().map_err(|_| TlvError::ValueLength { tag: tags::AIP, offset: aip.value_offset })?;
    let afl =
        objects.iter().find(|object| object.tag == tags::AFL).map(|object| Afl::parse(object.value)).transpose()?;
    Ok(GpoResponse { aip: aip_value, afl, objects })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn format_1_needs_an_afl() {
        assert!(GpoResponse::parse(&[0x80, 0x02, 0x00, 0x80]).is_err());
        assert!(GpoResponse::parse(&[0x80, 0x01, 0x00]).is_err());
    }

    #[test]
    fn other_templates_are_refused() {
        assert!(GpoResponse::parse(&[0x70, 0x06, 0x00, 0x80, 8, 1, 1, 0]).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = GpoResponse::parse(&bytes);
        }
    }
}
