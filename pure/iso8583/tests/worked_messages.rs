//! Every worked message decodes to its tabled values, comes out again byte for byte, and is refused in every shorter form.

mod common;

use common::{MESSAGES, Worked, unhex};
use iso8583::describe::Disclosure;
use iso8583::unionpay::{
    Body, Frame, Layout, MAX_FRAME_OCTETS, MessageKind, describe_opened, locate, mac_input, open, open_frame, split,
};
use iso8583::{FieldPath, Message, decode, dialect, frame::Progress};

fn message(name: &str) -> &'static Worked {
    MESSAGES.iter().find(|message| message.name == name).expect("a worked message")
}

#[test]
fn tabled_values() {
    for worked in &MESSAGES {
        let bytes = unhex(worked.frame);
        let opened = open_frame(&bytes).unwrap();
        assert_eq!(opened.layout, Layout::Frame, "{}", worked.name);
        let lines = describe_opened(&opened, Disclosure::TestData);
        for (path, value) in worked.values {
            let line = lines.iter().find(|line| line.path == *path);
            let found = line.map(|line| line.value.as_str());
            assert_eq!(found, Some(*value), "{} field {path}", worked.name);
        }
    }
}

#[test]
fn the_same_bytes_again_from_fields_and_from_values() {
    for worked in &MESSAGES {
        let bytes = unhex(worked.frame);
        let opened = locate(Layout::Frame, &bytes).unwrap();
        let mut copied = Vec::new();
        opened.message.encode(&mut copied).unwrap();
        assert_eq!(copied, opened.message.body(), "{}", worked.name);
        let mut framed = Vec::new();
        Frame::decode(&bytes).unwrap().encode(&mut framed).unwrap();
        assert_eq!(framed, bytes, "{}", worked.name);
        let duplicate = Body::from_message(&opened.message).unwrap().duplicate();
        assert_eq!(duplicate.to_secret_bytes().unwrap().expose(), copied, "{}", worked.name);
    }
}

#[test]
fn every_layout_is_found_by_itself() {
    for worked in &MESSAGES {
        let bytes = unhex(worked.frame);
        assert_eq!(open_frame(&bytes[2..]).unwrap().layout, Layout::Tpdu, "{}", worked.name);
        assert_eq!(open_frame(&bytes[13..]).unwrap().layout, Layout::Body, "{}", worked.name);
        assert!(open(&bytes[2..]).is_ok());
    }
}

#[test]
fn every_truncation_is_refused_with_an_offset() {
    for worked in &MESSAGES {
        let bytes = unhex(worked.frame);
        for (start, layout) in [(0, Layout::Frame), (2, Layout::Tpdu), (13, Layout::Body)] {
            let whole = &bytes[start..];
            for length in 0..whole.len() {
                let error = locate(layout, &whole[..length]).unwrap_err();
                assert!(error.offset <= length, "{} cut to {length}: {error}", worked.name);
                assert!(open_frame(&whole[..length]).is_err(), "{} cut to {length}", worked.name);
                assert!(error.to_string().contains("offset"));
            }
        }
    }
}

#[test]
fn a_stream_waits_until_the_frame_is_whole() {
    for worked in &MESSAGES {
        let bytes = unhex(worked.frame);
        for length in 0..bytes.len() {
            assert!(matches!(split(&bytes[..length]), Ok(Progress::NeedMore(_))));
        }
        let total = bytes.len();
        assert_eq!(split(&bytes), Ok(Progress::Complete { prefix: 2, total }));
    }
    let oversize = u16::try_from(MAX_FRAME_OCTETS + 1).unwrap().to_be_bytes();
    assert_eq!(split(&oversize).unwrap_err().path, FieldPath::Length);
}

#[test]
fn masked_descriptions_and_debug_output_show_no_secret() {
    for worked in &MESSAGES {
        let bytes = unhex(worked.frame);
        let opened = open_frame(&bytes).unwrap();
        let body = Body::from_message(&opened.message).unwrap();
        let shown = format!("{:?}{body:?}{opened:?}", describe_opened(&opened, Disclosure::Masked));
        for (path, value) in worked.values {
            let secret = matches!(*path, "2" | "35" | "36" | "52" | "55") || (worked.name, *path) == ("W2", "62");
            assert!(!secret || !shown.contains(value), "{} field {path} is shown", worked.name);
        }
    }
}

#[test]
fn kinds_and_mac_inputs() {
    let kinds = [
        ("W1", MessageKind::SignIn(3)),
        ("W2", MessageKind::SignIn(3)),
        ("W3", MessageKind::Sale),
        ("W5", MessageKind::Reversal),
        ("S4", MessageKind::Sale),
        ("S9", MessageKind::Settlement),
        ("S10", MessageKind::Settlement),
        ("S11", MessageKind::BatchEnd { balanced: true }),
        ("S12", MessageKind::CapkStatus),
        ("S14", MessageKind::CapkDownload),
        ("S17", MessageKind::SignOff),
    ];
    for (name, kind) in kinds {
        let bytes = unhex(message(name).frame);
        let opened = open_frame(&bytes).unwrap();
        assert_eq!(MessageKind::of(&Body::from_message(&opened.message).unwrap()), kind, "{name}");
    }
    let sale = unhex(message("S3").frame);
    let body = &sale[13..];
    let input = mac_input(body).unwrap();
    assert_eq!(input.len(), 259);
    assert_eq!(decode(&dialect::unionpay::SPEC, body).unwrap().body_before(64), input);
    assert_eq!(mac_input(&unhex(message("S1").frame)[13..]), None);
}

#[test]
fn a_mac_is_put_where_it_belongs() {
    let sale = unhex(message("S3").frame);
    let mut body = Body::from_message(&open_frame(&sale).unwrap().message).unwrap();
    body.mac = None;
    let mut out = vec![0xEE];
    let mut seen = Vec::new();
    body.encode_with_mac(&mut out, |input| {
        seen = input.to_vec();
        Ok::<_, iso8583::EncodeError>(*b"60C8A01F")
    })
    .unwrap();
    assert_eq!(&out[1..], &sale[13..]);
    assert_eq!(seen, mac_input(&sale[13..]).unwrap());
    body.trace = Some(1_000_000);
    let before = out.clone();
    let error = body.encode_with_mac(&mut out, |_| Ok::<_, iso8583::EncodeError>(*b"00000000"));
    assert_eq!(error.unwrap_err().path, FieldPath::Field(11));
    assert_eq!(out, before, "a refused message leaves nothing behind");
}

#[test]
fn malformed_messages_name_field_and_offset() {
    let sale = unhex(message("S3").frame);
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = sale[13..].to_vec();
        change(&mut body);
        let error = locate(Layout::Body, &body).unwrap_err();
        (error.offset, error.path)
    };
    assert_eq!(refused(&|body| body[1] = 0x0A), (0, FieldPath::Mti));
    assert_eq!(refused(&|body| body[10] = 0x20), (10, FieldPath::Field(2)), "PAN of 20 digits");
    assert_eq!(refused(&|body| body[11] = 0xA2), (11, FieldPath::Field(2)), "PAN with a letter");
    assert_eq!(refused(&|body| body[2] |= 0x80), (10, FieldPath::Field(1)), "second bitmap");
    assert_eq!(refused(&|body| body[3] |= 0x80), (30, FieldPath::Field(9)), "a field the dialect lacks");
    assert_eq!(refused(&|body| body.push(0)), (sale.len() - 13, FieldPath::Trailer));
    let mut foreign = sale.clone();
    foreign[2] = 0x61;
    assert_eq!(locate(Layout::Frame, &foreign).unwrap_err().path, FieldPath::Tpdu);
    let mut short = sale.clone();
    short[1] -= 1;
    assert_eq!(locate(Layout::Frame, &short).unwrap_err().path, FieldPath::Trailer);
}

#[test]
fn the_filler_nibble_may_hold_anything_and_survives() {
    let sale = unhex(message("S3").frame);
    let mut body = sale[13..].to_vec();
    body[20] |= 0x0F;
    let decoded: Message<'_> = decode(&dialect::unionpay::SPEC, &body).unwrap();
    assert_eq!(decoded.field(2).unwrap().text(), "6222620000000000012");
    let mut again = Vec::new();
    decoded.encode(&mut again).unwrap();
    assert_eq!(again, body);
}
