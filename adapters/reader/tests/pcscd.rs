//! A payment through the real PC/SC service: the virtual card behind vpcd, the reader in front of it.
//!
//! Needs a running pcscd with vsmartcard's vpcd on its default port, so it only runs when asked for:
//! `cargo test -p reader --features pcsc --test pcscd -- --ignored`.

#[cfg(all(test, feature = "pcsc"))]
mod common;

#[cfg(all(test, feature = "pcsc"))]
mod tests {
    use super::common::pay;
    use card::profile;
    use emv::Decision;
    use reader::vpcd::{self, StopSignal};
    use reader::{PcscReader, Reader as _, ReaderFault};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Detection is polled by the service: a second or so. An APDU takes well under a millisecond unless
    /// acknowledgements are delayed, which costs 40 ms each.
    const CARD_WAIT: Duration = Duration::from_secs(10);
    const APDU_MS_MAX: u128 = 20;

    #[test]
    #[ignore = "needs pcscd with vpcd"]
    fn every_scheme_pays_through_the_real_service() {
        for name in ["unionpay-credit", "visa-credit", "mastercard-credit"] {
            let stop = StopSignal::new();
            let address = format!("127.0.0.1:{}", vpcd::DEFAULT_PORT);
            let server = thread::spawn({
                let (stop, card) = (stop.clone(), profile(name).unwrap().card());
                move || vpcd::serve(card, &address, &stop, |_, _| {})
            });
            let mut reader = PcscReader::open(Some("00 00")).unwrap();
            assert!(reader.wait_for_card(true, CARD_WAIT).unwrap(), "{name}: the card is seen");
            let begun = Instant::now();
            let (outcome, commands, fault) = pay(&mut reader);
            let per_command_ms = begun.elapsed().as_millis() / u128::from(commands);
            assert_eq!((outcome.decision, fault), (Decision::Approved, None), "{name}");
            assert!(per_command_ms < APDU_MS_MAX, "{name}: {per_command_ms} ms a command");
            stop.stop();
            let card = server.join().unwrap();
            assert_eq!(card.state().applications[0].transaction_counter, 1, "{name}");
            assert!(reader.wait_for_card(false, CARD_WAIT).unwrap(), "{name}: the card is gone");
            assert_eq!(reader.power_on(), Err(ReaderFault::CardGone), "{name}");
        }
    }
}
