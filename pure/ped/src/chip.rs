//! F55: which chip data goes into which message (unionpay-pos §6).

use pedlink::ChipData;
use tlv::Tag;
use tlv::ber::{Element, Elements};
use tlv::tags;

/// Card product identification (UnionPay).
const CARD_PRODUCT: Tag = Tag::new(0x9F63);
/// Issuer authorisation code of electronic cash (UnionPay).
const ECASH_AUTHORISATION: Tag = Tag::new(0x9F74);

/// Longest script result in F55, in bytes: as many whole results as a one-byte length can announce beside the rest.
pub(crate) const SCRIPT_RESULTS_BYTES_MAX: usize = 120;

/// Room for chip data at first, in bytes: most transactions need no more.
const ROOM_BYTES: usize = 256;
/// Room for the objects of two records at first.
const ROOM_OBJECTS: usize = 64;

/// What a request carries.
const REQUEST: &[Tag] = &[
    tags::APPLICATION_CRYPTOGRAM,
    tags::CRYPTOGRAM_INFORMATION_DATA,
    tags::ISSUER_APPLICATION_DATA,
    tags::UNPREDICTABLE_NUMBER,
    tags::ATC,
    tags::TVR,
    tags::TRANSACTION_DATE,
    tags::TRANSACTION_TYPE,
    tags::AMOUNT_AUTHORISED,
    tags::TRANSACTION_CURRENCY_CODE,
    tags::AIP,
    tags::TERMINAL_COUNTRY_CODE,
    tags::AMOUNT_OTHER,
    tags::TERMINAL_CAPABILITIES,
    tags::CVM_RESULTS,
    tags::TERMINAL_TYPE,
    tags::IFD_SERIAL_NUMBER,
    tags::DF_NAME,
    tags::APPLICATION_VERSION_TERMINAL,
    tags::TRANSACTION_SEQUENCE_COUNTER,
    CARD_PRODUCT,
];

/// What a batch upload of a certificate carries on top of [`REQUEST`].
const CERTIFICATE_EXTRA: &[Tag] = &[ECASH_AUTHORISATION];
/// What the upload of an offline sale carries on top of both.
const OFFLINE_EXTRA: &[Tag] = &[tags::AUTHORISATION_RESPONSE_CODE];

const REVERSAL: &[Tag] =
    &[tags::TVR, tags::IFD_SERIAL_NUMBER, tags::ISSUER_APPLICATION_DATA, tags::UNIONPAY_SCRIPT_RESULTS];

const CARD_DECLINED: &[Tag] =
    &[tags::TVR, tags::IFD_SERIAL_NUMBER, tags::ISSUER_APPLICATION_DATA, tags::ATC, tags::UNIONPAY_SCRIPT_RESULTS];

const SCRIPT_NOTICE: &[Tag] = &[
    tags::APPLICATION_CRYPTOGRAM,
    tags::ISSUER_APPLICATION_DATA,
    tags::UNPREDICTABLE_NUMBER,
    tags::ATC,
    tags::TVR,
    tags::TRANSACTION_DATE,
    tags::AIP,
    tags::TERMINAL_COUNTRY_CODE,
    tags::TERMINAL_CAPABILITIES,
    tags::IFD_SERIAL_NUMBER,
    tags::UNIONPAY_SCRIPT_RESULTS,
];

/// Chip data of one transaction: TLV objects as they stood at the first and at the last GENERATE AC.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct ChipRecord {
    /// As of the request.
    pub(crate) request: Vec<u8>,
    /// As of the end, if the card was finished.
    pub(crate) last: Option<Vec<u8>>,
}

impl ChipRecord {
    /// F55 of a message, or `None` where it carries none. Reversals with reason 98 and A0 repeat 95 and 9F10 of the request.
    pub(crate) fn field_55(&self, kind: ChipData) -> Option<Vec<u8>> {
        let last = self.last.as_deref().unwrap_or(&self.request);
        let content = match kind {
            ChipData::None => return None,
            ChipData::Request => select(&[&self.request], &[REQUEST]),
            ChipData::Reversal => select(&[&self.request, last], &[REVERSAL]),
            ChipData::CardDeclined => select(&[last], &[CARD_DECLINED]),
            ChipData::ScriptNotice => select(&[last], &[SCRIPT_NOTICE]),
            ChipData::Certificate => select(&[last], &[REQUEST, CERTIFICATE_EXTRA]),
            ChipData::OfflineSale => select(&[last], &[REQUEST, CERTIFICATE_EXTRA, OFFLINE_EXTRA]),
        };
        (!content.is_empty()).then_some(content)
    }
}

/// Keeps of a kernel's data what any message may carry. `value_of` gives a data object's value.
pub(crate) fn collect<'a>(value_of: impl Fn(Tag) -> Option<&'a [u8]>) -> Vec<u8> {
    let mut builder = tlv::Builder::with_capacity(ROOM_BYTES);
    for tag in REQUEST.iter().chain(CERTIFICATE_EXTRA).chain(OFFLINE_EXTRA) {
        if let Some(value) = value_of(*tag) {
            builder.push(*tag, value);
        }
    }
    if let Some(results) = value_of(tags::UNIONPAY_SCRIPT_RESULTS) {
        let length = results.len().min(SCRIPT_RESULTS_BYTES_MAX);
        builder.push(tags::UNIONPAY_SCRIPT_RESULTS, &results[..length]);
    }
    builder.into_bytes()
}

/// The listed objects in order, each from the first source that has it.
fn select(sources: &[&[u8]], lists: &[&[Tag]]) -> Vec<u8> {
    let mut objects: Vec<Element<'_>> = Vec::with_capacity(ROOM_OBJECTS);
    for source in sources {
        objects.extend(Elements::new(source).map_while(Result::ok));
    }
    let mut builder = tlv::Builder::with_capacity(ROOM_BYTES);
    for tag in lists.iter().copied().flatten() {
        if let Some(object) = objects.iter().find(|object| object.tag == *tag) {
            builder.push(*tag, object.value);
        }
    }
    builder.into_bytes()
}

/// The value of an object at the top level.
pub(crate) fn find(bytes: &[u8], tag: Tag) -> Option<&[u8]> {
    Elements::new(bytes).map_while(Result::ok).find(|element| element.tag == tag).map(|element| element.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(objects: &[(Tag, &[u8])]) -> Vec<u8> {
        let mut builder = tlv::Builder::new();
        for (tag, value) in objects {
            builder.push(*tag, value);
        }
        builder.into_bytes()
    }

    #[test]
    fn a_reversal_repeats_the_request_and_adds_script_results() {
        let request = tlv(&[(tags::TVR, &[1; 5]), (tags::ISSUER_APPLICATION_DATA, &[7; 8]), (tags::ATC, &[0, 9])]);
        let last = tlv(&[
            (tags::TVR, &[2; 5]),
            (tags::ISSUER_APPLICATION_DATA, &[8; 8]),
            (tags::ATC, &[0, 9]),
            (tags::UNIONPAY_SCRIPT_RESULTS, &[3; 5]),
        ]);
        let record = ChipRecord { request, last: Some(last) };
        let reversal = record.field_55(ChipData::Reversal).unwrap();
        assert_eq!(find(&reversal, tags::TVR), Some(&[1; 5][..]));
        assert_eq!(find(&reversal, tags::UNIONPAY_SCRIPT_RESULTS), Some(&[3; 5][..]));
        assert_eq!(find(&reversal, tags::ATC), None);
        let declined = record.field_55(ChipData::CardDeclined).unwrap();
        assert_eq!(find(&declined, tags::TVR), Some(&[2; 5][..]));
        assert_eq!(find(&declined, tags::ATC), Some(&[0, 9][..]));
    }

    #[test]
    fn account_data_is_never_collected() {
        let data = |tag: Tag| match tag {
            tags::PAN | tags::TRACK_2_EQUIVALENT => Some(&[0x62; 8][..]),
            tags::TVR => Some(&[0; 5][..]),
            _ => None,
        };
        let collected = collect(data);
        assert_eq!(find(&collected, tags::PAN), None);
        assert!(find(&collected, tags::TVR).is_some());
        assert!(REQUEST.iter().all(|tag| !tlv::dictionary::is_sensitive(*tag)));
    }
}
