//! What a terminal downloads: the network codes, the order of the header and the shape of each set (unionpay-pos §1.3, §2.3,
//! §5).

use crate::unionpay::Requirement;

/// A set of parameters that a terminal downloads as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DownloadSet {
    /// Public keys of the card schemes (公钥): 372, 370, 371.
    Capks,
    /// Application parameters (IC卡参数): 382, 380, 381.
    Aids,
    /// Terminal parameters (参数传递): 360, 361.
    Terminal,
    /// TMS: 364, 365. Its content is the acquirer's own.
    Tms,
    /// Card BIN blacklist (卡BIN黑名单): 390, 391.
    CardBlacklist,
    /// Currency rates: 392, 393. Its content is the acquirer's own.
    Rates,
    /// Contactless parameters (非接业务参数): 394, 395.
    Contactless,
    /// BINs whose small amounts need no PIN, table B (免密新增BIN表): 396, 397.
    PinFreeBins,
    /// BINs excepted from that, table C (免密BIN黑名单): 398, 399.
    PinFreeBlacklist,
}

/// How a set travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadShape {
    /// A list of names, then one message for each entry, then the end.
    Listed,
    /// One message with everything in F62, then the end.
    Whole,
    /// Pages of a list, each asked for by its start index, then the end.
    Paged,
}

impl DownloadSet {
    /// Every set, in the order in which they are fetched.
    pub const ALL: [Self; 9] = [
        Self::Capks,
        Self::Aids,
        Self::Terminal,
        Self::Contactless,
        Self::CardBlacklist,
        Self::PinFreeBins,
        Self::PinFreeBlacklist,
        Self::Rates,
        Self::Tms,
    ];

    /// 60.3 of a download request; the end is the number after it.
    #[must_use]
    pub const fn download_code(self) -> u16 {
        match self {
            Self::Capks => 370,
            Self::Aids => 380,
            Self::Terminal => 360,
            Self::Tms => 364,
            Self::CardBlacklist => 390,
            Self::Rates => 392,
            Self::Contactless => 394,
            Self::PinFreeBins => 396,
            Self::PinFreeBlacklist => 398,
        }
    }

    /// 60.3 of the end of the download.
    #[must_use]
    pub const fn end_code(self) -> u16 {
        self.download_code() + 1
    }

    /// 60.3 of the status query, for sets that have one.
    #[must_use]
    pub const fn status_code(self) -> Option<u16> {
        match self {
            Self::Capks => Some(372),
            Self::Aids => Some(382),
            _ => None,
        }
    }

    /// The set of a download's 60.3.
    #[must_use]
    pub fn of_download_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.download_code() == code)
    }

    /// The order of the header that demands it.
    #[must_use]
    pub const fn requirement(self) -> Requirement {
        match self {
            Self::Capks => Requirement::UpdateCapk,
            Self::Aids => Requirement::UpdateAidParameters,
            Self::Terminal => Requirement::DownloadParameters,
            Self::Tms => Requirement::DownloadTms,
            Self::CardBlacklist => Requirement::DownloadBlacklist,
            Self::Rates => Requirement::DownloadRates,
            Self::Contactless => Requirement::DownloadContactless,
            Self::PinFreeBins => Requirement::DownloadBinTableB,
            Self::PinFreeBlacklist => Requirement::DownloadBinTableC,
        }
    }

    /// The set that an order of the header (digit 6) demands.
    #[must_use]
    pub fn of_order(nibble: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.requirement().nibble() == nibble)
    }

    /// How it travels.
    #[must_use]
    pub const fn shape(self) -> DownloadShape {
        match self {
            Self::Capks | Self::Aids => DownloadShape::Listed,
            Self::Terminal | Self::Tms | Self::Rates | Self::Contactless => DownloadShape::Whole,
            Self::CardBlacklist | Self::PinFreeBins | Self::PinFreeBlacklist => DownloadShape::Paged,
        }
    }

    /// Stable lower-case name for files and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capks => "capk",
            Self::Aids => "aid",
            Self::Terminal => "terminal",
            Self::Tms => "tms",
            Self::CardBlacklist => "card-blacklist",
            Self::Rates => "rates",
            Self::Contactless => "contactless",
            Self::PinFreeBins => "pin-free-bins",
            Self::PinFreeBlacklist => "pin-free-blacklist",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unionpay::{MessageKind, ProcessingCode, Query};

    fn kind(code: u16) -> MessageKind {
        MessageKind::classify(&Query {
            mti: *b"0800",
            processing_code: None::<ProcessingCode>,
            condition: None,
            transaction_type: 0,
            network_code: code,
            is_qr: false,
        })
    }

    #[test]
    fn codes_and_orders_name_one_set_each() {
        for set in DownloadSet::ALL {
            assert_eq!(DownloadSet::of_download_code(set.download_code()), Some(set));
            assert_eq!(DownloadSet::of_order(set.requirement().nibble()), Some(set));
            assert_ne!(kind(set.download_code()), MessageKind::Unknown, "{}", set.name());
            assert_ne!(kind(set.end_code()), MessageKind::Unknown, "{}", set.name());
        }
        assert_eq!((DownloadSet::of_download_code(372), DownloadSet::of_order(3)), (None, None));
    }
}
