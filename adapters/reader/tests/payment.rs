//! A payment through a reader: the real kernel, both protocols, and cards that go wrong at every single command.

#[cfg(test)]
mod common;

#[cfg(test)]
mod tests {
    use super::common::pay;
    use card::{Fault, FaultPlan, Protocol, profile};
    use emv::Decision;
    use reader::VirtualReader;

    fn slot(name: &str, protocol: Protocol, plan: FaultPlan) -> VirtualReader {
        let mut reader = VirtualReader::empty();
        reader.set_protocol(protocol);
        reader.insert(profile(name).unwrap().card(), plan);
        reader
    }

    #[test]
    fn both_protocols_carry_whole_payments() {
        for name in ["unionpay-credit", "visa-credit", "mastercard-credit", "unionpay-sda"] {
            let [block, character] = [Protocol::BlockT1, Protocol::CharacterT0].map(|protocol| {
                let (outcome, commands, fault) = pay(&mut slot(name, protocol, FaultPlan::none()));
                assert_eq!((outcome.decision, fault), (Decision::Approved, None), "{name}");
                (outcome, commands)
            });
            assert_eq!(block, character, "{name}: the protocol does not show");
        }
    }

    #[test]
    fn a_card_that_vanishes_at_any_command_ends_the_payment() {
        let (_, commands, _) = pay(&mut slot("unionpay-credit", Protocol::BlockT1, FaultPlan::none()));
        assert!(commands > 10);
        for fault in [Fault::RemovedBefore, Fault::RemovedAfter, Fault::Mute, Fault::Truncated(1), Fault::Truncated(0)]
        {
            for at in 0..commands {
                let mut reader = slot("unionpay-credit", Protocol::BlockT1, FaultPlan::none().with(at, fault));
                let (outcome, sent, _) = pay(&mut reader);
                assert_ne!(outcome.decision, Decision::Approved, "{fault:?} at {at}");
                assert!(sent <= commands);
            }
        }
    }
}
