//! Any bytes as a data object list: what is built has the length that the list asks for, and splits again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(dol) = tlv::Dol::parse(data) else { return };
    let built = dol.build(|_| Some(&[0x12, 0x34, 0x56][..]));
    assert_eq!(built.len(), dol.total_length());
    assert!(dol.split(&built).is_ok());
});
