//! What a PED is told once: its identity, its abilities, its suite and its patience.

use keys::MacAlgorithm;
use types::{MerchantId, TerminalId};

/// How account data and messages are protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suite {
    /// UnionPay as written (unionpay-pos §4): F2 in the clear inside TLS, F52 under the PIK, F64 under the MAK.
    Classic {
        /// Whether F35 must be enciphered under the TDK (sign-in 004). If so and there is no TDK, no message with a track is
        /// completed. A TDK that is loaded is used in any case.
        encrypt_tracks: bool,
    },
}

impl Suite {
    /// Whether messages with a clear track are refused.
    pub(crate) fn demands_track_key(self) -> bool {
        match self {
            Suite::Classic { encrypt_tracks } => encrypt_tracks,
        }
    }
}

/// Everything that a PED is told once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PedConfig {
    /// F41 and tag 9F1C. Messages of another terminal are not completed, blobs of another terminal are not opened.
    pub terminal: TerminalId,
    /// F42 and tag 9F16.
    pub merchant: MerchantId,
    /// Tag 9F4E, bytes as the card gets them.
    pub merchant_name: Vec<u8>,
    /// Tag 9F15, BCD.
    pub merchant_category_code: [u8; 2],
    /// Tag 9F01, BCD.
    pub acquirer_identifier: [u8; 6],
    /// Tag 9F1A, BCD: `[0x01, 0x56]` is China.
    pub country_code: [u8; 2],
    /// Tag 9F35: 0x22 is attended, offline with online capability, run by a merchant.
    pub terminal_type: u8,
    /// Tag 9F33.
    pub capabilities: [u8; 3],
    /// Tag 9F40.
    pub additional_capabilities: [u8; 5],
    /// Tag 9F1E, eight ASCII characters.
    pub ifd_serial_number: [u8; 8],
    /// Whether the payment system environment of the card is tried before the list of AIDs (EMV 4.4 Book 1 §12.3).
    pub use_pse: bool,
    /// Whether the cardholder may choose between applications; otherwise the first one that needs no confirmation is taken
    /// (EMV 4.4 Book 1 §12.4).
    pub cardholder_selects: bool,
    /// How messages are protected.
    pub suite: Suite,
    /// Algorithm of F64.
    pub mac_algorithm: MacAlgorithm,
    /// Whether answers carry the explanation of what was done. It costs more time than the payment and moves no money.
    pub explains: bool,
    /// How long `ReadCard` waits for a card, in milliseconds.
    pub card_wait_ms: u64,
    /// How long a card may take for one answer before it counts as mute, in milliseconds.
    pub card_answer_ms: u64,
    /// How long the keypad waits for a PIN, in milliseconds.
    pub pin_wait_ms: u64,
}

impl PedConfig {
    /// An attended contact terminal in China that can do everything built so far: plaintext and enciphered offline PIN,
    /// online PIN, signature, no CVM; SDA, DDA, CDA; tracks enciphered.
    pub fn attended(terminal: TerminalId, merchant: MerchantId) -> Self {
        Self {
            terminal,
            merchant,
            merchant_name: Vec::new(),
            merchant_category_code: [0x53, 0x11],
            acquirer_identifier: [0; 6],
            country_code: [0x01, 0x56],
            terminal_type: 0x22,
            capabilities: [0xE0, 0xF8, 0xC8],
            additional_capabilities: [0x60, 0x00, 0xF0, 0xA0, 0x01],
            ifd_serial_number: *terminal.bytes(),
            use_pse: true,
            cardholder_selects: false,
            suite: Suite::Classic { encrypt_tracks: true },
            mac_algorithm: MacAlgorithm::UnionPayEcb,
            explains: true,
            card_wait_ms: 60_000,
            card_answer_ms: 10_000,
            pin_wait_ms: 60_000,
        }
    }
}
