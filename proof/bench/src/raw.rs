//! The ciphers alone: what everything else is held against.

use crate::timing::Timing;
use core::hint::black_box;
use fast_cipher::{FastAesKey, FastSm4Key};
use paycrypto::{AesKey, BlockCipher, CryptoError, Sm4Key, TdesKey};
use serde_json::{Value, json};

const KEY: [u8; 16] = [0x13, 0x25, 0x37, 0x49, 0x5B, 0x6D, 0x7F, 0x80, 0x92, 0xA4, 0xB6, 0xC8, 0xDA, 0xEC, 0xFE, 0x01];
/// Bytes enciphered together for the bulk figure.
const BULK_BYTES: usize = 1024;

/// One cipher.
#[derive(Debug, Clone, Copy)]
pub struct CipherSpeed {
    /// One block, each waiting for the one before.
    pub block_ns: f64,
    /// One of the blocks of 1 KiB that do not depend on each other.
    pub bulk_block_ns: f64,
    /// A new key: expanded and wiped.
    pub key_ns: f64,
    block_bytes: usize,
}

impl CipherSpeed {
    fn measure<const N: usize, C: BlockCipher<N>>(
        timing: &Timing,
        new: impl Fn(&[u8]) -> Result<C, CryptoError>,
        key: &[u8],
    ) -> anyhow::Result<Self> {
        let cipher = new(key)?;
        let (mut block, mut bulk) = ([0; N], vec![[7; N]; BULK_BYTES / N]);
        let bulk_ns = timing.ns(|| cipher.encrypt_blocks(black_box(&mut bulk)));
        Ok(Self {
            block_ns: timing.ns(|| cipher.encrypt_block(black_box(&mut block))),
            bulk_block_ns: bulk_ns / (BULK_BYTES / N) as f64,
            key_ns: timing.ns(|| new(black_box(key))),
            block_bytes: N,
        })
    }

    fn to_json(self) -> Value {
        json!({
            "block_ns": round(self.block_ns), "bulk_block_ns": round(self.bulk_block_ns), "key_ns": round(self.key_ns),
            "blocks_per_s": (1e9 / self.block_ns).round(),
            "bulk_bytes_per_s": (self.block_bytes as f64 * 1e9 / self.bulk_block_ns).round(),
        })
    }
}

/// One decimal.
pub fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Every cipher, `paycrypto`'s and the accelerated ones.
#[derive(Debug, Clone, Copy)]
pub struct RawCiphers {
    pub des: CipherSpeed,
    pub tdes: CipherSpeed,
    pub aes_128: CipherSpeed,
    pub sm4: CipherSpeed,
    pub fast_aes_128: CipherSpeed,
    pub fast_sm4: CipherSpeed,
}

impl RawCiphers {
    pub fn measure(timing: &Timing) -> anyhow::Result<Self> {
        Ok(Self {
            des: CipherSpeed::measure(timing, TdesKey::new, &KEY[..8])?,
            tdes: CipherSpeed::measure(timing, TdesKey::new, &KEY)?,
            aes_128: CipherSpeed::measure(timing, AesKey::new, &KEY)?,
            sm4: CipherSpeed::measure(timing, Sm4Key::new, &KEY)?,
            fast_aes_128: CipherSpeed::measure(timing, FastAesKey::new, &KEY)?,
            fast_sm4: CipherSpeed::measure(timing, FastSm4Key::new, &KEY)?,
        })
    }

    /// Names and figures, in the order in which they are shown.
    pub fn all(&self) -> [(&'static str, CipherSpeed); 6] {
        [
            ("des", self.des),
            ("tdes", self.tdes),
            ("aes_128", self.aes_128),
            ("sm4", self.sm4),
            ("fast_aes_128", self.fast_aes_128),
            ("fast_sm4", self.fast_sm4),
        ]
    }

    pub fn to_json(self) -> Value {
        self.all()
            .into_iter()
            .map(|(name, speed)| (name.to_owned(), speed.to_json()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}
