//! What a TPM's answers mean to a custody.

use keys::CustodyFailure;
use tss_esapi::Error;
use tss_esapi::constants::response_code::{FormatZeroResponseCode, Tss2ResponseCode, Tss2ResponseCodeKind as Kind};

const VERSION_BIT: u32 = 0x100;

/// A failure, and whether the TPM only lacks room.
pub struct Fault {
    pub failure: CustodyFailure,
    /// No slot for an object or a session is free. Somebody without a resource manager left handles behind.
    pub out_of_slots: bool,
}

impl From<CustodyFailure> for Fault {
    fn from(failure: CustodyFailure) -> Self {
        Self { failure, out_of_slots: false }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let out_of_slots = matches!(
            kind(&error),
            Some(Kind::ObjectMemory | Kind::SessionMemory | Kind::SessionHandles | Kind::Memory)
        );
        Self { failure: meaning(&error), out_of_slots }
    }
}

/// The TPM's own answer; `None` if the software between us and it failed.
pub fn kind(error: &Error) -> Option<Kind> {
    match error {
        Error::Tss2Error(Tss2ResponseCode::FormatZero(code)) if !of_a_tpm_2(*code) => None,
        Error::Tss2Error(code) => code.kind(),
        Error::WrapperError(_) => None,
    }
}

/// A response of a TPM 2.0 in format zero has the version bit (TPM 2.0 Part 2 §6.6.2); the layers' own codes do not.
fn of_a_tpm_2(code: FormatZeroResponseCode) -> bool {
    // The number comes out of its type only as text.
    let text = code.to_string();
    let number = text.rsplit("0x").next().and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.is_some_and(|number| number & VERSION_BIT != 0)
}

fn meaning(error: &Error) -> CustodyFailure {
    match (error, kind(error)) {
        (_, Some(Kind::Lockout)) => CustodyFailure::Locked,
        (_, Some(Kind::AuthFail | Kind::BadAuth)) => CustodyFailure::WrongSecret(None),
        (_, Some(Kind::PolicyFail | Kind::PcrChanged)) => CustodyFailure::StateChanged,
        (_, Some(Kind::Integrity)) => CustodyFailure::NotAuthentic,
        (_, Some(Kind::Handle)) => CustodyFailure::KeyMissing("the TPM has nothing at this handle".to_owned()),
        (_, Some(Kind::Initialize)) => CustodyFailure::Unreachable("the TPM was not started".to_owned()),
        (Error::Tss2Error(_), None) => CustodyFailure::Unreachable(format!("{error:?}")),
        (_, Some(kind)) => CustodyFailure::Device(format!("{kind:?}")),
        (Error::WrapperError(kind), None) => CustodyFailure::Device(kind.to_string()),
    }
}
