//! The layout of UnionPay POS messages between terminal and host (Q/CUP 009 family).

use std::borrow::Cow;

use crate::bitmap::{BitmapCoding, BitmapExtent, BitmapSpec};
use crate::prefix::LengthPrefix;
use crate::spec::{Encoding, FieldSpec, Fill, Kind, MTI_DIGITS, NibbleAlphabet, OddPad, Sensitivity, Spec, table};

/// Number of the last field, the MAC.
pub const MAC_FIELD: u8 = 64;

const BCD: Encoding = Encoding::Packed(NibbleAlphabet::Decimal);
const TRACK: Encoding = Encoding::Packed(NibbleAlphabet::Hex);
const LL: LengthPrefix = LengthPrefix::bcd(2);
const LLL: LengthPrefix = LengthPrefix::bcd(3);

/// The whole layout.
pub static SPEC: Spec = Spec {
    name: Cow::Borrowed("unionpay"),
    header: None,
    mti: FieldSpec::fixed(Kind::Numeric, BCD, MTI_DIGITS),
    bitmap: BitmapSpec::new(BitmapCoding::Binary, BitmapExtent::Single),
    fields: Cow::Borrowed(&TABLE),
};

static TABLE: [Option<FieldSpec>; MAC_FIELD as usize + 1] = table(&FIELDS);

/// `n`, fixed, packed.
const fn n(digits: usize) -> FieldSpec {
    FieldSpec::fixed(Kind::Numeric, BCD, digits)
}

/// `n..`, packed, filler on the right.
const fn n_var(prefix: LengthPrefix, max: usize) -> FieldSpec {
    FieldSpec::variable(Kind::Numeric, BCD, prefix, max).odd(OddPad::Right(0))
}

/// `z..`, nibbles, filler on the right. Enciphered tracks hold any nibble.
const fn z_var(prefix: LengthPrefix, max: usize) -> FieldSpec {
    FieldSpec::variable(Kind::Track, TRACK, prefix, max).odd(OddPad::Right(0)).sensitive(Sensitivity::Track)
}

/// `an`, fixed, visible ASCII.
const fn an(characters: usize) -> FieldSpec {
    FieldSpec::fixed(Kind::AlphaNumeric, Encoding::Ascii, characters).filled(Fill::SpaceRight)
}

/// `ans`, fixed; GBK passes.
const fn ans(characters: usize) -> FieldSpec {
    FieldSpec::fixed(Kind::Text, Encoding::Latin1, characters).filled(Fill::SpaceRight)
}

/// `ans..`; GBK passes.
const fn ans_var(prefix: LengthPrefix, max: usize) -> FieldSpec {
    FieldSpec::variable(Kind::Text, Encoding::Latin1, prefix, max)
}

/// `b`, fixed.
const fn b(octets: usize) -> FieldSpec {
    FieldSpec::fixed(Kind::Binary, Encoding::Octets, octets)
}

/// Bytes, LLLVAR.
const fn b_var(max: usize) -> FieldSpec {
    FieldSpec::variable(Kind::Binary, Encoding::Octets, LLL, max)
}

const FIELDS: [(u8, FieldSpec); 35] = [
    (2, n_var(LL, 19).named("PAN", "主账号").sensitive(Sensitivity::Pan)),
    (3, n(6).named("processing code", "交易处理码")),
    (4, n(12).named("amount", "交易金额")),
    (11, n(6).named("trace number", "受卡方系统跟踪号")),
    (12, n(6).named("local time", "受卡方所在地时间")),
    (13, n(4).named("local date", "受卡方所在地日期")),
    (14, n(4).named("expiry", "卡有效期").sensitive(Sensitivity::AccountData)),
    (15, n(4).named("settlement date", "清算日期")),
    (22, n(3).named("POS entry mode", "服务点输入方式码").odd(OddPad::Right(0))),
    (23, n(3).named("card sequence number", "卡序列号").odd(OddPad::Left(0))),
    (25, n(2).named("POS condition code", "服务点条件码")),
    (26, n(2).named("PIN capture code", "服务点PIN获取码")),
    (32, n_var(LL, 11).named("acquirer id", "受理方标识码")),
    (35, z_var(LL, 37).named("track 2", "第二磁道数据")),
    (36, z_var(LLL, 104).named("track 3", "第三磁道数据")),
    (37, an(12).named("retrieval reference number", "检索参考号")),
    (38, an(6).named("authorisation code", "授权标识应答码")),
    (39, an(2).named("response code", "应答码")),
    (41, ans(8).named("terminal id", "终端号")),
    (42, ans(15).named("merchant id", "商户号")),
    (44, ans_var(LL, 25).named("additional response data", "附加响应数据")),
    (48, n_var(LLL, 322).named("additional private data", "附加数据-私有")),
    (49, an(3).named("currency", "交易货币代码")),
    (52, b(8).named("PIN block", "个人标识码数据").sensitive(Sensitivity::Pin)),
    (53, n(16).named("security control", "安全控制信息")),
    (54, ans_var(LLL, 20).named("balance", "附加金额")),
    (55, b_var(255).named("IC data", "IC卡数据域").sensitive(Sensitivity::AccountData)),
    (57, b_var(999).named("extension", "扩展域").sensitive(Sensitivity::Opaque)),
    (58, b_var(100).named("e-purse data", "PBOC电子钱包标准的交易信息").sensitive(Sensitivity::Opaque)),
    (59, b_var(999).named("custom data", "自定义域").sensitive(Sensitivity::Opaque)),
    (60, n_var(LLL, 19).named("type, batch, network code", "自定义域")),
    (61, n_var(LLL, 29).named("original message", "原始信息域")),
    (62, b_var(999).named("keys, parameters, files", "自定义域")),
    (63, ans_var(LLL, 163).named("operator, card organisation, text", "自定义域")),
    (64, ans(8).named("MAC", "报文鉴别码").filled(Fill::Refused)),
];
