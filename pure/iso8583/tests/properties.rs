//! Properties over random layouts, values and bytes.

use iso8583::bitmap::{BitmapCoding, BitmapExtent, BitmapSpec};
use iso8583::spec::{Encoding, FieldSpec, Kind, Length, NibbleAlphabet, OddPad, Spec};
use iso8583::unionpay::{Body, Capk, KeyDelivery, Totals, open_frame, parse_batch_details, parse_tags59};
use iso8583::{Encoder, LengthPrefix, decode, dialect};
use proptest::prelude::*;
use std::borrow::Cow;

/// A layout for one value, and a value that fits it.
fn field_and_value() -> impl Strategy<Value = (FieldSpec, String)> {
    let digits = "[0-9]{0,30}";
    let packed = |alphabet| Encoding::Packed(alphabet);
    let odd = prop_oneof![(0_u8..16).prop_map(OddPad::Left), (0_u8..16).prop_map(OddPad::Right)];
    let encodings = prop_oneof![
        (Just((Kind::Numeric, packed(NibbleAlphabet::Decimal))), digits),
        (Just((Kind::Track, packed(NibbleAlphabet::TrackEquals))), "[0-9=A-CEF]{0,30}"),
        (Just((Kind::Track, packed(NibbleAlphabet::Offset30))), "[0-?]{0,30}"),
        (Just((Kind::Binary, packed(NibbleAlphabet::Hex))), "[0-9A-F]{0,30}"),
        (Just((Kind::Numeric, Encoding::Ascii)), digits),
        (Just((Kind::AlphaNumeric, Encoding::Ascii)), "[ -~]{0,30}"),
        (Just((Kind::Text, Encoding::Latin1)), "[\u{0}-\u{FF}]{0,30}"),
        (Just((Kind::Text, Encoding::Ebcdic)), "[\u{0}-\u{FF}]{0,30}"),
        (Just((Kind::Binary, Encoding::HexAscii)), "[0-9A-F]{0,30}"),
        (Just((Kind::Binary, Encoding::Octets)), "([0-9A-F]{2}){0,15}"),
        (Just((Kind::SignedNumeric, Encoding::SignedPacked)), "[CD][0-9]{0,15}"),
    ];
    let prefix = prop_oneof![
        Just(LengthPrefix::ascii(2)),
        Just(LengthPrefix::ebcdic(3)),
        Just(LengthPrefix::bcd(3)),
        Just(LengthPrefix::binary(1)),
        Just(LengthPrefix::hex_ascii(1)),
    ];
    (encodings, odd, prop::option::of(prefix)).prop_map(|(((kind, encoding), value), odd, prefix)| {
        let characters = value.chars().count();
        let units = if encoding == Encoding::Octets { characters / 2 } else { characters };
        let field = match prefix {
            Some(prefix) => FieldSpec::variable(kind, encoding, prefix, 40),
            None => FieldSpec::fixed(kind, encoding, units),
        };
        (field.odd(odd), value)
    })
}

fn bitmap_spec() -> impl Strategy<Value = BitmapSpec> {
    let coding = prop_oneof![Just(BitmapCoding::Binary), Just(BitmapCoding::HexAscii), Just(BitmapCoding::HexEbcdic)];
    let extent = prop_oneof![
        Just(BitmapExtent::Single),
        Just(BitmapExtent::Double),
        Just(BitmapExtent::Triple),
        Just(BitmapExtent::AlwaysDouble)
    ];
    (coding, extent).prop_map(|(coding, extent)| BitmapSpec::new(coding, extent))
}

/// A random layout and a message for it.
fn layout_and_values() -> impl Strategy<Value = (Spec, Vec<(u8, String)>)> {
    let fields = prop::collection::btree_map(2_u8..=192, field_and_value(), 0..12);
    (bitmap_spec(), fields).prop_map(|(bitmap, fields)| {
        let mut table = vec![None; 193];
        let mut values = Vec::new();
        for (number, (field, value)) in fields {
            if number <= bitmap.max_field() && !bitmap.is_presence_bit(number) {
                table[usize::from(number)] = Some(field);
                values.push((number, value));
            }
        }
        let mti = FieldSpec::fixed(Kind::Numeric, Encoding::Packed(NibbleAlphabet::Decimal), 4);
        let spec = Spec { name: Cow::Borrowed(""), header: None, mti, bitmap, fields: Cow::Owned(table) };
        (spec, values)
    })
}

fn build(spec: &Spec, values: &[(u8, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(spec, b"0200", &mut out).expect("a message type");
    for (number, value) in values {
        encoder.text(*number, value).expect("a value that fits");
    }
    encoder.finish();
    out
}

/// A value for a field of the UnionPay dialect, from a seed of digits.
fn unionpay_value(number: u8, field: &FieldSpec, length: usize, digits: &str) -> String {
    let units = match field.length() {
        Length::Fixed(length) => length,
        Length::Variable { max, .. } if number == 60 => 8 + length % (max - 7),
        Length::Variable { max, .. } => length % (max + 1),
    };
    let characters = if field.kind() == Kind::Binary { units * 2 } else { units };
    digits.chars().cycle().take(characters).collect()
}

/// A UnionPay message with a random choice of fields.
fn unionpay_message() -> impl Strategy<Value = Vec<u8>> {
    let choice = prop::collection::vec((any::<bool>(), 0_usize..400), 65);
    (choice, "[0-9]{7}").prop_map(|(choice, digits)| {
        let spec = &dialect::unionpay::SPEC;
        let mut values = Vec::new();
        for (number, (chosen, length)) in (0_u8..).zip(choice) {
            if let (true, Some(field)) = (chosen, spec.field(number)) {
                values.push((number, unionpay_value(number, field, length, &digits)));
            }
        }
        build(spec, &values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_reads_back((spec, values) in layout_and_values()) {
        spec.validate().unwrap();
        let wire = build(&spec, &values);
        let message = decode(&spec, &wire).unwrap();
        let read: Vec<(u8, String)> =
            message.fields().map(|field| (field.number_in_message(), field.text())).collect();
        prop_assert_eq!(&read, &values);
        for (number, value) in &values {
            prop_assert_eq!(&message.field(*number).unwrap().text(), value);
        }
        let mut again = Vec::new();
        message.encode(&mut again).unwrap();
        prop_assert_eq!(again, wire);
    }

    #[test]
    fn no_proper_prefix_of_a_message_is_a_message((spec, values) in layout_and_values()) {
        let wire = build(&spec, &values);
        for length in 0..wire.len() {
            let error = decode(&spec, &wire[..length]).unwrap_err();
            prop_assert!(error.offset <= length && error.end <= length);
        }
    }

    #[test]
    fn a_changed_message_is_refused_or_survives_a_round_trip(
        (spec, values) in layout_and_values(), index in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut wire = build(&spec, &values);
        let index = index.index(wire.len());
        wire[index] = byte;
        if let Ok(message) = decode(&spec, &wire) {
            let mut again = Vec::new();
            message.encode(&mut again).unwrap();
            prop_assert_eq!(again, wire);
        }
    }

    #[test]
    fn typed_values_give_the_same_message_again(wire in unionpay_message()) {
        let message = decode(&dialect::unionpay::SPEC, &wire).unwrap();
        let body = Body::from_message(&message).unwrap();
        for encoded in [body.to_secret_bytes().unwrap(), body.duplicate().to_secret_bytes().unwrap()] {
            prop_assert_eq!(encoded.expose(), &wire[..]);
        }
        let bare = body.without_account_data();
        prop_assert!(bare.pan.is_none() && bare.track2.is_none() && bare.private_data.is_none());
    }

    #[test]
    fn a_refused_field_leaves_nothing_behind(value in "[0-9]{0,3}[a-z]{1,3}") {
        let spec = &dialect::unionpay::SPEC;
        let mut out = Vec::new();
        let mut encoder = Encoder::new(spec, b"0200", &mut out).unwrap();
        encoder.characters(3, b"000000").unwrap();
        prop_assert!(encoder.text(32, &value).is_err());
        encoder.characters(60, b"22000001").unwrap();
        encoder.finish();
        let message = decode(spec, &out).unwrap();
        prop_assert!(message.has(3) && !message.has(32) && message.has(60));
        let mut dropped = vec![1, 2];
        drop(Encoder::new(spec, b"0200", &mut dropped).unwrap());
        prop_assert_eq!(dropped, [1, 2]);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for name in dialect::NAMES {
            let _ = decode(dialect::by_name(name).unwrap(), &bytes);
        }
        if let Ok(opened) = open_frame(&bytes) {
            let _ = Body::from_message(&opened.message);
        }
        let _ = Capk::parse(&bytes);
        let _ = iso8583::unionpay::AidParameters::parse(&bytes);
        let _ = iso8583::unionpay::parse_capk_list(&bytes);
        let _ = iso8583::unionpay::parse_aid_list(&bytes);
        let _ = iso8583::unionpay::IcUpload::parse(&bytes);
        let _ = iso8583::unionpay::Balance::parse(&bytes);
        let _ = KeyDelivery::parse(&bytes, false);
        let _ = Totals::parse(&bytes);
        let _ = parse_batch_details(&bytes);
        let _ = parse_tags59(&bytes);
    }

    /// Bytes that look like a message get further than random ones.
    #[test]
    fn plausible_unionpay_bytes_never_panic(
        bitmap in any::<[u8; 8]>(), rest in prop::collection::vec(0_u8..=0x30, 0..300),
    ) {
        let mut bytes = vec![0x02, 0x00];
        bytes.extend(bitmap);
        bytes.extend(rest);
        if let Ok(message) = decode(&dialect::unionpay::SPEC, &bytes) {
            let mut again = Vec::new();
            message.encode(&mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}
