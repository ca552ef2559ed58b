//! What can be wrong with an input. Nothing here carries key, PIN or account data.

/// Why an operation refused its input.
///
/// Callers that face an attacker must not tell the PIN-block variants apart to the outside: which check failed is
/// itself an oracle on the PIN. The key process folds them into one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The key has a length that its algorithm does not know.
    #[error("key length {0} bytes is not one of the algorithm's")]
    KeyLength(usize),
    /// The operation needs a double-length TDES key.
    #[error("the operation needs a double-length key")]
    DoubleLengthNeeded,
    /// Data is not a whole number of cipher blocks, or a fixed-size field has another size.
    #[error("data length {0} bytes does not fit the operation")]
    DataLength(usize),
    /// A number of digits or bytes outside the standard's range was asked for.
    #[error("parameter out of range")]
    Parameter,
    /// The account number is too short, too long or not decimal.
    #[error("account number must be decimal and of the length the format needs")]
    AccountNumber,
    /// The PIN block carries another format's control nibble.
    #[error("PIN block has another format's control nibble")]
    PinBlockControl,
    /// The PIN block's length nibble, digits or filler break its format.
    #[error("PIN block is not well formed")]
    PinBlock,
    /// A wrapped key or an authenticated value failed its integrity check.
    #[error("integrity check failed")]
    Integrity,
    /// A key check value does not belong to the key.
    #[error("key check value does not match")]
    CheckValue,
    /// Key components have unequal lengths, or there are too few of them.
    #[error("key components do not fit together")]
    Components,
    /// A key serial number belongs to another initial key, or has a transaction counter that no terminal uses: zero
    /// where a transaction is meant, or too many one bits (ANSI X9.24-1 annex A, X9.24-3).
    #[error("key serial number is not one that the key's terminal produces")]
    KeySerialNumber,
    /// The transaction counter is at its end: the terminal needs a new initial key.
    #[error("transaction counter exhausted")]
    CounterExhausted,
    /// The key asked for would be stronger than the key that protects or derives it (ANSI X9.24-3).
    #[error("key would be stronger than the key it depends on")]
    KeyStrength,
    /// The track has too few digits to be enciphered or holds something that is no track symbol.
    #[error("track data cannot be enciphered")]
    Track,
    /// The expiry that enters a card verification value is not four decimal digits.
    #[error("expiry must be four decimal digits")]
    Expiry,
    /// A verification value or PIN offset has another number of digits, or a character that is none.
    #[error("verification digits must be decimal and of the length asked for")]
    VerificationDigits,
    /// The PIN is longer or shorter than the verification method takes.
    #[error("PIN has another length than the method takes")]
    PinLength,
    /// A decimalisation table is not sixteen decimal digits.
    #[error("decimalisation table must be sixteen decimal digits")]
    DecimalisationTable,
    /// A decimalisation table is so uneven that it lets PINs be guessed.
    #[error("decimalisation table is too uneven")]
    UnevenDecimalisationTable,
    /// A validation data rule is impossible, or does not fit the account number.
    #[error("validation data rule does not fit")]
    ValidationData,
    /// A nonce or initial vector has a length that the mode does not know.
    #[error("nonce length {0} bytes is not one of the mode's")]
    NonceLength(usize),
    /// An authentication tag has a length that the mode does not know.
    #[error("tag length {0} bytes is not one of the mode's")]
    TagLength(usize),
    /// Curve parameters contradict each other.
    #[error("curve parameters are not those of a usable curve")]
    Curve,
    /// Coordinates are not those of a point on the curve, or the point is at infinity.
    #[error("not a point of the curve")]
    CurvePoint,
    /// A private key or random number is zero or too large for the curve.
    #[error("scalar is out of the curve's range")]
    Scalar,
    /// By rare chance the random number gives a value that the standard forbids: the caller draws another one.
    #[error("another random number is needed")]
    DrawAgain,
}
