//! Any bytes on the key socket: refused, or read into words that encode to the same bytes.
#![no_main]

use keys::{SocketReply, SocketRequest};
use libfuzzer_sys::fuzz_target;
use machine::wire::Encode;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = SocketRequest::from_bytes(data) {
        let bytes = request.to_bytes();
        assert_eq!(SocketRequest::from_bytes(&bytes).expect("our own encoding").to_bytes(), bytes);
    }
    let _ = SocketReply::from_bytes(data);
});
