//! Response codes in words (unionpay-pos §7).

use crate::text::Text;
use types::ResponseCode;

/// What a cashier does about a response code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ActionClass {
    /// A: approved.
    Approved,
    /// B: declined; try again with the same or corrected data.
    Retry,
    /// C: declined; do not try again.
    Declined,
    /// D: declined; the merchant must act (sign in, call, keep the card).
    CallForAction,
    /// E: a failure of a system or a line.
    Failure,
}

/// Code, class, Chinese display text, English text; sorted by code.
const TABLE: &[(&[u8; 2], ActionClass, &str, &str)] = {
    use ActionClass::{Approved, CallForAction, Declined, Failure, Retry};
    &[
        (b"00", Approved, "交易成功", "Approved"),
        (b"01", Declined, "请持卡人与发卡银行联系", "Refer to the card issuer"),
        (b"02", Declined, "请与发卡行联系", "Refer to the card issuer (special condition)"),
        (b"03", Declined, "无效商户", "Invalid merchant"),
        (b"04", CallForAction, "此卡被没收", "Pick up card"),
        (b"05", Declined, "不予承兑", "Not honoured"),
        (b"06", Failure, "出错", "Error"),
        (b"07", CallForAction, "特定条件下没收卡", "Pick up card, special condition"),
        (b"09", Retry, "请求正在处理中", "Request in progress"),
        (b"10", Approved, "部分金额承兑", "Approved for a partial amount"),
        (b"11", Approved, "成功,VIP客户", "Approved (VIP)"),
        (b"12", Declined, "无效交易", "Invalid transaction"),
        (b"13", Retry, "无效金额", "Invalid amount"),
        (b"14", Retry, "无效卡号", "Invalid card number"),
        (b"15", Declined, "此卡无对应发卡方", "No such issuer"),
        (b"16", Approved, "批准更新第三磁道", "Approved, update track 3"),
        (b"19", Declined, "重新送入交易", "Re-enter transaction"),
        (b"20", Declined, "无效应答", "Invalid response"),
        (b"21", Declined, "不作任何处理", "No action taken"),
        (b"22", Declined, "操作有误", "Operation wrong or too late"),
        (b"23", Declined, "不可接受的手续费", "Unacceptable fee"),
        (b"25", Declined, "未找到原交易", "Original transaction not found"),
        (b"30", Declined, "报文格式错误", "Format error"),
        (b"31", Declined, "交换站不支持此银行", "Bank not supported by the switch"),
        (b"33", CallForAction, "过期的卡,没收", "Expired card, pick up"),
        (b"34", CallForAction, "有作弊嫌疑,没收", "Suspected fraud, pick up"),
        (b"35", CallForAction, "与受理方联系,没收", "Contact acquirer, pick up"),
        (b"36", CallForAction, "受限制的卡,没收", "Restricted card, pick up"),
        (b"37", CallForAction, "呼受理方安全部门,没收", "Call acquirer security, pick up"),
        (b"38", CallForAction, "超过允许的PIN试输入,没收", "PIN tries exceeded, pick up"),
        (b"39", Declined, "无此信用卡账户", "No credit account"),
        (b"40", Declined, "请求的功能尚不支持", "Function not supported"),
        (b"41", CallForAction, "挂失卡", "Lost card"),
        (b"42", Retry, "无此账户", "No universal account"),
        (b"43", CallForAction, "被窃卡", "Stolen card"),
        (b"44", Declined, "无此投资账户", "No investment account"),
        (b"45", Declined, "不允许降级交易", "Fallback is not allowed for a chip card"),
        (b"51", Declined, "可用余额不足", "Insufficient funds"),
        (b"52", Declined, "无此支票账户", "No cheque account"),
        (b"53", Declined, "无此储蓄卡账户", "No savings account"),
        (b"54", Declined, "卡已过期", "Expired card"),
        (b"55", Declined, "密码错", "Wrong PIN"),
        (b"56", Declined, "无此卡记录", "No card record"),
        (b"57", Declined, "不允许持卡人进行的交易", "Not permitted to the cardholder"),
        (b"58", Declined, "不允许终端进行的交易", "Not permitted to the terminal"),
        (b"59", Declined, "有作弊嫌疑", "Suspected fraud"),
        (b"60", Declined, "与受理方联系", "Contact acquirer"),
        (b"61", Declined, "超出取款/交易金额限制", "Amount limit exceeded"),
        (b"62", Declined, "受限制的卡", "Restricted card"),
        (b"63", Declined, "违反安全保密规定", "Security violation"),
        (b"64", Declined, "原始金额不正确", "Original amount incorrect"),
        (b"65", Declined, "超出交易次数限制", "Frequency limit exceeded"),
        (b"66", Declined, "通知受理方安全部门", "Contact acquirer security"),
        (b"67", Declined, "没收卡", "Pick up card"),
        (b"68", Declined, "交易超时", "Response too late"),
        (b"75", Declined, "密码错误次数超限", "PIN tries exceeded"),
        (b"77", CallForAction, "请重新签到", "Sign in again: the batch numbers differ"),
        (b"79", Declined, "脱机交易对账不平", "Offline reconciliation does not match"),
        (b"90", Declined, "日切处理中,请稍后重试", "Day-end processing, try later"),
        (b"91", Declined, "发卡方状态不正常", "Issuer inoperative"),
        (b"92", Declined, "发卡方线路异常", "Issuer line abnormal"),
        (b"93", Declined, "交易违法", "Illegal transaction"),
        (b"94", Declined, "重复交易", "Duplicate transaction"),
        (b"95", Declined, "调节控制错", "Reconcile control error"),
        (b"96", Declined, "系统异常", "System malfunction"),
        (b"97", CallForAction, "终端未登记", "Terminal not registered"),
        (b"98", Failure, "收不到发卡方应答", "No reply from the issuer"),
        (b"99", Retry, "PIN格式错,请重新签到", "PIN format error: sign in again"),
        (b"A0", Retry, "MAC校验错,请重新签到", "Message authentication error: sign in again"),
        (b"A1", Declined, "转账货币不一致", "Transfer currency mismatch"),
        (b"A2", Approved, "有缺陷的成功", "Approved with a defect: confirm with the receiving bank"),
        (b"A3", Declined, "资金到账行账号不正确", "Wrong account at the receiving bank"),
        (b"A4", Approved, "有缺陷的成功", "Approved with a defect: confirm with the receiving bank"),
        (b"A5", Approved, "有缺陷的成功", "Approved with a defect: confirm with the receiving bank"),
        (b"A6", Approved, "有缺陷的成功", "Approved with a defect: confirm with the receiving bank"),
        (b"A7", Declined, "安全处理失败", "Security processing failed"),
    ]
};

fn row(code: ResponseCode) -> Option<&'static (&'static [u8; 2], ActionClass, &'static str, &'static str)> {
    let index = TABLE.binary_search_by(|row| row.0.cmp(code.bytes())).ok()?;
    TABLE.get(index)
}

/// The text that customers know; unlisted codes are failures in words.
pub fn text(code: ResponseCode) -> Text {
    match row(code) {
        Some((_, _, zh, en)) => Text::new(format!("{zh}({code})"), format!("{en} ({code})")),
        None => Text::new(format!("交易失败({code})"), format!("Transaction failed ({code})")),
    }
}

/// The action class; unlisted codes are declines.
pub fn class(code: ResponseCode) -> ActionClass {
    row(code).map_or(ActionClass::Declined, |row| row.1)
}

/// Whether the host demands a new sign-in (§3.5 rule 5).
pub(crate) fn wants_sign_in(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::SIGN_IN_AGAIN | ResponseCode::PIN_FORMAT | ResponseCode::MAC_ERROR)
}

/// Whether the code says nothing about the transaction itself, so that a notice must be sent again.
pub(crate) fn is_passing(code: ResponseCode) -> bool {
    matches!(code.bytes(), b"06" | b"09" | b"68" | b"90" | b"91" | b"92" | b"96" | b"98") || wants_sign_in(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_agrees_with_the_approvals() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for row in TABLE {
            let code = ResponseCode::new(*row.0).unwrap();
            assert_eq!(code.is_approval(), row.1 == ActionClass::Approved, "{code}");
        }
    }

    #[test]
    fn codes_have_texts_in_both_languages() {
        let funds = text(ResponseCode::INSUFFICIENT_FUNDS);
        assert_eq!((funds.zh.as_str(), funds.en.as_str()), ("可用余额不足(51)", "Insufficient funds (51)"));
        assert_eq!(text(ResponseCode::parse("Z9").unwrap()).en, "Transaction failed (Z9)");
        assert_eq!(class(ResponseCode::SIGN_IN_AGAIN), ActionClass::CallForAction);
    }
}
