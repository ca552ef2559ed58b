//! Any text as a key block: refused unless its MAC is right, and a header that reads is written and read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paycrypto::key_block::{ImportPolicy, KeyBlockHeader, OptionalBlock, ProtectionKey, unwrap};

fuzz_target!(|data: &[u8]| {
    let keys = [ProtectionKey::tdes(&[0x3D; 16]), ProtectionKey::aes(&[0x3D; 32])];
    for key in keys.into_iter().flatten() {
        // Four bytes of MAC (versions A and C) can be met by chance, eight cannot.
        if let Ok(opened) = unwrap(&key, data, &ImportPolicy::default()) {
            assert_eq!(opened.header.version.mac_bytes(), 4, "a key block out of nothing");
        }
    }
    let Ok(parsed) = KeyBlockHeader::parse(data) else { return };
    for block in &parsed.header.optional_blocks {
        if let Ok(content) = block.content() {
            let written = OptionalBlock::with_content(&content).expect("content that was read");
            assert_eq!(written.content(), Ok(content));
        }
    }
    // Writing may need one padding block more than there is room for.
    let Ok(bytes) = parsed.header.text_bytes() else { return };
    let Ok(text) = parsed.header.to_text(bytes) else { return };
    let again = KeyBlockHeader::parse(text.as_bytes()).expect("our own header");
    assert_eq!(again.header.to_text(bytes).expect("written before"), text);
});
