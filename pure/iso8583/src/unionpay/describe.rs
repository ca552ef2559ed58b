//! A UnionPay message in words, with the parts of its structured fields.

use crate::describe::{Disclosure, Line, bitmap_line, field_line, hex, hidden, mti_line};
use crate::error::FieldPath;
use crate::message::{Field, Message};
use crate::unionpay::{
    Balance, Body, EntryMode, F60, F61, Institutions, MessageKind, Opened, OperatorOrCard, Requirement,
    SecurityControl, TOTALS_DIGITS, Totals, parse_tags59, response,
};

/// TPDU and header (if there), message type, bitmap, every field, and the parts of F44, F48, F54,
/// F60, F61 and F63. F55 is one line; its TLV is left to the caller.
#[must_use]
pub fn describe_opened(opened: &Opened<'_>, disclosure: Disclosure) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(tpdu) = opened.tpdu {
        let meaning = format!("to {}, from {}", hex(&tpdu.destination()), hex(&tpdu.origin()));
        let line = Line::new(FieldPath::Tpdu, "TPDU", "传输地址", hex(&tpdu.0));
        lines.push(line.meaning(meaning));
    }
    if let Some(header) = opened.header {
        let meaning = match header.requirement() {
            Requirement::Nothing => String::new(),
            requirement => format!("the terminal must: {requirement:?}"),
        };
        let line = Line::new(FieldPath::Header, "header", "报文头", hex(&header.0));
        lines.push(line.meaning(meaning));
    }
    lines.extend(describe(&opened.message, disclosure));
    lines
}

/// As [`describe_opened`], without what stands in front of the message.
#[must_use]
pub fn describe(message: &Message<'_>, disclosure: Disclosure) -> Vec<Line> {
    let kind = Body::from_message(message).map_or(MessageKind::Unknown, |body| MessageKind::of(&body));
    let mut lines = vec![mti_line(message).meaning(format!("{kind:?}")), bitmap_line(message)];
    for field in message.fields() {
        describe_field(&field, kind, disclosure, &mut lines);
    }
    lines
}

fn describe_field(field: &Field<'_>, kind: MessageKind, disclosure: Disclosure, lines: &mut Vec<Line>) {
    let mut line = field_line(field, disclosure);
    if disclosure == Disclosure::Masked && holds_secrets(field, kind) {
        line.value = hidden(field);
    }
    line.meaning = meaning(field);
    lines.push(line);
    parts(field, disclosure, lines);
}

/// Fields whose sensitivity depends on the message: keys in F62 of a sign-in, card numbers in F48
/// of a batch upload, texts that only an acquirer knows.
fn holds_secrets(field: &Field<'_>, kind: MessageKind) -> bool {
    match field.number_in_message() {
        48 => !matches!(kind, MessageKind::Settlement | MessageKind::BatchEnd { .. }),
        62 => !matches!(
            kind,
            MessageKind::CapkStatus
                | MessageKind::CapkDownload
                | MessageKind::AidStatus
                | MessageKind::AidDownload
                | MessageKind::ParameterDownload(_)
                | MessageKind::StatusUpload
                | MessageKind::BatchIcUpload
        ),
        _ => false,
    }
}

fn meaning(field: &Field<'_>) -> String {
    match field.number_in_message() {
        22 => field.array().map_or_else(String::new, |digits| {
            let mode = EntryMode(digits);
            format!("{:?}, PIN {:?}", mode.entry(), mode.pin())
        }),
        39 => field.array().map_or_else(String::new, |code| {
            let info = response::info(code);
            format!("{} {}", info.meaning, info.display_zh)
        }),
        53 => field.array().map_or_else(String::new, |digits| {
            let control = SecurityControl(digits);
            let tracks = if control.tracks_enciphered() { "enciphered" } else { "clear" };
            format!("PIN {:?}, {:?}, tracks {tracks}", control.pin_format(), control.algorithm())
        }),
        _ => String::new(),
    }
}

fn parts(field: &Field<'_>, disclosure: Disclosure, lines: &mut Vec<Line>) {
    let characters = || field.to_vec();
    match field.number_in_message() {
        44 => institutions(&Institutions::parse(field.bytes()), lines),
        48 if field.count() == TOTALS_DIGITS => {
            if let Ok(totals) = Totals::parse(&characters()) {
                totals_parts(&totals, lines);
            }
        }
        54 => {
            if let Ok(balance) = Balance::parse(field.bytes()) {
                let value = balance.balance_minor.to_string();
                lines.push(part(54, 4, "balance in minor units", "余额", value));
            }
        }
        59 => tags59(field.bytes(), disclosure, lines),
        60 => {
            if let Ok(f60) = F60::parse(&characters()) {
                f60_parts(&f60, lines);
            }
        }
        61 => {
            if let Ok(f61) = F61::parse(&characters()) {
                f61_parts(&f61, lines);
            }
        }
        63 => operator_or_card(&OperatorOrCard::parse(field.bytes()), lines),
        _ => {}
    }
}

fn part(field: u8, number: u8, name: &'static str, name_zh: &'static str, value: String) -> Line {
    Line::new(FieldPath::Part(field, number), name, name_zh, value)
}

/// Text if every byte can be shown, else hexadecimal (GBK).
fn readable(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| matches!(byte, 0x20..=0x7E)) {
        bytes.iter().map(|&byte| char::from(byte)).collect()
    } else {
        hex(bytes)
    }
}

fn institutions(institutions: &Institutions, lines: &mut Vec<Line>) {
    lines.push(part(44, 1, "issuer", "发卡机构", readable(&institutions.issuer)));
    lines.push(part(44, 2, "acquirer", "收单机构", readable(&institutions.acquirer)));
}

fn totals_parts(totals: &Totals, lines: &mut Vec<Line>) {
    let groups = [(1, "domestic totals", "内卡", &totals.domestic), (2, "foreign totals", "外卡", &totals.foreign)];
    for (number, name, name_zh, group) in groups {
        let value = format!(
            "debit {} ×{}, credit {} ×{}",
            group.debit_minor, group.debit_count, group.credit_minor, group.credit_count
        );
        let meaning = format!("{:?}", group.reconciliation);
        lines.push(part(48, number, name, name_zh, value).meaning(meaning));
    }
}

fn tags59(bytes: &[u8], disclosure: Disclosure, lines: &mut Vec<Line>) {
    for tag in parse_tags59(bytes).unwrap_or_default() {
        let (name, name_zh) = match &tag.tag {
            b"A1" => ("SM4 PIN block", "国密PIN"),
            b"A2" => ("terminal registration", "终端信息"),
            b"A3" => ("payment code", "付款码"),
            b"A4" => ("payment voucher", "付款凭证码"),
            b"A5" => ("location", "地理位置"),
            _ => ("custom", "自定义"),
        };
        let value = match disclosure {
            Disclosure::TestData => readable(tag.value),
            Disclosure::Masked => format!("**** ({} bytes)", tag.value.len()),
        };
        let mut line = Line::new(FieldPath::Field(59), name, name_zh, value);
        line.path = format!("59.{}", readable(&tag.tag));
        lines.push(line);
    }
}

fn f60_parts(f60: &F60, lines: &mut Vec<Line>) {
    let length = f60.digits().len();
    let all = [
        (8, part(60, 1, "transaction type", "交易类型码", format!("{:02}", f60.transaction_type()))),
        (8, part(60, 2, "batch", "批次号", format!("{:06}", f60.batch()))),
        (11, part(60, 3, "network code", "网络管理信息码", format!("{:03}", f60.network_code()))),
        (12, part(60, 4, "read capability", "终端读取能力", f60.read_capability().to_string())),
        (13, part(60, 5, "chip condition", "IC卡条件代码", f60.chip_condition().to_string())),
        (14, part(60, 6, "partial approval", "支持部分扣款", u8::from(f60.partial_approval()).to_string())),
        (17, part(60, 7, "account type", "账户类型", format!("{:03}", f60.account_type()))),
    ];
    lines.extend(all.into_iter().filter(|(end, _)| length >= *end).map(|(_, line)| line));
}

fn f61_parts(f61: &F61, lines: &mut Vec<Line>) {
    let batch = f61.batch().map(|batch| format!("{batch:06}"));
    let trace = f61.trace().map(|trace| format!("{trace:06}"));
    let date = f61.date_mmdd().map(|date| format!("{date:04}"));
    let mode = f61.authorisation_mode().map(|mode| format!("{mode:02}"));
    let institution = f61.institution().map(|institution| format!("{institution:011}"));
    let all = [
        (1, "original batch", "原批次号", batch),
        (2, "original trace", "原凭证号", trace),
        (3, "original date", "原交易日期", date),
        (4, "authorisation mode", "原授权方式", mode),
        (5, "authorising institution", "原授权机构", institution),
    ];
    lines.extend(
        all.into_iter()
            .filter_map(|(number, name, name_zh, value)| value.map(|value| part(61, number, name, name_zh, value))),
    );
}

fn operator_or_card(value: &OperatorOrCard<'_>, lines: &mut Vec<Line>) {
    let code = readable(&value.code);
    lines.push(part(63, 1, "operator or card organisation", "操作员号/卡组织", code));
    if !value.text.is_empty() {
        lines.push(part(63, 2, "text", "附加信息", readable(value.text)));
    }
}
