//! Any bytes as APDUs to a card: always an answer that ends with a status word.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let profile = card::profile("unionpay-sda").expect("a profile");
    thread_local! {
        static CARD: std::cell::RefCell<Option<card::Card>> = const { std::cell::RefCell::new(None) };
    }
    CARD.with_borrow_mut(|slot| {
        let card = slot.get_or_insert_with(|| profile.card());
        card.reset();
        for command in data.split(|byte| *byte == 0xFF) {
            assert!(card.apdu(command).len() >= 2);
        }
    });
});
