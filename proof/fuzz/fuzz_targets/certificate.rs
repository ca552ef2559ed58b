//! Any bytes as CAPK downloads: refused or loaded, never a panic. (Recovery itself is reached through the kernel's tests.)
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = emv::Capk::parse_download(data);
    let _ = iso8583::unionpay::Capk::parse(data);
    let _ = iso8583::unionpay::AidParameters::parse(data);
});
