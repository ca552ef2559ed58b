//! What a module's answers mean to a custody.

use cryptoki::error::{Error, RvError};
use keys::CustodyFailure;

/// A failure, and whether a new session may cure it.
pub struct Fault {
    pub failure: CustodyFailure,
    /// The session or the token went away under the operation. Never set for anything that has to do with a PIN.
    pub session_lost: bool,
}

impl From<CustodyFailure> for Fault {
    fn from(failure: CustodyFailure) -> Self {
        Self { failure, session_lost: false }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let session_lost = matches!(&error, Error::Pkcs11(code, _) if loses_the_session(*code));
        Self { failure: meaning(&error), session_lost }
    }
}

fn loses_the_session(code: RvError) -> bool {
    matches!(
        code,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::TokenNotPresent
            | RvError::SlotIdInvalid
            | RvError::CryptokiNotInitialized
            | RvError::UserNotLoggedIn
    )
}

fn meaning(error: &Error) -> CustodyFailure {
    match error {
        Error::LibraryLoading(_) | Error::MissingSymbol(_) => CustodyFailure::ModuleMissing(error.to_string()),
        Error::Pkcs11(code, function) => {
            of_code(*code).unwrap_or_else(|| CustodyFailure::Device(format!("{function}: {code:?}")))
        }
        other => CustodyFailure::Device(other.to_string()),
    }
}

fn of_code(code: RvError) -> Option<CustodyFailure> {
    Some(match code {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => CustodyFailure::WrongSecret(None),
        RvError::PinLocked => CustodyFailure::Locked,
        RvError::UserPinNotInitialized => CustodyFailure::NotPossible("the token has no user PIN yet"),
        RvError::PinExpired => CustodyFailure::NotPossible("the token wants the PIN to be changed first"),
        RvError::TokenNotPresent | RvError::TokenNotRecognized | RvError::SlotIdInvalid => {
            CustodyFailure::TokenMissing(format!("{code:?}"))
        }
        RvError::DeviceRemoved | RvError::DeviceError => CustodyFailure::Unreachable(format!("{code:?}")),
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => {
            CustodyFailure::KeyMissing("it went away meanwhile".to_owned())
        }
        RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange => CustodyFailure::NotAuthentic,
        RvError::MechanismInvalid => CustodyFailure::NotPossible("the token does not do AES-GCM (CKM_AES_GCM)"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    fn fault(code: RvError) -> Fault {
        Fault::from(Error::Pkcs11(code, Function::Login))
    }

    #[test]
    fn pin_failures_are_told_apart_and_never_repeated() {
        let cases = [
            (RvError::PinIncorrect, CustodyFailure::WrongSecret(None)),
            (RvError::PinLenRange, CustodyFailure::WrongSecret(None)),
            (RvError::PinLocked, CustodyFailure::Locked),
            (RvError::UserPinNotInitialized, CustodyFailure::NotPossible("the token has no user PIN yet")),
            (RvError::PinExpired, CustodyFailure::NotPossible("the token wants the PIN to be changed first")),
        ];
        for (code, expected) in cases {
            let fault = fault(code);
            assert_eq!(fault.failure, expected);
            assert!(!fault.session_lost, "{code:?}");
        }
    }

    #[test]
    fn a_lost_session_is_tried_again() {
        for code in [RvError::SessionHandleInvalid, RvError::TokenNotPresent, RvError::CryptokiNotInitialized] {
            assert!(fault(code).session_lost, "{code:?}");
        }
        assert!(!fault(RvError::EncryptedDataInvalid).session_lost);
    }

    #[test]
    fn an_unknown_answer_keeps_its_words() {
        let CustodyFailure::Device(words) = fault(RvError::FunctionRejected).failure else { panic!("not kept") };
        assert!(words.contains("FunctionRejected") && words.contains("Login"), "{words}");
    }
}
