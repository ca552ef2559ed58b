//! Any bytes as a message of each dialect: refused with an offset inside the input, or decoded and encoded to the same bytes.
#![no_main]

use iso8583::{decode, dialect, unionpay};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for name in dialect::NAMES {
        let spec = dialect::by_name(name).expect("a dialect of the list");
        match decode(spec, data) {
            Ok(message) => {
                let mut again = Vec::new();
                message.encode(&mut again).expect("what was decoded can be encoded");
                assert_eq!(again, message.body());
            }
            Err(error) => assert!(error.offset <= data.len()),
        }
    }
    if let Ok(opened) = unionpay::open_frame(data)
        && let Ok(body) = unionpay::Body::from_message(&opened.message)
    {
        let _ = unionpay::MessageKind::of(&body);
    }
    let _ = acquirer::route(data);
});
