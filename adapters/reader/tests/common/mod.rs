//! A payment through any reader.

use card::test_capks;
use emv::oda::CapkParts;
use emv::{
    Capk, CapkSet, EmvDate, Input, Kernel, OnlineResult, Outcome, Output, PinKind, PinOutcome, TerminalApplication,
    TerminalConfig, TransactionData,
};
use reader::{Reader, ReaderFault};
use types::Pin;

const CHINA: [u8; 2] = [0x01, 0x56];

fn kernel() -> Kernel {
    let mut capks = CapkSet::new();
    for capk in test_capks() {
        let parts = CapkParts {
            rid: capk.rid,
            index: capk.index,
            modulus: &capk.modulus,
            exponent: &capk.exponent,
            expiry: None,
            checksum: Some(capk.checksum),
        };
        capks.insert(Capk::new(&parts).expect("a sound key"));
    }
    let aids = [&b"\xA0\x00\x00\x03\x33\x01\x01"[..], b"\xA0\x00\x00\x00\x03\x10\x10", b"\xA0\x00\x00\x00\x04\x10\x10"];
    let config = TerminalConfig::merchant(CHINA, aids.map(TerminalApplication::new).into());
    let date = EmvDate::from_bcd([0x26, 0x11, 0x22]).expect("a date");
    Kernel::new(config, capks, TransactionData::purchase(1250, CHINA, date, [1, 2, 3, 4]))
        .expect("a sound configuration")
}

/// The outcome, how many commands went out, and the fault that ended it.
pub fn pay(reader: &mut dyn Reader) -> (Outcome, u32, Option<ReaderFault>) {
    let (mut kernel, mut commands, mut fault) = (kernel(), 0, None);
    reader.power_on().expect("a card");
    let mut input = Input::Start;
    loop {
        input = match kernel.step(input) {
            Output::Transmit(command) => {
                commands += 1;
                match reader.transmit(&command.encode()) {
                    Ok(response) => Input::CardResponse(response),
                    Err(error) => {
                        fault = Some(error);
                        Input::CardGone
                    }
                }
            }
            Output::ChooseApplication(_) => Input::ApplicationChosen(0),
            Output::AskPin(request) if request.kind == PinKind::Online => Input::PinEntered(PinOutcome::Entered),
            Output::AskPin(request) => Input::PinEntered(PinOutcome::Offline {
                pin: Pin::parse("123456").expect("a PIN"),
                random: vec![7; request.random_length_bytes],
            }),
            Output::GoOnline(_) => {
                Input::OnlineResult(OnlineResult::Answered { response_code: *b"00", issuer_data: Vec::new() })
            }
            Output::Finished(outcome) => return (*outcome, commands, fault),
        };
    }
}
