//! Which transaction a message is (unionpay-pos §3.1).

use crate::unionpay::{Body, ConditionCode, Entry, ProcessingCode};

/// A row of the catalogue. Rows that this system does not carry out are named all the same, so
/// that a host can answer them with 40 and not with 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// 签到: key exchange of the given network code (1, 3, 4, 5, 6).
    SignIn(u16),
    /// 签退.
    SignOff,
    /// 回响测试.
    Echo,
    /// 公钥下载状态上送.
    CapkStatus,
    /// 公钥下载.
    CapkDownload,
    /// End of the CAPK download.
    CapkDownloadEnd,
    /// IC卡参数下载状态上送.
    AidStatus,
    /// IC卡参数下载.
    AidDownload,
    /// End of the AID parameter download.
    AidDownloadEnd,
    /// 参数传递 and its relatives: TMS, contactless, lists, rates; the network code tells which.
    ParameterDownload(u16),
    /// End of such a download.
    ParameterDownloadEnd(u16),
    /// 状态上送.
    StatusUpload,
    /// 收银员积分签到.
    CashierPointsSignIn,
    /// 电子签名上送.
    ElectronicSignature,
    /// 余额查询.
    Balance,
    /// 积分查询.
    PointsInquiry,
    /// 消费.
    Sale,
    /// 消费撤销.
    SaleVoid,
    /// 退货.
    Refund,
    /// 预授权.
    PreAuthorisation,
    /// 预授权撤销.
    PreAuthorisationVoid,
    /// 预授权完成请求.
    Completion,
    /// 预授权完成通知.
    CompletionNotice,
    /// 预授权完成撤销.
    CompletionVoid,
    /// 脱机消费上送.
    OfflineSaleUpload,
    /// 脱机退货.
    OfflineRefund,
    /// 离线结算.
    OfflineSettlement,
    /// 结算调整 (32) or tip (34).
    SettlementAdjust,
    /// 冲正.
    Reversal,
    /// 脚本处理结果通知.
    ScriptResult,
    /// 批结算.
    Settlement,
    /// 批上送, magnetic details.
    BatchDetails,
    /// IC卡交易上送.
    BatchIcUpload,
    /// Notices and failed chip transactions in a batch upload, or a stored notice as 0320.
    BatchNotice,
    /// 批上送结束.
    BatchEnd {
        /// 207 rather than 202.
        balanced: bool,
    },
    /// 扫码消费: the shop scans the buyer's code.
    QrSale,
    /// 扫码下单: the buyer scans the code of an order that the shop shows.
    QrOrder,
    /// 扫码撤销.
    QrVoid,
    /// 扫码退货.
    QrRefund,
    /// 扫码查询.
    QrQuery,
    /// 订购消费.
    MailOrderSale,
    /// 分期消费.
    InstalmentSale,
    /// 分期消费撤销.
    InstalmentVoid,
    /// Defined in the family but in no row above: instalments, points, loads, reservations.
    OtherFinancial,
    /// No row of this dialect.
    Unknown,
}

/// What a row is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Request message type in ASCII.
    pub mti: [u8; 4],
    /// F3.
    pub processing_code: Option<ProcessingCode>,
    /// F25.
    pub condition: Option<ConditionCode>,
    /// 60.1.
    pub transaction_type: u8,
    /// 60.3.
    pub network_code: u16,
    /// Whether F22 says QR code.
    pub is_qr: bool,
}

impl MessageKind {
    /// The row of a decoded request; a response gets the row of its request.
    #[must_use]
    pub fn of(body: &Body) -> Self {
        Self::classify(&Query {
            mti: request_type(body.mti),
            processing_code: body.processing_code,
            condition: body.condition,
            transaction_type: body.f60.map_or(0, |f60| f60.transaction_type()),
            network_code: body.f60.map_or(0, |f60| f60.network_code()),
            is_qr: body.entry_mode.is_some_and(|mode| mode.entry() == Entry::QrCode),
        })
    }

    /// The row that fits.
    #[must_use]
    pub fn classify(query: &Query) -> Self {
        match &query.mti {
            b"0100" => authorisation(query),
            b"0200" => financial(query),
            b"0220" => notice(query),
            b"0320" => batch_upload(query),
            b"0400" => Self::Reversal,
            b"0500" if query.network_code == 201 => Self::Settlement,
            b"0620" if query.network_code == 951 => Self::ScriptResult,
            b"0800" => download(query.network_code),
            b"0820" => status(query),
            _ => Self::Unknown,
        }
    }

    /// Whether request and response carry F64 (D17).
    #[must_use]
    pub const fn needs_mac(self) -> bool {
        matches!(
            self,
            Self::Balance
                | Self::PointsInquiry
                | Self::ElectronicSignature
                | Self::Refund
                | Self::CompletionNotice
                | Self::OfflineSaleUpload
                | Self::OfflineRefund
                | Self::OfflineSettlement
                | Self::SettlementAdjust
                | Self::Reversal
                | Self::ScriptResult
                | Self::QrRefund
                | Self::QrQuery
                | Self::OtherFinancial
        ) || self.is_reversible()
    }

    /// Whether a request without an answer is reversed (0400).
    #[must_use]
    pub const fn is_reversible(self) -> bool {
        matches!(
            self,
            Self::Sale
                | Self::SaleVoid
                | Self::PreAuthorisation
                | Self::PreAuthorisationVoid
                | Self::Completion
                | Self::CompletionVoid
                | Self::QrSale
                | Self::QrOrder
                | Self::QrVoid
                | Self::MailOrderSale
                | Self::InstalmentSale
                | Self::InstalmentVoid
        )
    }

    /// Whether F61 names an earlier transaction that must be found.
    #[must_use]
    pub const fn has_original(self) -> bool {
        matches!(
            self,
            Self::SaleVoid
                | Self::Refund
                | Self::PreAuthorisationVoid
                | Self::Completion
                | Self::CompletionNotice
                | Self::CompletionVoid
                | Self::QrVoid
                | Self::QrRefund
                | Self::QrQuery
                | Self::InstalmentVoid
                | Self::ScriptResult
                | Self::OfflineSettlement
                | Self::SettlementAdjust
        )
    }
}

/// The request type of a response type (`0210` → `0200`), other types as they are.
fn request_type(mti: [u8; 4]) -> [u8; 4] {
    let [version, class, function, origin] = mti;
    match function {
        b'1' | b'3' | b'5' => [version, class, function - 1, origin],
        _ => mti,
    }
}

fn is(query: &Query, code: ProcessingCode, condition: ConditionCode) -> bool {
    query.processing_code == Some(code) && query.condition == Some(condition)
}

const VOID: ProcessingCode = ProcessingCode::VOID_OR_REFUND;
const NORMAL: ConditionCode = ConditionCode::NORMAL;
const PRE: ConditionCode = ConditionCode::PRE_AUTHORISATION;

fn authorisation(query: &Query) -> MessageKind {
    match query.transaction_type {
        10 if is(query, ProcessingCode::PRE_AUTHORISATION, PRE) => MessageKind::PreAuthorisation,
        11 if is(query, VOID, PRE) => MessageKind::PreAuthorisationVoid,
        10 | 11 => other(query),
        _ => MessageKind::Unknown,
    }
}

fn financial(query: &Query) -> MessageKind {
    use MessageKind as Kind;
    let sale = ProcessingCode::SALE;
    match query.transaction_type {
        1 if is(query, ProcessingCode::BALANCE, NORMAL) => Kind::Balance,
        3 => Kind::PointsInquiry,
        20 if is(query, sale, PRE) => Kind::Completion,
        21 if is(query, VOID, PRE) => Kind::CompletionVoid,
        22 if is(query, sale, NORMAL) && query.is_qr => Kind::QrSale,
        22 if is(query, ProcessingCode::QR_ORDER, NORMAL) && query.is_qr => Kind::QrOrder,
        22 if is(query, sale, NORMAL) => Kind::Sale,
        22 if is(query, sale, ConditionCode::MAIL_ORDER) => Kind::MailOrderSale,
        22 if is(query, sale, ConditionCode::INSTALMENT) => Kind::InstalmentSale,
        23 if is(query, VOID, ConditionCode::INSTALMENT) => Kind::InstalmentVoid,
        23 if is(query, VOID, NORMAL) && query.is_qr => Kind::QrVoid,
        23 if is(query, VOID, NORMAL) => Kind::SaleVoid,
        36 if is(query, sale, NORMAL) => Kind::OfflineSaleUpload,
        60 if is(query, ProcessingCode::QR_QUERY, NORMAL) => Kind::QrQuery,
        1 | 20..=23 | 36 | 40..=42 | 45..=49 | 51 | 53 | 54 | 60 => other(query),
        _ => Kind::Unknown,
    }
}

fn notice(query: &Query) -> MessageKind {
    use MessageKind as Kind;
    let sale = ProcessingCode::SALE;
    match query.transaction_type {
        24 if is(query, sale, PRE) => Kind::CompletionNotice,
        25 if is(query, VOID, NORMAL) && query.is_qr => Kind::QrRefund,
        25 if is(query, VOID, NORMAL) => Kind::Refund,
        27 if is(query, VOID, NORMAL) => Kind::OfflineRefund,
        30 if is(query, sale, NORMAL) => Kind::OfflineSettlement,
        32 | 34 if is(query, sale, NORMAL) => Kind::SettlementAdjust,
        24 | 25 | 27 | 30 | 32 | 34 => other(query),
        _ => Kind::Unknown,
    }
}

/// A known transaction type with a processing or condition code of its wider family.
fn other(query: &Query) -> MessageKind {
    match (query.processing_code, query.condition) {
        (Some(_), Some(_)) => MessageKind::OtherFinancial,
        _ => MessageKind::Unknown,
    }
}

fn batch_upload(query: &Query) -> MessageKind {
    match query.network_code {
        201 => MessageKind::BatchDetails,
        202 => MessageKind::BatchEnd { balanced: false },
        207 => MessageKind::BatchEnd { balanced: true },
        203 | 205 => MessageKind::BatchIcUpload,
        // A stored notice keeps its own F60, whose network code is 000.
        0 | 204 | 206 => MessageKind::BatchNotice,
        _ => MessageKind::Unknown,
    }
}

fn download(network_code: u16) -> MessageKind {
    match network_code {
        1 | 3..=6 => MessageKind::SignIn(network_code),
        370 => MessageKind::CapkDownload,
        371 => MessageKind::CapkDownloadEnd,
        380 => MessageKind::AidDownload,
        381 => MessageKind::AidDownloadEnd,
        360 | 364 | 390 | 392 | 394 | 396 | 398 => MessageKind::ParameterDownload(network_code),
        361 | 365 | 391 | 393 | 395 | 397 | 399 => MessageKind::ParameterDownloadEnd(network_code),
        _ => MessageKind::Unknown,
    }
}

fn status(query: &Query) -> MessageKind {
    match query.network_code {
        2 => MessageKind::SignOff,
        301 => MessageKind::Echo,
        362 => MessageKind::StatusUpload,
        372 => MessageKind::CapkStatus,
        382 => MessageKind::AidStatus,
        401 => MessageKind::CashierPointsSignIn,
        800 if query.transaction_type == 7 => MessageKind::ElectronicSignature,
        _ => MessageKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(mti: &[u8; 4], code: &[u8; 6], condition: &[u8; 2], typ: u8, net: u16) -> MessageKind {
        MessageKind::classify(&Query {
            mti: *mti,
            processing_code: Some(ProcessingCode(*code)),
            condition: Some(ConditionCode(*condition)),
            transaction_type: typ,
            network_code: net,
            is_qr: false,
        })
    }

    #[test]
    fn every_row_of_the_master_table() {
        use MessageKind as Kind;
        let rows = [
            (kind(b"0200", b"310000", b"00", 1, 0), Kind::Balance),
            (kind(b"0200", b"000000", b"00", 22, 0), Kind::Sale),
            (kind(b"0200", b"200000", b"00", 23, 0), Kind::SaleVoid),
            (kind(b"0220", b"200000", b"00", 25, 0), Kind::Refund),
            (kind(b"0100", b"030000", b"06", 10, 0), Kind::PreAuthorisation),
            (kind(b"0100", b"200000", b"06", 11, 0), Kind::PreAuthorisationVoid),
            (kind(b"0200", b"000000", b"06", 20, 0), Kind::Completion),
            (kind(b"0220", b"000000", b"06", 24, 0), Kind::CompletionNotice),
            (kind(b"0200", b"200000", b"06", 21, 0), Kind::CompletionVoid),
            (kind(b"0200", b"000000", b"00", 36, 0), Kind::OfflineSaleUpload),
            (kind(b"0220", b"200000", b"00", 27, 0), Kind::OfflineRefund),
            (kind(b"0220", b"000000", b"00", 30, 0), Kind::OfflineSettlement),
            (kind(b"0220", b"000000", b"00", 32, 0), Kind::SettlementAdjust),
            (kind(b"0220", b"000000", b"00", 34, 0), Kind::SettlementAdjust),
            (kind(b"0400", b"000000", b"00", 22, 0), Kind::Reversal),
            (kind(b"0620", b"000000", b"00", 0, 951), Kind::ScriptResult),
            (kind(b"0200", b"730000", b"00", 60, 0), Kind::QrQuery),
            (kind(b"0200", b"000000", b"08", 22, 0), Kind::MailOrderSale),
            (kind(b"0200", b"000000", b"64", 22, 0), Kind::InstalmentSale),
            (kind(b"0200", b"200000", b"64", 23, 0), Kind::InstalmentVoid),
            (kind(b"0200", b"000000", b"65", 22, 0), Kind::OtherFinancial),
            (kind(b"0200", b"000000", b"91", 45, 0), Kind::OtherFinancial),
            (kind(b"0200", b"000000", b"00", 99, 0), Kind::Unknown),
        ];
        for (index, (found, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found, expected, "row {index}");
        }
    }

    #[test]
    fn a_qr_code_makes_other_rows_of_the_same_codes() {
        use MessageKind as Kind;
        let scanned = |mti: &[u8; 4], code: &[u8; 6], typ: u8| {
            MessageKind::classify(&Query {
                mti: *mti,
                processing_code: Some(ProcessingCode(*code)),
                condition: Some(NORMAL),
                transaction_type: typ,
                network_code: 0,
                is_qr: true,
            })
        };
        let rows = [
            (scanned(b"0200", b"000000", 22), Kind::QrSale),
            (scanned(b"0200", b"710000", 22), Kind::QrOrder),
            (scanned(b"0200", b"200000", 23), Kind::QrVoid),
            (scanned(b"0220", b"200000", 25), Kind::QrRefund),
            (scanned(b"0200", b"730000", 60), Kind::QrQuery),
            (scanned(b"0400", b"710000", 22), Kind::Reversal),
            (kind(b"0200", b"710000", b"00", 22, 0), Kind::OtherFinancial),
        ];
        for (index, (found, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found, expected, "row {index}");
        }
        assert!(Kind::QrOrder.needs_mac() && Kind::QrOrder.is_reversible());
        assert!(Kind::QrQuery.needs_mac() && !Kind::QrQuery.is_reversible());
    }

    #[test]
    fn management_rows() {
        use MessageKind as Kind;
        let management = |mti: &[u8; 4], typ, net| {
            MessageKind::classify(&Query {
                mti: *mti,
                processing_code: None,
                condition: None,
                transaction_type: typ,
                network_code: net,
                is_qr: false,
            })
        };
        let rows = [
            (management(b"0800", 0, 4), Kind::SignIn(4)),
            (management(b"0800", 0, 2), Kind::Unknown),
            (management(b"0820", 0, 2), Kind::SignOff),
            (management(b"0820", 0, 301), Kind::Echo),
            (management(b"0820", 0, 372), Kind::CapkStatus),
            (management(b"0800", 0, 370), Kind::CapkDownload),
            (management(b"0800", 0, 371), Kind::CapkDownloadEnd),
            (management(b"0820", 0, 382), Kind::AidStatus),
            (management(b"0800", 0, 380), Kind::AidDownload),
            (management(b"0800", 0, 381), Kind::AidDownloadEnd),
            (management(b"0800", 0, 360), Kind::ParameterDownload(360)),
            (management(b"0800", 0, 395), Kind::ParameterDownloadEnd(395)),
            (management(b"0820", 0, 362), Kind::StatusUpload),
            (management(b"0820", 7, 800), Kind::ElectronicSignature),
            (management(b"0500", 0, 201), Kind::Settlement),
            (management(b"0320", 0, 201), Kind::BatchDetails),
            (management(b"0320", 0, 203), Kind::BatchIcUpload),
            (management(b"0320", 25, 0), Kind::BatchNotice),
            (management(b"0320", 0, 207), Kind::BatchEnd { balanced: true }),
            (management(b"0320", 0, 202), Kind::BatchEnd { balanced: false }),
            (management(b"0200", 22, 0), Kind::Unknown),
        ];
        for (index, (found, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found, expected, "row {index}");
        }
    }

    #[test]
    fn macs_and_reversals_as_in_the_table() {
        assert!(MessageKind::Sale.needs_mac() && MessageKind::Sale.is_reversible());
        assert!(MessageKind::Refund.needs_mac() && !MessageKind::Refund.is_reversible());
        assert!(MessageKind::Balance.needs_mac() && !MessageKind::Balance.is_reversible());
        assert!(!MessageKind::SignIn(3).needs_mac() && !MessageKind::Settlement.needs_mac());
        assert!(!MessageKind::BatchNotice.needs_mac());
        assert_eq!(request_type(*b"0210"), *b"0200");
        assert_eq!(request_type(*b"0230"), *b"0220");
        assert_eq!(request_type(*b"0200"), *b"0200");
    }
}
