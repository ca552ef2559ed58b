//! A small key service for tests: real ciphers, toy wrapping. Everything is deterministic.

use keys::{
    Algorithm, AnyKeyBlock, Command, KeyBlock, KeyCheckValue, KeyHeader, KeyService, MacAlgorithm, Owner, Refusal,
    Reply, TerminalMaster, Usage, UsageMarker, WorkingKeys,
};
use paycrypto::mac::{HmacSha256Key, unionpay_ecb_mac};
use paycrypto::{TdesKey, check_value::unionpay_check_value, pin_block, token::card_token, track::encipher_track};
use types::{CardToken, SecretBytes};

/// The terminal master key of the S-series (unionpay-pos §9).
pub const TMK: [u8; 16] =
    [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10];
/// The working keys of the S-series.
pub const PIK: [u8; 16] =
    [0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23, 0x45, 0x67, 0x76, 0x54, 0x32, 0x10, 0xFE, 0xDC, 0xBA, 0x98];
pub const MAK: [u8; 8] = [0x6B, 0xAC, 0x4C, 0x4A, 0x3D, 0x5B, 0x7F, 0x11];
pub const TDK: [u8; 16] =
    [0x13, 0x57, 0x9B, 0xDF, 0x02, 0x46, 0x8A, 0xCE, 0xEC, 0xA8, 0x64, 0x20, 0xFD, 0xB9, 0x75, 0x31];

/// Stands for the vault's own wrapping.
const WRAP: u8 = 0xA5;
const SEAL_TAG_BYTES: usize = 32;

/// A vault for tests.
#[derive(Default)]
pub struct TestVault {
    /// Every command is refused while this is set.
    pub broken: bool,
}

pub fn tdes(bytes: &[u8]) -> TdesKey {
    TdesKey::new(bytes).unwrap()
}

fn algorithm(bytes: &[u8]) -> Algorithm {
    if bytes.len() == 8 { Algorithm::Des } else { Algorithm::TdesDouble }
}

pub fn block<U: UsageMarker>(bytes: &[u8], version: u32) -> KeyBlock<U> {
    let header = KeyHeader {
        usage: U::USAGE,
        algorithm: algorithm(bytes),
        exportable: false,
        owner: Owner::new("12345678").unwrap(),
        version,
        validity: keys::Validity::ALWAYS,
    };
    any_block(header, bytes).typed().unwrap()
}

fn any_block(header: KeyHeader, bytes: &[u8]) -> AnyKeyBlock {
    AnyKeyBlock { header, enciphered: bytes.iter().map(|byte| byte ^ WRAP).collect() }
}

fn key(block: &AnyKeyBlock) -> TdesKey {
    tdes(&block.enciphered.iter().map(|byte| byte ^ WRAP).collect::<Vec<u8>>())
}

pub fn terminal_master() -> KeyBlock<TerminalMaster> {
    block(&TMK, 1)
}

/// A later master key: which one, and its version.
pub fn later_master(number: u8, version: u32) -> KeyBlock<TerminalMaster> {
    block(&later_tmk(number), version)
}

pub fn later_tmk(number: u8) -> [u8; 16] {
    core::array::from_fn(|i| TMK[i] ^ (number << 1) ^ (u8::try_from(i).unwrap() << 4))
}

fn seal_tag(label: &[u8], content: &[u8]) -> [u8; SEAL_TAG_BYTES] {
    HmacSha256Key::new(b"seal").mac(&[label, b"\0", content])
}

fn seal(label: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let tag = seal_tag(label, plaintext);
    let stream = tag.iter().cycle();
    let enciphered = plaintext.iter().zip(stream).map(|(byte, key)| byte ^ key ^ WRAP);
    tag.iter().copied().chain(enciphered).collect()
}

/// Opens a blob whatever its label is: the test's own master key.
pub fn open_any(sealed: &[u8]) -> Vec<u8> {
    let (tag, content) = sealed.split_at(SEAL_TAG_BYTES);
    content.iter().zip(tag.iter().cycle()).map(|(byte, key)| byte ^ key ^ WRAP).collect()
}

fn unseal(label: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (tag, content) = sealed.split_at_checked(SEAL_TAG_BYTES).ok_or(Refusal::NotAuthentic)?;
    let plaintext: Vec<u8> = content.iter().zip(tag.iter().cycle()).map(|(byte, key)| byte ^ key ^ WRAP).collect();
    if seal_tag(label, &plaintext) == tag { Ok(plaintext) } else { Err(Refusal::NotAuthentic) }
}

impl KeyService for TestVault {
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply> {
        let refuse = |why| Reply::Refused { why };
        let answer = |command| if self.broken { Err(Refusal::Unavailable) } else { execute(command) };
        commands.iter().map(|command| answer(command).unwrap_or_else(refuse)).collect()
    }
}

fn execute(command: &Command) -> Result<Reply, Refusal> {
    Ok(match command {
        Command::LoadWorkingKeys { master, version, delivery } => {
            load_working_keys(&key(master.any()), *version, delivery)?
        }
        Command::CheckKey { key: block } => Reply::KeyCheck { check: KeyCheckValue(unionpay_check_value(&key(block))) },
        Command::MakeMac { key: block, algorithm: MacAlgorithm::UnionPayEcb, message } => {
            Reply::Mac { mac: unionpay_ecb_mac(&key(block.any()), message.expose()) }
        }
        Command::VerifyMac { key: block, algorithm: MacAlgorithm::UnionPayEcb, message, mac } => {
            Reply::MacVerdict { right: unionpay_ecb_mac(&key(block.any()), message.expose()) == *mac }
        }
        Command::EncipherPin { key: block, pin, pan } => {
            let enciphered = pin_block::encipher_format_0(&key(block.any()), pin, pan.expose().as_bytes());
            Reply::PinBlock { block: enciphered.map_err(|_| Refusal::PinBlock)?.as_slice().try_into().unwrap() }
        }
        Command::EncipherTrack { key: block, track2 } => {
            let enciphered = encipher_track(&key(block.any()), track2.expose().as_bytes());
            Reply::Track { track2: SecretBytes::copy_from(&enciphered.map_err(|_| Refusal::AccountData)?) }
        }
        Command::Tokenise { pan } => {
            let token = card_token(&HmacSha256Key::new(b"token"), pan.expose().as_bytes());
            Reply::Token { token: CardToken(token.map_err(|_| Refusal::AccountData)?) }
        }
        Command::Seal { label, plaintext } => Reply::Sealed { sealed: seal(label, plaintext.expose()) },
        Command::Unseal { label, sealed } => Reply::Unsealed { plaintext: SecretBytes::new(unseal(label, sealed)?) },
        Command::MakeTransportKey { owner, version, recipient } => Reply::TransportKeyMade {
            key: any_block(
                KeyHeader {
                    usage: Usage::KeyEncryption,
                    algorithm: Algorithm::TdesDouble,
                    exportable: false,
                    owner: owner.clone(),
                    version: *version,
                    validity: keys::Validity::ALWAYS,
                },
                &TDK,
            ),
            enciphered: recipient.clone(),
            check: KeyCheckValue(unionpay_check_value(&tdes(&TDK))),
        },
        Command::ImportKey { usage, algorithm, owner, version, under, enciphered, check } => {
            let clear =
                paycrypto::key_wrap::unwrap_tdes_key(&key(under.any()), enciphered).map_err(|_| Refusal::Parameter)?;
            if unionpay_check_value(&clear) != check.0 {
                return Err(Refusal::KeyCheck);
            }
            let header = KeyHeader {
                usage: *usage,
                algorithm: *algorithm,
                exportable: false,
                owner: owner.clone(),
                version: *version,
                validity: keys::Validity::ALWAYS,
            };
            Reply::KeyCreated { key: any_block(header, clear.expose_bytes()), check: *check }
        }
        _ => return Err(Refusal::NotPermitted),
    })
}

fn load_working_keys(master: &TdesKey, version: u32, delivery: &[u8]) -> Result<Reply, Refusal> {
    let loaded = paycrypto::working_keys::read_field_62(master, delivery).map_err(|_| Refusal::KeyCheck)?;
    let keys = WorkingKeys {
        pin: block(loaded.pin_key.expose_bytes(), version),
        mac: block(loaded.mac_key.expose_bytes(), version),
        track: loaded.track_key.map(|key| block(key.expose_bytes(), version)),
    };
    Ok(Reply::WorkingKeysMade { keys, delivery: Vec::new() })
}
