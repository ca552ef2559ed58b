//! The national suite: SM2, SM3, and SM4 in its modes.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, hex, judge_kind, refused, unhex, unknown};
use paycrypto::check_value::zero_block_check_value;
use paycrypto::gcm::Gcm;
use paycrypto::sm2::{
    AffinePoint, CiphertextOrder, Coordinate, Curve, CurveParameters, Ephemeral, KeyExchange, PrivateKey, PublicKey,
    Role, Signature,
};
use paycrypto::{BlockCipher, CryptoError, Sm4Key, ccm, decrypt_cbc, encrypt_cbc, sm3, stream};
use serde_json::Value;

/// Most repetitions that a case may ask for.
const REPETITIONS_MAX: u64 = 100_000_000;

/// What the reason of a malformed case says, and what the product's refusal must then say.
const REFUSALS: &[(&str, &str)] = &[
    ("r+s=n", "integrity"),
    ("not on curve", "not a point of the curve"),
    ("size IV", "nonce length"),
    ("nonce size", "nonce length"),
    ("long nonce", "nonce length"),
    ("tag size", "tag length"),
    ("lipped bit", "integrity"),
];

/// The prime curve of the examples in GB/T 32918.2 annex A.2 and 32918.4 annex A.2: p, a, b, n and the generator.
const EXAMPLE_CURVE: [&str; 6] = [
    "8542D69E4C044F18E8B92435BF6FF7DE457283915C45517D722EDB8B08F1DFC3",
    "787968B4FA32C3FD2417842E73BBFEFF2F3C848B6831D7E0EC65228B3937E498",
    "63E4C6D3B23B0C849CF84241484BFE48F61D59A5B16BA06E6E12D1DA27C5249A",
    "8542D69E4C044F18E8B92435BF6FF7DD297720630485628D5AE74EE7C32E79B7",
    "421DEBD61B62EAB6746434EBC3CC315E32220B3BADD50BDC4C4E6C147FEDD43D",
    "0680512BCBB42C07D47349D2153B70C4E5D7FDFCBFA36EA1A85841B9E46E09A2",
];

/// Runs one case of the area.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    judge_kind(case, check(case), REFUSALS)
}

fn check(case: Case<'_>) -> Check {
    match case.kind() {
        "sm2_sign" => sm2_sign(case),
        "sm2_verify_malformed" => sm2_verify(case),
        "sm2_encrypt" => sm2_encrypt(case),
        "sm2_key_exchange" => sm2_key_exchange(case),
        "sm2_scalar_base_mul" => sm2_scalar_base_mul(case),
        "sm3" => case.expect_bytes("digest", &sm3(&[&case.bytes("message")?])),
        "sm3_long" => case.expect_bytes("digest", &sm3(&[&described_message(case)?])),
        "sm4_block" => sm4_block(case),
        "sm4_block_1000000" => sm4_repeated(case),
        "sm4_cbc" => {
            both_ways(case, &|key, iv, data| encrypt_cbc(key, iv, data), &|key, iv, data| decrypt_cbc(key, iv, data))
        }
        "sm4_ctr" => both_ways(case, &infallible(stream::ctr), &infallible(stream::ctr)),
        "sm4_ofb" => both_ways(case, &infallible(stream::ofb), &infallible(stream::ofb)),
        "sm4_cfb128" => both_ways(case, &infallible(stream::encrypt_cfb), &infallible(stream::decrypt_cfb)),
        "sm4_gcm" => sm4_gcm(case),
        "sm4_ccm" => sm4_ccm(case),
        "sm4_kcv" => case.expect_leading_bytes("kcv_zero_block", &zero_block_check_value(&sm4(case)?)),
        _ => unknown(case),
    }
}

fn sm4(case: Case<'_>) -> Check<Sm4Key> {
    Sm4Key::new(&case.bytes("key")?).map_err(refused)
}

fn sm4_block(case: Case<'_>) -> Check {
    let key = sm4(case)?;
    case.expect_bytes("ciphertext", &key.encrypted(case.array("plaintext")?))?;
    case.expect_bytes("plaintext", &key.decrypted(case.array("ciphertext")?))
}

fn sm4_repeated(case: Case<'_>) -> Check {
    let (key, mut block) = (sm4(case)?, case.array("plaintext")?);
    for _ in 0..repetitions(case.number("iterations")?)? {
        key.encrypt_block(&mut block);
    }
    case.expect_bytes("ciphertext", &block)
}

fn repetitions(wanted: u64) -> Check<usize> {
    let count = usize::try_from(wanted).ok().filter(|_| wanted <= REPETITIONS_MAX);
    count.ok_or_else(|| Problem::Unrunnable(format!("more than {REPETITIONS_MAX} repetitions")))
}

/// A message given as `'a' repeated 1000000 times`.
fn described_message(case: Case<'_>) -> Check<Vec<u8>> {
    let description = case.text("message_description")?;
    let unreadable = || Problem::Unrunnable(format!("message description {description}"));
    let parts = description.strip_prefix('\'').and_then(|text| text.split_once("' repeated "));
    let (piece, count) = parts.ok_or_else(unreadable)?;
    let count = count.split(' ').next().and_then(|digits| digits.parse().ok()).ok_or_else(unreadable)?;
    Ok(piece.as_bytes().repeat(repetitions(count)?))
}

type Mode = dyn Fn(&Sm4Key, [u8; 16], &mut [u8]) -> Result<(), CryptoError>;

fn infallible(
    mode: fn(&Sm4Key, [u8; 16], &mut [u8]),
) -> impl Fn(&Sm4Key, [u8; 16], &mut [u8]) -> Result<(), CryptoError> {
    move |key, iv, data| {
        mode(key, iv, data);
        Ok(())
    }
}

fn both_ways(case: Case<'_>, encrypt: &Mode, decrypt: &Mode) -> Check {
    let (key, iv) = (sm4(case)?, case.array("iv")?);
    let mut text = case.bytes("ciphertext")?;
    decrypt(&key, iv, &mut text).map_err(refused)?;
    case.expect_bytes("plaintext", &text)?;
    encrypt(&key, iv, &mut text).map_err(refused)?;
    case.expect_bytes("ciphertext", &text)
}

/// What is published must open first: that is where a malformed case must be refused.
fn sm4_gcm(case: Case<'_>) -> Check {
    let key = sm4(case)?;
    let gcm = Gcm::new(&key);
    let (nonce, associated, mut text) = (case.bytes("iv")?, case.bytes("aad")?, case.bytes("ciphertext")?);
    gcm.open(&nonce, &associated, &mut text, &case.bytes("tag")?).map_err(refused)?;
    case.expect_bytes("plaintext", &text)?;
    let tag = gcm.seal(&nonce, &associated, &mut text).map_err(refused)?;
    case.expect_bytes("ciphertext", &text)?;
    case.expect_leading_bytes("tag", &tag)
}

fn sm4_ccm(case: Case<'_>) -> Check {
    let (key, tag) = (sm4(case)?, case.bytes("tag")?);
    let (nonce, associated, mut text) = (case.bytes("iv")?, case.bytes("aad")?, case.bytes("ciphertext")?);
    ccm::open(&key, &nonce, &associated, &mut text, &tag).map_err(refused)?;
    case.expect_bytes("plaintext", &text)?;
    let made = ccm::seal(&key, &nonce, &associated, &mut text, tag.len()).map_err(refused)?;
    case.expect_bytes("ciphertext", &text)?;
    case.expect_bytes("tag", &made)
}

/// The curve that a case gives in numbers, or names.
fn curve(case: Case<'_>) -> Check<Curve> {
    if case.has("gx") {
        let [prime, a, b, order] = [case.array("p")?, case.array("a")?, case.array("b")?, case.array("n")?];
        return chosen_curve([prime, a, b, order, case.array("gx")?, case.array("gy")?]);
    }
    match case.0["curve"].as_str() {
        None => Ok(Curve::recommended()),
        Some(name) if name.starts_with("sm2p256v1") => Ok(Curve::recommended()),
        Some("Fp-256 test curve") => chosen_curve(EXAMPLE_CURVE.map(|text| {
            let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
            bytes.expect("the example's numbers have 32 bytes")
        })),
        Some(other) => Err(Problem::Unrunnable(format!("curve {other}"))),
    }
}

fn chosen_curve([prime, a, b, order, generator_x, generator_y]: [Coordinate; 6]) -> Check<Curve> {
    Curve::new(&CurveParameters { prime, a, b, order, generator_x, generator_y }).map_err(refused)
}

fn public_key(case: Case<'_>) -> Check<PublicKey> {
    let affine = AffinePoint { x: case.array("public_x")?, y: case.array("public_y")? };
    PublicKey::new(&curve(case)?, affine).map_err(refused)
}

/// The private key, whose public one must be what is published.
fn private_key(case: Case<'_>) -> Check<PrivateKey> {
    let key = PrivateKey::new(&curve(case)?, &case.array("private_key")?).map_err(refused)?;
    case.expect_bytes("public_x", &key.public_key().point().x)?;
    case.expect_bytes("public_y", &key.public_key().point().y)?;
    Ok(key)
}

fn sm2_sign(case: Case<'_>) -> Check {
    let (id, message) = (case.text("id_ascii")?.as_bytes(), case.text("message_ascii")?.as_bytes());
    let (key, public) = (private_key(case)?, public_key(case)?);
    case.expect_bytes_if_given("z", &public.identity_digest(id).map_err(refused)?)?;
    case.expect_bytes_if_given("e", &public.message_digest(id, message).map_err(refused)?)?;
    let signature = key.sign(id, message, &case.array("k")?).map_err(refused)?;
    case.expect_bytes("r", &signature.r)?;
    case.expect_bytes("s", &signature.s)?;
    public.verify(id, message, &signature).map_err(refused)
}

fn sm2_verify(case: Case<'_>) -> Check {
    let (id, message) = (case.text("id_ascii")?.as_bytes(), case.text("message_ascii")?.as_bytes());
    let signature = Signature { r: case.array("r")?, s: case.array("s")? };
    public_key(case)?.verify(id, message, &signature).map_err(refused)
}

fn sm2_encrypt(case: Case<'_>) -> Check {
    let (key, message) = (private_key(case)?, case.text("message_ascii")?.as_bytes());
    let [c1, c2, c3] = [case.bytes("c1")?, case.bytes("c2")?, case.bytes("c3")?];
    let orders = [
        (CiphertextOrder::C1C3C2, [&c1[..], &c3, &c2].concat()),
        (CiphertextOrder::C1C2C3, [&c1[..], &c2, &c3].concat()),
    ];
    for (order, published) in orders {
        let made = public_key(case)?.encrypt(message, &case.array("k")?, order).map_err(refused)?;
        if made != published {
            return Err(Problem::Differs(format!("{order:?}: computed {}, published {}", hex(&made), hex(&published))));
        }
        if order == CiphertextOrder::C1C3C2 {
            case.expect_bytes_if_given("c1c3c2", &made)?;
        }
        if **key.decrypt(&published, order).map_err(refused)? != *message {
            return Err(Problem::Differs(format!("{order:?} deciphers to another message")));
        }
    }
    Ok(())
}

/// One party of the published exchange: its key and ephemeral pair, both compared with their points.
fn party(case: Case<'_>, side: &str) -> Check<(PrivateKey, Ephemeral)> {
    let curve = curve(case)?;
    let joined = |point: &AffinePoint| [point.x, point.y].concat();
    let key = PrivateKey::new(&curve, &case.array(&format!("d_{side}"))?).map_err(refused)?;
    case.expect_bytes(&format!("pub_{side}"), &joined(key.public_key().point()))?;
    let ephemeral = Ephemeral::new(&curve, &case.array(&format!("r_{side}"))?).map_err(refused)?;
    case.expect_bytes(&format!("r{side}_pub"), &joined(ephemeral.point()))?;
    let id = case.text(&format!("id_{side}"))?.as_bytes();
    case.expect_bytes_if_given(&format!("z_{side}"), &key.public_key().identity_digest(id).map_err(refused)?)?;
    Ok((key, ephemeral))
}

fn sm2_key_exchange(case: Case<'_>) -> Check {
    let ((a, ephemeral_a), (b, ephemeral_b)) = (party(case, "a")?, party(case, "b")?);
    let (id_a, id_b) = (case.text("id_a")?.as_bytes(), case.text("id_b")?.as_bytes());
    let (point_a, point_b) = (*ephemeral_a.point(), *ephemeral_b.point());
    let of_a = KeyExchange { role: Role::Initiator, own: &a, own_id: id_a, peer: b.public_key(), peer_id: id_b };
    let of_b = KeyExchange { role: Role::Responder, own: &b, own_id: id_b, peer: a.public_key(), peer_id: id_a };
    let key_bytes = case.bytes("shared_key")?.len();
    let agreed = [of_a.agree(ephemeral_a, &point_b, key_bytes), of_b.agree(ephemeral_b, &point_a, key_bytes)];
    for agreed in agreed {
        let agreed = agreed.map_err(refused)?;
        case.expect_bytes("shared_key", agreed.expose_key())?;
        case.expect_bytes("s_a", agreed.confirmation(Role::Initiator))?;
        case.expect_bytes("s_b", agreed.confirmation(Role::Responder))?;
        agreed.verify_confirmation(Role::Responder, &case.bytes("s_b")?).map_err(refused)?;
    }
    Ok(())
}

/// The point at infinity is published as zeros.
fn sm2_scalar_base_mul(case: Case<'_>) -> Check {
    let multiple = curve(case)?.base_multiple(&case.array("k")?);
    let multiple = multiple.unwrap_or(AffinePoint { x: [0; 32], y: [0; 32] });
    case.expect_bytes("x", &multiple.x)?;
    case.expect_bytes("y", &multiple.y)
}
