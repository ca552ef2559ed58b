//! `sm2-sign`, `sm2-verify`, `sm2-encrypt`, `sm2-decrypt`: SM2 on the recommended curve.

use super::report::Report;
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::{Args, ValueEnum};
use paycrypto::sm2::{
    AffinePoint, COORDINATE_BYTES, CiphertextOrder, Coordinate, Curve, DEFAULT_USER_ID, POINT_BYTES, PrivateKey,
    PublicKey, Signature,
};
use paycrypto::{CryptoError, SM3_DIGEST_BYTES};

/// Clauses.
const IDENTITY: &str = "GB/T 32918.2 §5.5";
const SIGNATURE: &str = "GB/T 32918.2 §6.1";
const VERIFICATION: &str = "GB/T 32918.2 §7.1";
const ENCRYPTION: &str = "GB/T 32918.4 §6.1";
const DECRYPTION: &str = "GB/T 32918.4 §7.1";
/// How often a random number is drawn again.
const DRAWS_MAX: usize = 16;

/// Orders of a ciphertext by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderName {
    /// Point, digest, message: GB/T 32918.4-2016.
    C1c3c2,
    /// Point, message, digest: the draft of 2010.
    C1c2c3,
}

impl From<OrderName> for CiphertextOrder {
    fn from(name: OrderName) -> Self {
        match name {
            OrderName::C1c3c2 => Self::C1C3C2,
            OrderName::C1c2c3 => Self::C1C2C3,
        }
    }
}

impl OrderName {
    fn other(self) -> Self {
        match self {
            Self::C1c3c2 => Self::C1c2c3,
            Self::C1c2c3 => Self::C1c3c2,
        }
    }
}

fn private_key(text: &str) -> Result<PrivateKey, Misuse> {
    let bytes = input::key("private-key", text, &[COORDINATE_BYTES])?;
    let bytes: Coordinate = bytes.try_into().expect("invariant: the length was checked");
    PrivateKey::new(&Curve::recommended(), &bytes).map_err(input::refused("private-key"))
}

/// A point: 64 bytes, or 65 that begin with 04.
fn public_key(text: &str) -> Result<PublicKey, Misuse> {
    let mut bytes = input::hex("public-key", text)?;
    if bytes.len() + 1 == POINT_BYTES {
        bytes.insert(0, 4);
    }
    let point = AffinePoint::from_uncompressed(&bytes).map_err(input::refused("public-key"))?;
    PublicKey::new(&Curve::recommended(), point).map_err(input::refused("public-key"))
}

fn user_id(text: &Option<String>) -> Result<Vec<u8>, Misuse> {
    text.as_deref().map_or(Ok(DEFAULT_USER_ID.to_vec()), |text| input::message("id", text))
}

/// Works with the random number that was given, or draws until one fits.
fn with_random<T>(
    given: &Option<String>,
    work: impl Fn(&Coordinate) -> Result<T, CryptoError>,
) -> Result<(Coordinate, T), Misuse> {
    if let Some(k) = input::fixed_if_given("k", given)? {
        return Ok((k, work(&k).map_err(input::refused("k"))?));
    }
    for _ in 0..DRAWS_MAX {
        let k: Coordinate = super::drawn_array()?;
        match work(&k) {
            Err(CryptoError::Scalar | CryptoError::DrawAgain) => {}
            done => return Ok((k, done.map_err(input::refused("message"))?)),
        }
    }
    Err(input::misuse("message", "no random number fits"))
}

fn show_digests(report: &mut Report, key: &PublicKey, id: &[u8], message: &[u8]) -> Result<(), Misuse> {
    report.step(
        "ZA: digest of identity, curve and key",
        &key.identity_digest(id).map_err(input::refused("id"))?,
        IDENTITY,
    );
    report.step(
        "e: digest of ZA and the message",
        &key.message_digest(id, message).map_err(input::refused("id"))?,
        SIGNATURE,
    );
    Ok(())
}

/// An SM2 signature.
#[derive(Args)]
pub struct SignArguments {
    /// Private key, 32 bytes.
    #[arg(long)]
    private_key: String,
    /// Message, in hex or as `text:…`.
    #[arg(long)]
    message: String,
    /// The signer's identity, in hex or as `text:…`; 1234567812345678 if not said.
    #[arg(long)]
    id: Option<String>,
    /// Random number, 32 bytes; drawn if not said.
    #[arg(long)]
    k: Option<String>,
}

impl Calculate for SignArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let (key, id) = (private_key(&self.private_key)?, user_id(&self.id)?);
        let message = input::message("message", &self.message)?;
        let (k, signature) = with_random(&self.k, |k| key.sign(&id, &message, k))?;
        let mut report = Report::new("sm2-sign")
            .with("private-key", &*key.expose_bytes())
            .with("id", &id)
            .with("message", &message)
            .with("k", &k);
        let point = key.public_key().point();
        report.step("public key", &point.to_uncompressed(), IDENTITY);
        show_digests(&mut report, key.public_key(), &id, &message)?;
        if let Some(point) = Curve::recommended().base_multiple(&k) {
            report.step("x of kG", &point.x, SIGNATURE);
        }
        report.step("r", &signature.r, SIGNATURE);
        report.step("s", &signature.s, SIGNATURE);
        Ok(report.result(&signature.to_bytes()))
    }
}

/// Whether an SM2 signature is right.
#[derive(Args)]
pub struct VerifyArguments {
    /// Public key: both coordinates, with or without 04 in front.
    #[arg(long)]
    public_key: String,
    /// Message, in hex or as `text:…`.
    #[arg(long)]
    message: String,
    /// Signature: r and s, 64 bytes.
    #[arg(long)]
    signature: String,
    /// The signer's identity, in hex or as `text:…`; 1234567812345678 if not said.
    #[arg(long)]
    id: Option<String>,
}

impl Calculate for VerifyArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let (key, id) = (public_key(&self.public_key)?, user_id(&self.id)?);
        let message = input::message("message", &self.message)?;
        let signature = Signature::from_bytes(&input::hex("signature", &self.signature)?);
        let signature = signature.map_err(input::refused("signature"))?;
        let mut report = Report::new("sm2-verify")
            .with("public-key", &key.point().to_uncompressed())
            .with("id", &id)
            .with("message", &message)
            .with("signature", &signature.to_bytes());
        show_digests(&mut report, &key, &id, &message)?;
        report.step("r", &signature.r, VERIFICATION);
        report.step("s", &signature.s, VERIFICATION);
        let verified = key.verify(&id, &message, &signature);
        if verified.is_err() {
            report.why = why_unverified(&key, &id, &message, &signature);
        }
        let result = if verified.is_ok() { "verifies" } else { "does not verify" };
        Ok(report.result(result).holding(verified.is_ok()))
    }
}

/// Other identities and forms that signers use.
fn why_unverified(key: &PublicKey, id: &[u8], message: &[u8], signature: &Signature) -> Option<String> {
    let verifies = |id: &[u8]| key.verify(id, message, signature).is_ok();
    if verifies(DEFAULT_USER_ID) {
        return Some("agrees with the identity 1234567812345678".to_owned());
    }
    if verifies(b"") {
        return Some("agrees with an empty identity".to_owned());
    }
    let plain = paycrypto::sm3(&[message]);
    if key.verify_digest(&plain, signature).is_ok() {
        return Some("agrees with SM3 of the message alone, without ZA".to_owned());
    }
    let swapped = Signature { r: signature.s, s: signature.r };
    key.verify(id, message, &swapped).is_ok().then(|| "agrees with r and s swapped".to_owned())
}

/// SM2 public-key encryption.
#[derive(Args)]
pub struct EncryptArguments {
    /// Public key: both coordinates, with or without 04 in front.
    #[arg(long)]
    public_key: String,
    /// Message, in hex or as `text:…`.
    #[arg(long)]
    message: String,
    /// Random number, 32 bytes; drawn if not said.
    #[arg(long)]
    k: Option<String>,
    /// Order of the three parts.
    #[arg(long, default_value = "c1c3c2")]
    order: OrderName,
}

impl Calculate for EncryptArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let (key, message) = (public_key(&self.public_key)?, input::message("message", &self.message)?);
        if message.is_empty() {
            return Err(input::misuse("message", "is empty"));
        }
        let (k, ciphertext) = with_random(&self.k, |k| key.encrypt(&message, k, self.order.into()))?;
        let mut report = Report::new("sm2-encrypt")
            .with("public-key", &key.point().to_uncompressed())
            .with("message", &message)
            .with("k", &k);
        show_parts(&mut report, self.order, &ciphertext, ENCRYPTION);
        Ok(report.result(&ciphertext))
    }
}

/// C1, C2 and C3. The ciphertext is long enough.
fn show_parts(report: &mut Report, order: OrderName, ciphertext: &[u8], clause: &'static str) {
    let (point, rest) = ciphertext.split_at(POINT_BYTES);
    let (text, digest) = match order {
        OrderName::C1c3c2 => (&rest[SM3_DIGEST_BYTES..], &rest[..SM3_DIGEST_BYTES]),
        OrderName::C1c2c3 => rest.split_at(rest.len() - SM3_DIGEST_BYTES),
    };
    report.step("C1: the point kG", point, clause);
    report.step("C2: the message xored with the key stream", text, clause);
    report.step("C3: digest of shared point and message", digest, clause);
}

/// SM2 decryption.
#[derive(Args)]
pub struct DecryptArguments {
    /// Private key, 32 bytes.
    #[arg(long)]
    private_key: String,
    /// Ciphertext.
    #[arg(long)]
    ciphertext: String,
    /// Order of the three parts.
    #[arg(long, default_value = "c1c3c2")]
    order: OrderName,
}

impl Calculate for DecryptArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let key = private_key(&self.private_key)?;
        let ciphertext = input::message("ciphertext", &self.ciphertext)?;
        let mut report =
            Report::new("sm2-decrypt").with("private-key", &*key.expose_bytes()).with("ciphertext", &ciphertext);
        match key.decrypt(&ciphertext, self.order.into()) {
            Ok(message) => {
                show_parts(&mut report, self.order, &ciphertext, DECRYPTION);
                Ok(report.result(&*message))
            }
            Err(error @ (CryptoError::Integrity | CryptoError::CurvePoint)) => {
                let other = self.order.other();
                if key.decrypt(&ciphertext, other.into()).is_ok() {
                    report.why = Some(format!("agrees with the order {other:?}").to_lowercase());
                }
                Ok(report.result(&error.to_string()).holding(false))
            }
            Err(error) => Err(input::misuse("ciphertext", error)),
        }
    }
}
