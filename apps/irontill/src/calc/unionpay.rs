//! `field-62`, `field-64`, `track`: keys, MAC and track encryption of the UnionPay POS dialect.

use super::cipher::{Cipher, CipherName};
use super::expect::Expected;
use super::macs::{MacName, MacSetting};
use super::report::Report;
use super::why::{Dimension, Variation, key_mistakes, others, search};
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::Args;
use iso8583::unionpay::{DeliveredKey, KeyDelivery, mac_input, open_frame};
use paycrypto::check_value::UNIONPAY_CHECK_VALUE_BYTES;
use paycrypto::padding::Padding;
use paycrypto::track::{decipher_track, encipher_track};
use paycrypto::{CryptoError, TdesKey};

/// Clauses.
const LAYOUT: &str = "UnionPay POS §4.2";
const CHECK_VALUE: &str = "UnionPay POS §4.3";
const TRACK: &str = "UnionPay POS §4.5";
const MAC_INPUT: &str = "UnionPay POS §4.6";

/// Field 62 of a sign-in answer: working keys under the terminal's master key.
#[derive(Args)]
pub struct Field62Arguments {
    /// Terminal master key.
    #[arg(long)]
    tmk: String,
    /// The field, 24, 40 or 60 bytes in hex.
    #[arg(long)]
    field: String,
    /// SM4 keys (60.3 = 005, 006).
    #[arg(long)]
    sm4: bool,
}

#[derive(Clone)]
struct Delivery {
    tmk: Vec<u8>,
    field: Vec<u8>,
    cipher: CipherName,
}

/// One working key, opened.
struct OpenedKey {
    name: &'static str,
    enciphered: Vec<u8>,
    clear: Vec<u8>,
    computed: Vec<u8>,
    carried: [u8; UNIONPAY_CHECK_VALUE_BYTES],
}

impl OpenedKey {
    fn agrees(&self) -> bool {
        self.computed == self.carried
    }
}

impl Delivery {
    fn open(&self, name: &'static str, key: &DeliveredKey) -> Result<OpenedKey, CryptoError> {
        let enciphered = key.enciphered.expose().to_vec();
        let clear = Cipher::new(self.cipher, &self.tmk)?.decrypted(&enciphered)?;
        let whole = Cipher::new(self.cipher, &clear)?.zero_block();
        let computed = whole[..UNIONPAY_CHECK_VALUE_BYTES].to_vec();
        Ok(OpenedKey { name, enciphered, clear, computed, carried: key.check })
    }

    fn keys(&self) -> Result<Vec<OpenedKey>, Misuse> {
        let delivery = KeyDelivery::parse(&self.field, self.cipher == CipherName::Sm4);
        let delivery = delivery.map_err(|error| input::misuse("field", error))?;
        let named = [("PIK", Some(&delivery.pin)), ("MAK", Some(&delivery.mac)), ("TDK", delivery.track.as_ref())];
        let open = |(name, key): (&'static str, Option<&DeliveredKey>)| key.map(|key| self.open(name, key));
        named.into_iter().filter_map(open).collect::<Result<_, _>>().map_err(input::refused("tmk"))
    }

    fn all_agree(&self) -> bool {
        self.keys().is_ok_and(|keys| keys.iter().all(OpenedKey::agrees))
    }
}

impl Calculate for Field62Arguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let cipher = if self.sm4 { CipherName::Sm4 } else { CipherName::Tdes };
        let lengths = if self.sm4 { input::DOUBLE_KEYS } else { input::TDES_KEYS };
        let tmk = input::key("tmk", &self.tmk, lengths)?;
        let delivery = Delivery { tmk, field: input::hex("field", &self.field)?, cipher };
        let keys = delivery.keys()?;
        let mut report = Report::new("field-62").with("tmk", &delivery.tmk).with("field", &delivery.field);
        for key in &keys {
            report.step(format!("{} enciphered", key.name), &key.enciphered, LAYOUT);
            report.step(key.name, &key.clear, LAYOUT);
            report.step(format!("check value of the {}, computed", key.name), &key.computed, CHECK_VALUE);
            report.step(format!("check value of the {}, carried", key.name), &key.carried, CHECK_VALUE);
        }
        let holds = keys.iter().all(OpenedKey::agrees);
        if !holds {
            let dimensions = [
                others(
                    &CipherName::ALL,
                    cipher,
                    |name| name.text().to_owned(),
                    |setting: &mut Delivery, name| {
                        setting.cipher = name;
                    },
                ),
                key_mistakes(delivery.tmk.len(), |setting: &mut Delivery| &mut setting.tmk),
            ];
            report.why = search(&delivery, &dimensions, Delivery::all_agree);
        }
        let result = if holds { "every check value agrees" } else { "a check value does not agree" };
        Ok(report.result(result).holding(holds))
    }
}

/// MAC of a whole message (field 64).
#[derive(Args)]
pub struct Field64Arguments {
    /// MAC key (MAK).
    #[arg(long)]
    mak: String,
    /// The message in hex, with or without length, TPDU and header; its own field 64 is expected.
    #[arg(long)]
    message: String,
    /// Algorithm.
    #[arg(long, default_value = "unionpay-ecb")]
    algorithm: MacName,
    /// Cipher of the MAC key.
    #[arg(long, default_value = "tdes")]
    cipher: CipherName,
}

/// A message taken apart.
struct Macked {
    mti: String,
    input: Vec<u8>,
    field_64: Vec<u8>,
}

impl Field64Arguments {
    fn taken_apart(&self) -> Result<Macked, Misuse> {
        let bytes = input::message("message", &self.message)?;
        let opened = open_frame(&bytes).map_err(|error| input::misuse("message", error))?;
        let field = opened.message.field(64).ok_or_else(|| input::misuse("message", "it has no field 64"))?;
        let body = opened.message.body();
        let input = mac_input(body).ok_or_else(|| input::misuse("message", "field 64 is not at its end"))?;
        let mti = String::from_utf8_lossy(&opened.message.mti()).into_owned();
        Ok(Macked { mti, input: input.to_vec(), field_64: field.bytes().to_vec() })
    }

    fn setting(&self, data: Vec<u8>) -> Result<MacSetting, Misuse> {
        let key = input::key("mak", &self.mak, input::CIPHER_KEYS)?;
        Ok(MacSetting {
            algorithm: self.algorithm,
            cipher: self.cipher,
            key,
            second_key: None,
            padding: Padding::Zeros,
            data,
        })
    }
}

/// Field 64 of a MAC: UnionPay's own algorithm sends hexadecimal text, the others raw bytes.
fn field_64(setting: &MacSetting) -> Result<Vec<u8>, CryptoError> {
    let mac = setting.mac()?;
    Ok(match setting.algorithm {
        MacName::UnionpayEcb => iso8583::describe::hex(&mac[..4]).into_bytes(),
        _ => mac[..8].to_vec(),
    })
}

impl Calculate for Field64Arguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let message = self.taken_apart()?;
        let setting = self.setting(message.input)?;
        let computed = field_64(&setting).map_err(input::refused("mak"))?;
        let mut report = Report::new("field-64")
            .with("mak", &setting.key)
            .with("algorithm", self.algorithm.text())
            .with("message", &message.mti);
        report.step("MAC input: message type to the end of field 63", &setting.data, MAC_INPUT);
        setting.show(&mut report).map_err(input::refused("mak"))?;
        report.step("field 64 in the message", &message.field_64, MAC_INPUT);
        if self.algorithm == MacName::UnionpayEcb {
            report.step(
                "field 64 in the message, as text",
                &String::from_utf8_lossy(&message.field_64).into_owned(),
                MAC_INPUT,
            );
        }
        Ok(report.result(&computed))
    }

    fn expected(&self) -> Option<Expected> {
        let message = self.taken_apart().ok()?;
        Some(Expected::new(&iso8583::describe::hex(&message.field_64)))
    }

    fn agrees(&self, report: &Report, expected: &Expected) -> bool {
        // On the wire stands hexadecimal text; people compare the text itself.
        let as_text = input::hex("", &report.result).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        expected.is(&report.result) || as_text.is_some_and(|text| expected.is(&text))
    }

    fn why(&self, expected: &Expected) -> Option<String> {
        let message = self.taken_apart().ok()?;
        let setting = self.setting(message.input).ok()?;
        let agrees = |setting: &MacSetting| {
            field_64(setting)
                .is_ok_and(|field| expected.is_bytes(&field) || expected.is(&String::from_utf8_lossy(&field)))
        };
        let mut dimensions: Vec<Dimension<MacSetting>> = setting.dimensions();
        dimensions.push(bitmap_mistake());
        search(&setting, &dimensions, agrees)
    }
}

/// A MAC that was made before bit 64 of the bitmap was set.
fn bitmap_mistake() -> Dimension<MacSetting> {
    const LAST_OF_BITMAP: usize = 9;
    vec![Variation::new("bit 64 of the bitmap not set", |setting: &mut MacSetting| {
        if let Some(byte) = setting.data.get_mut(LAST_OF_BITMAP) {
            *byte &= 0xFE;
        }
    })]
}

/// UnionPay's track encryption (fields 35 and 36).
#[derive(Args)]
pub struct TrackArguments {
    /// Track key (TDK).
    #[arg(long)]
    tdk: String,
    /// Track: digits and `D` or `=`; enciphered ones may have any hex digit.
    #[arg(long)]
    track: String,
    /// Deciphers.
    #[arg(long)]
    decipher: bool,
}

impl Calculate for TrackArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let bytes = input::key("tdk", &self.tdk, input::TDES_KEYS)?;
        let key = TdesKey::new(&bytes).map_err(input::refused("tdk"))?;
        let track = self.track.to_ascii_uppercase();
        let done = match self.decipher {
            true => decipher_track(&key, track.as_bytes()),
            false => encipher_track(&key, track.as_bytes()),
        };
        let done = String::from_utf8_lossy(&done.map_err(input::refused("track"))?).into_owned();
        let mut report = Report::new("track").with("tdk", &bytes).with("track", &track);
        // Two symbols are a byte; the last byte stays clear and the eight before it are enciphered.
        let last_byte = track.len().div_ceil(2) - 1;
        let span = 2 * (last_byte - 8)..2 * last_byte;
        report.step("symbols that stay, in front", &track[..span.start], TRACK);
        report.step("eight bytes before the last one", &track[span.clone()], TRACK);
        report.step(if self.decipher { "deciphered" } else { "enciphered" }, &done[span.clone()], TRACK);
        report.step("symbols that stay, behind", &track[span.end..], TRACK);
        Ok(report.result(&done))
    }
}
