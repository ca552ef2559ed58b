//! F39 response codes: class, meaning, and the text for the screen (unionpay-pos §7).

/// What a response code asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionClass {
    /// A: approved. Only these complete a transaction.
    Approved,
    /// B: declined; operator or cardholder may try again.
    Retry,
    /// C: declined; do not try again.
    Declined,
    /// D: declined; operator or merchant must act (keep the card, sign in, call).
    ActRequired,
    /// E: system or communication failure.
    Failure,
}

/// What is known about a response code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseInfo {
    /// The code, two characters.
    pub code: [u8; 2],
    /// What it asks for.
    pub class: ActionClass,
    /// Meaning in English.
    pub meaning: &'static str,
    /// Customary text on a terminal's screen.
    pub display_zh: &'static str,
}

impl ResponseInfo {
    /// Whether the terminal must sign in before its next transaction (§7).
    #[must_use]
    pub const fn requires_sign_in(&self) -> bool {
        matches!(&self.code, b"77" | b"99" | b"A0")
    }

    /// Whether the issuer asks to keep the card.
    #[must_use]
    pub const fn requests_capture(&self) -> bool {
        let [tens, ones] = self.code;
        matches!(&self.code, b"04" | b"07" | b"41" | b"43") || tens == b'3' && ones >= b'3' && ones <= b'8'
    }

    /// Whether the host may send it without a MAC (D18). Never an approval.
    #[must_use]
    pub const fn may_lack_mac(&self) -> bool {
        matches!(&self.code, b"A0" | b"77" | b"97" | b"03" | b"30")
    }
}

/// What a response code means. Unknown codes are declines.
#[must_use]
pub fn info(code: [u8; 2]) -> ResponseInfo {
    match CODES.binary_search_by(|entry| entry.code.cmp(&code)) {
        Ok(index) => CODES[index],
        Err(_) => ResponseInfo { code, ..UNKNOWN },
    }
}

const UNKNOWN: ResponseInfo = row(b"  ", ActionClass::Declined, "unknown", "交易失败");

const fn row(code: &[u8; 2], class: ActionClass, meaning: &'static str, display_zh: &'static str) -> ResponseInfo {
    ResponseInfo { code: *code, class, meaning, display_zh }
}

use ActionClass::{ActRequired, Approved, Declined, Failure, Retry};

/// In ascending order of the code.
#[rustfmt::skip]
static CODES: [ResponseInfo; 76] = [
    row(b"00", Approved, "approved", "交易成功"),
    row(b"01", Declined, "refer to issuer", "请持卡人与发卡银行联系"),
    row(b"02", Declined, "refer to issuer, special condition", "请与发卡行联系"),
    row(b"03", Declined, "invalid merchant", "无效商户"),
    row(b"04", ActRequired, "pick up card", "此卡被没收"),
    row(b"05", Declined, "do not honour / cardholder verification failed", "不予承兑"),
    row(b"06", Failure, "error", "出错"),
    row(b"07", ActRequired, "pick up card, special condition", "特定条件下没收卡"),
    row(b"09", Retry, "request in progress", "请求正在处理中"),
    row(b"10", Approved, "approved for partial amount (F4 = approved amount)", "部分金额承兑"),
    row(b"11", Approved, "approved, VIP", "成功,VIP客户"),
    row(b"12", Declined, "invalid transaction", "无效交易"),
    row(b"13", Retry, "invalid amount", "无效金额"),
    row(b"14", Retry, "invalid card number", "无效卡号"),
    row(b"15", Declined, "no such issuer", "此卡无对应发卡方"),
    row(b"16", Approved, "approved, update track 3", "批准更新第三磁道"),
    row(b"19", Declined, "re-enter transaction", "重新送入交易"),
    row(b"20", Declined, "invalid response", "无效应答"),
    row(b"21", Declined, "no action / card not initialised", "不作任何处理"),
    row(b"22", Declined, "suspected malfunction; operation wrong or too late", "操作有误"),
    row(b"23", Declined, "unacceptable fee", "不可接受的手续费"),
    row(b"25", Declined, "original record not found", "未找到原交易"),
    row(b"30", Declined, "format error", "报文格式错误"),
    row(b"31", Declined, "bank not supported by switch", "交换站不支持此银行"),
    row(b"33", ActRequired, "expired card, pick up", "过期的卡,没收"),
    row(b"34", ActRequired, "suspected fraud, pick up", "有作弊嫌疑,没收"),
    row(b"35", ActRequired, "contact acquirer, pick up", "与受理方联系,没收"),
    row(b"36", ActRequired, "restricted card, pick up", "受限制的卡,没收"),
    row(b"37", ActRequired, "call acquirer security, pick up", "呼受理方安全部门,没收"),
    row(b"38", ActRequired, "PIN tries exceeded, pick up", "超过允许的PIN试输入,没收"),
    row(b"39", Declined, "no credit account", "无此信用卡账户"),
    row(b"40", Declined, "function not supported", "请求的功能尚不支持"),
    row(b"41", ActRequired, "lost card", "挂失卡"),
    row(b"42", Retry, "no universal account", "无此账户"),
    row(b"43", ActRequired, "stolen card", "被窃卡"),
    row(b"44", Declined, "no investment account", "无此投资账户"),
    row(b"45", Declined, "fallback not allowed (chip card)", "不允许降级交易"),
    row(b"51", Declined, "insufficient funds", "可用余额不足"),
    row(b"52", Declined, "no cheque account", "无此支票账户"),
    row(b"53", Declined, "no savings account", "无此储蓄卡账户"),
    row(b"54", Declined, "expired card", "卡已过期"),
    row(b"55", Declined, "wrong PIN", "密码错"),
    row(b"56", Declined, "no card record", "无此卡记录"),
    row(b"57", Declined, "not permitted to cardholder", "不允许持卡人进行的交易"),
    row(b"58", Declined, "not permitted to terminal", "不允许终端进行的交易"),
    row(b"59", Declined, "suspected fraud", "有作弊嫌疑"),
    row(b"60", Declined, "contact acquirer", "与受理方联系"),
    row(b"61", Declined, "amount limit exceeded", "超出取款/交易金额限制"),
    row(b"62", Declined, "restricted card", "受限制的卡"),
    row(b"63", Declined, "security violation", "违反安全保密规定"),
    row(b"64", Declined, "original amount incorrect", "原始金额不正确"),
    row(b"65", Declined, "frequency limit exceeded", "超出交易次数限制"),
    row(b"66", Declined, "contact acquirer security", "通知受理方安全部门"),
    row(b"67", Declined, "forced acceptance / capture at ATM", "没收卡"),
    row(b"68", Declined, "response too late", "交易超时"),
    row(b"75", Declined, "PIN tries exceeded", "密码错误次数超限"),
    row(b"77", ActRequired, "sign in again (batch no. mismatch)", "请重新签到"),
    row(b"79", Declined, "offline reconciliation mismatch; re-upload", "脱机交易对账不平"),
    row(b"90", Declined, "day-end processing", "日切处理中,请稍后重试"),
    row(b"91", Declined, "issuer inoperative", "发卡方状态不正常"),
    row(b"92", Declined, "issuer line abnormal", "发卡方线路异常"),
    row(b"93", Declined, "illegal transaction", "交易违法"),
    row(b"94", Declined, "duplicate transaction", "重复交易"),
    row(b"95", Declined, "reconcile control error", "调节控制错"),
    row(b"96", Declined, "system malfunction", "系统异常"),
    row(b"97", ActRequired, "terminal not registered", "终端未登记"),
    row(b"98", Failure, "no reply from issuer", "收不到发卡方应答"),
    row(b"99", Retry, "PIN format error → sign in again", "PIN格式错,请重新签到"),
    row(b"A0", Retry, "MAC error → sign in again", "MAC校验错,请重新签到"),
    row(b"A1", Declined, "transfer currency mismatch", "转账货币不一致"),
    row(b"A2", Approved, "success with defect (confirm with receiving bank)", "有缺陷的成功"),
    row(b"A3", Declined, "wrong account at receiving bank", "资金到账行账号不正确"),
    row(b"A4", Approved, "success with defect (confirm with receiving bank)", "有缺陷的成功"),
    row(b"A5", Approved, "success with defect (confirm with receiving bank)", "有缺陷的成功"),
    row(b"A6", Approved, "success with defect (confirm with receiving bank)", "有缺陷的成功"),
    row(b"A7", Declined, "security processing failed", "安全处理失败"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_approvals_are_the_eight_of_the_specification() {
        assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
        let approved: Vec<&[u8; 2]> =
            CODES.iter().filter(|entry| entry.class == Approved).map(|entry| &entry.code).collect();
        assert_eq!(approved, [b"00", b"10", b"11", b"16", b"A2", b"A4", b"A5", b"A6"]);
        assert!(CODES.iter().all(|entry| !(entry.class == Approved && entry.may_lack_mac())));
    }

    #[test]
    fn known_and_unknown_codes() {
        assert_eq!(info(*b"51").display_zh, "可用余额不足");
        assert!(info(*b"77").requires_sign_in());
        assert!(info(*b"34").requests_capture() && !info(*b"39").requests_capture());
        let unknown = info(*b"ZZ");
        assert_eq!((unknown.code, unknown.class), (*b"ZZ", Declined));
    }
}
