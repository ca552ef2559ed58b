//! Any bytes as journal records and frames: refused, or read into records that encode to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use machine::MachineId;
use machine::frame::{ChainHead, open};
use machine::wire::Encode;

fuzz_target!(|data: &[u8]| {
    let head = ChainHead::genesis(MachineId::new("till").expect("a name"));
    let _ = open(head, 1, data);
    if let Ok(record) = till::Record::from_bytes(data) {
        assert_eq!(record.to_bytes(), data);
    }
    let _ = acquirer::Record::from_bytes(data);
});
