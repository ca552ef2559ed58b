//! Any bytes as BER-TLV: refused, or parsed into a tree whose encoding parses to the same tree.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(tree) = tlv::ber::parse(data) {
        let encoded = tlv::ber::encode(&tree);
        assert_eq!(tlv::ber::parse(&encoded).expect("our own encoding parses"), tree);
    }
    let _ = tlv::Afl::parse(data);
    let _ = tlv::GpoResponse::parse(data);
    let _ = tlv::Fci::parse(data);
    let _ = tlv::CvmList::parse(data);
    let _ = tlv::Atr::parse(data);
});
