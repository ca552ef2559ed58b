//! What a merchant may do (unionpay-pos §8.7), as the host was told in a file:
//!
//! ```text
//! refund-days = 90                     # before the first merchant: for all that say nothing else
//!
//! merchant = 123456789012345
//! category = 5812
//! refunds = no
//! rules = refuse
//! ```

use core::fmt;
use std::collections::BTreeMap;
use types::MerchantId;

/// Days after a sale in which it may be refunded.
pub const REFUND_WINDOW_DAYS_DEFAULT: u32 = 180;
/// Days after a pre-authorisation in which it may be completed (unionpay-pos §8.7).
pub const AUTHORISATION_DAYS_DEFAULT: u32 = 30;
/// Largest completion in per cent of its pre-authorisation (unionpay-pos §8.7).
pub const COMPLETION_PERCENT_DEFAULT: u32 = 115;
/// Largest tip in per cent of its sale (terminal parameter 19, unionpay-pos §5.4).
pub const TIP_PERCENT_DEFAULT: u32 = 20;

/// Most days and per cent that a policy may name.
const NUMBER_MAX: u32 = 10_000;

/// What the risk rules' word is worth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum RuleUse {
    /// They are not asked, and cost nothing.
    #[default]
    Off,
    /// They are asked; what they refuse is flagged.
    Flag,
    /// They are asked and obeyed.
    Refuse,
}

/// What one merchant may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MerchantPolicy {
    /// Merchant category (ISO 18245); 0 if nobody said.
    pub category: u16,
    /// Whether sales and completions may be voided.
    pub voids: bool,
    /// Whether sales may be refunded.
    pub refunds: bool,
    /// Days after a sale in which it may be refunded.
    pub refund_days: u32,
    /// Days after a pre-authorisation in which it may be completed.
    pub authorisation_days: u32,
    /// Largest completion in per cent of its pre-authorisation.
    pub completion_percent: u32,
    /// Largest tip in per cent of its sale; 0 takes none.
    pub tip_percent: u32,
    /// What the risk rules' word is worth.
    pub rules: RuleUse,
}

impl Default for MerchantPolicy {
    fn default() -> Self {
        Self {
            category: 0,
            voids: true,
            refunds: true,
            refund_days: REFUND_WINDOW_DAYS_DEFAULT,
            authorisation_days: AUTHORISATION_DAYS_DEFAULT,
            completion_percent: COMPLETION_PERCENT_DEFAULT,
            tip_percent: TIP_PERCENT_DEFAULT,
            rules: RuleUse::Off,
        }
    }
}

/// Every merchant's policy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    /// Of merchants that have none of their own.
    pub standard: MerchantPolicy,
    /// Of the others.
    pub merchants: BTreeMap<MerchantId, MerchantPolicy>,
}

/// What is wrong with a file of policies.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct PolicyError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Policies {
    /// A merchant's policy.
    pub fn of(&self, merchant: MerchantId) -> &MerchantPolicy {
        self.merchants.get(&merchant).unwrap_or(&self.standard)
    }

    /// Reads a file of policies. What stands before the first merchant is for all; a merchant's lines change that for it alone.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut policies = Self::default();
        let mut merchant = None;
        for (index, content) in text.lines().enumerate() {
            let content = content.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let wrong = |what: String| PolicyError { line: index + 1, what };
            let (key, value) = content.split_once('=').ok_or_else(|| wrong("expected key = value".to_owned()))?;
            let (key, value) = (key.trim(), value.trim());
            if key == "merchant" {
                let id = MerchantId::parse(value).map_err(|cause| wrong(format!("merchant: {cause}")))?;
                if policies.merchants.insert(id, policies.standard).is_some() {
                    return Err(wrong(format!("merchant {value} stands here twice")));
                }
                merchant = Some(id);
                continue;
            }
            let policy = match merchant {
                None => &mut policies.standard,
                Some(id) => policies.merchants.entry(id).or_default(),
            };
            policy.set(key, value).map_err(wrong)?;
        }
        Ok(policies)
    }
}

impl MerchantPolicy {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wanted = |what: &dyn fmt::Display| format!("{key}: expected {what}");
        let number = || {
            let number = value.parse::<u32>().ok().filter(|number| *number <= NUMBER_MAX);
            number.ok_or_else(|| wanted(&format_args!("a number up to {NUMBER_MAX}")))
        };
        let yes = || match value {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(wanted(&"yes or no")),
        };
        match key {
            "category" => {
                let digits = value.len() == 4 && value.bytes().all(|byte| byte.is_ascii_digit());
                self.category = value.parse().ok().filter(|_| digits).ok_or_else(|| wanted(&"four digits"))?;
            }
            "voids" => self.voids = yes()?,
            "refunds" => self.refunds = yes()?,
            "refund-days" => self.refund_days = number()?,
            "authorisation-days" => self.authorisation_days = number()?,
            "completion-percent" => self.completion_percent = number()?,
            "tip-percent" => self.tip_percent = number()?,
            "rules" => {
                self.rules = match value {
                    "off" => RuleUse::Off,
                    "flag" => RuleUse::Flag,
                    "refuse" => RuleUse::Refuse,
                    _ => return Err(wanted(&"off, flag or refuse")),
                }
            }
            _ => return Err(format!("no key {key}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_differs_from_the_others_in_what_its_lines_say() {
        let text =
            "refund-days = 90 # for all\n\nmerchant = 123456789012345\ncategory = 5812\nrefunds = no\nrules = refuse\n";
        let policies = Policies::parse(text).unwrap();
        let named = policies.of(MerchantId::parse("123456789012345").unwrap());
        assert_eq!((named.category, named.refunds, named.refund_days, named.rules), (5812, false, 90, RuleUse::Refuse));
        let other = policies.of(MerchantId::parse("123456789012346").unwrap());
        assert_eq!(*other, MerchantPolicy { refund_days: 90, ..MerchantPolicy::default() });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text| Policies::parse(text).unwrap_err().to_string();
        assert_eq!(error("voids"), "line 1: expected key = value");
        assert_eq!(error("\nvoids = maybe"), "line 2: voids: expected yes or no");
        assert_eq!(error("refund-days = 10001"), "line 1: refund-days: expected a number up to 10000");
        assert_eq!(error("category = 12"), "line 1: category: expected four digits");
        assert_eq!(error("rules = on"), "line 1: rules: expected off, flag or refuse");
        let twice = "merchant = 123456789012345\nmerchant = 123456789012345";
        assert_eq!(error(twice), "line 2: merchant 123456789012345 stands here twice");
    }
}
