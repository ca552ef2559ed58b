//! A file of rules, from its lines to what is worked out.

use crate::condition;
use crate::lines::{RuleError, Setting, settings};
use risk::{Answer, Exception, Number, NumberFact, Reason, Rule, RuleSet, TEXT_BYTES_MAX, TextFact, Truth};
use types::MerchantId;

/// Longest file in bytes.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Most rules in a set.
pub const RULES_MAX: usize = 100;

/// Rules to begin from.
pub const STANDARD_RULES: &str = include_str!("standard.rules");

/// Reads a file of rules. `kinds` are the acquirer's words for what a transaction is.
///
/// # Errors
/// The first thing that is wrong, with its rule, line and column.
pub fn read(text: &str, kinds: &[&str]) -> Result<RuleSet, RuleError> {
    if text.len() > FILE_BYTES_MAX {
        let what = format!("a file of rules has at most {FILE_BYTES_MAX} bytes");
        return Err(RuleError { rule: String::new(), line: 1, column: 1, what });
    }
    let mut reader = Reader { kinds, set: RuleSet::default(), draft: None };
    for setting in settings(text)? {
        reader.take(setting)?;
    }
    reader.finish_rule()?;
    Ok(reader.set)
}

/// A rule that is being read.
struct Draft {
    head: Setting,
    when: Option<Truth>,
    then: Option<Option<Answer>>,
    reason: Reason,
    merchants: Option<Truth>,
    categories: Option<Truth>,
    exceptions: Vec<(Setting, Exception)>,
}

struct Reader<'a> {
    kinds: &'a [&'a str],
    set: RuleSet,
    draft: Option<Draft>,
}

impl Reader<'_> {
    fn take(&mut self, setting: Setting) -> Result<(), RuleError> {
        match setting.key.as_str() {
            "version" if self.draft.is_none() && self.set.version == 0 => {
                let version = setting.value.parse().ok().filter(|version| *version > 0);
                self.set.version = version.ok_or_else(|| setting.error("", 0, "expected a number from 1 on"))?;
                Ok(())
            }
            "rule" => self.begin_rule(setting),
            _ => {
                let kinds = self.kinds;
                let Some(draft) = &mut self.draft else {
                    let what = format!("expected `version = …` and `rule = …` before {}", setting.key);
                    return Err(RuleError { rule: String::new(), line: setting.line, column: 1, what });
                };
                draft.take(setting, kinds)
            }
        }
    }

    fn begin_rule(&mut self, head: Setting) -> Result<(), RuleError> {
        self.finish_rule()?;
        let (id, wrong) = (&head.value, |what: &str| Err(head.error("", 0, what)));
        if self.set.version == 0 {
            return wrong("expected `version = …` before the first rule");
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if id.is_empty() || id.len() > TEXT_BYTES_MAX || !id.bytes().all(plain) {
            return wrong("a rule's name has small letters, digits and hyphens");
        }
        if self.set.rules.iter().any(|rule| rule.id == *id) {
            return wrong("another rule has this name");
        }
        if self.set.rules.len() >= RULES_MAX {
            return wrong(&format!("a set has at most {RULES_MAX} rules"));
        }
        self.draft = Some(Draft {
            head,
            when: None,
            then: None,
            reason: Reason::default(),
            merchants: None,
            categories: None,
            exceptions: Vec::new(),
        });
        Ok(())
    }

    fn finish_rule(&mut self) -> Result<(), RuleError> {
        if let Some(draft) = self.draft.take() {
            self.set.rules.push(draft.finish()?);
        }
        Ok(())
    }
}

impl Draft {
    fn take(&mut self, setting: Setting, kinds: &[&str]) -> Result<(), RuleError> {
        let rule = self.head.value.clone();
        let condition =
            || condition::read(&setting.value, kinds).map_err(|fault| setting.error(&rule, fault.offset, fault.what));
        let text = || text(&setting, &rule);
        let fresh = match setting.key.as_str() {
            "when" => self.when.replace(condition()?).is_none(),
            "then" => self.then.replace(action(&setting, &rule)?).is_none(),
            "reason-zh" => std::mem::replace(&mut self.reason.zh, text()?).is_empty(),
            "reason-en" => std::mem::replace(&mut self.reason.en, text()?).is_empty(),
            "merchants" => self.merchants.replace(merchants(&setting, &rule)?).is_none(),
            "categories" => self.categories.replace(categories(&setting, &rule)?).is_none(),
            "except" => {
                let exception = Exception { when: condition()?, reason: Reason::default() };
                self.exceptions.push((setting.clone(), exception));
                true
            }
            "except-zh" => self.excuse(&setting)?.zh.replace_with(text()?),
            "except-en" => self.excuse(&setting)?.en.replace_with(text()?),
            key => {
                let what = format!(
                    "no key {key}; there are when, then, reason-zh, reason-en, merchants, categories, except, except-zh, except-en"
                );
                return Err(RuleError { rule, line: setting.line, column: 1, what });
            }
        };
        if fresh { Ok(()) } else { Err(setting.error(&rule, 0, format!("{} is given twice", setting.key))) }
    }

    fn excuse(&mut self, setting: &Setting) -> Result<&mut Reason, RuleError> {
        let rule = &self.head.value;
        let last = self.exceptions.last_mut().map(|(_, exception)| &mut exception.reason);
        last.ok_or_else(|| setting.error(rule, 0, "it stands behind an `except = …`"))
    }

    fn finish(self) -> Result<Rule, RuleError> {
        let id = self.head.value.clone();
        let missing = |what: &str| self.head.error(&id, 0, format!("{what} is missing"));
        let when = self.when.ok_or_else(|| missing("when"))?;
        let refusal = self.then.ok_or_else(|| missing("then"))?;
        if self.reason.zh.is_empty() || self.reason.en.is_empty() {
            return Err(missing("reason-zh or reason-en"));
        }
        for (setting, exception) in &self.exceptions {
            if exception.reason.zh.is_empty() || exception.reason.en.is_empty() {
                return Err(setting.error(&id, 0, "an exception needs except-zh and except-en"));
            }
        }
        let both = |left: Truth, right| Truth::And(Box::new(right), Box::new(left));
        let when = [self.merchants, self.categories].into_iter().flatten().fold(when, both);
        let exceptions = self.exceptions.into_iter().map(|(_, exception)| exception).collect();
        Ok(Rule { id, when, refusal, reason: self.reason, exceptions })
    }
}

/// Sets a text once.
trait ReplaceWith {
    /// Whether there was none before.
    fn replace_with(&mut self, text: String) -> bool;
}

impl ReplaceWith for String {
    fn replace_with(&mut self, text: String) -> bool {
        std::mem::replace(self, text).is_empty()
    }
}

fn text(setting: &Setting, rule: &str) -> Result<String, RuleError> {
    let text = setting.value.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains('\n') {
        return Err(setting.error(rule, 0, format!("expected one line of 1 to {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

fn action(setting: &Setting, rule: &str) -> Result<Option<Answer>, RuleError> {
    let words: Vec<&str> = setting.value.split_whitespace().collect();
    match words[..] {
        ["flag"] => Ok(None),
        ["refuse"] => Ok(Some(Answer::Suspected)),
        ["refuse", code] => {
            let answer = Answer::ALL.into_iter().find(|(_, known)| *known == code).map(|(answer, _)| answer);
            answer.map(Some).ok_or_else(|| setting.error(rule, 0, "a refusal is answered 59, 61 or 65"))
        }
        _ => Err(setting.error(rule, 0, "expected `flag`, `refuse`, `refuse 61` or `refuse 65`")),
    }
}

fn merchants(setting: &Setting, rule: &str) -> Result<Truth, RuleError> {
    let merchant = |id: &str| match MerchantId::parse(id.trim()) {
        Ok(merchant) => Ok(merchant.text().to_owned()),
        Err(_) => Err(setting.error(rule, 0, format!("{} is no merchant of 15 characters", id.trim()))),
    };
    Ok(Truth::TextIn(TextFact::Merchant, setting.value.split(',').map(merchant).collect::<Result<_, _>>()?))
}

fn categories(setting: &Setting, rule: &str) -> Result<Truth, RuleError> {
    let wrong = || setting.error(rule, 0, "expected categories of four digits, or ranges of them, between commas");
    let code = |text: &str| {
        let text = text.trim();
        let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|_| digits).ok_or_else(wrong)
    };
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let side =
            |comparison, code| Truth::Compare(comparison, Number::Fact(NumberFact::Category), Number::Constant(code));
        let first = side(risk::Comparison::GreaterOrEqual, code(first)?);
        Ok(Truth::And(Box::new(first), Box::new(side(risk::Comparison::LessOrEqual, code(last)?))))
    };
    let ranges: Result<Vec<Truth>, RuleError> = setting.value.split(',').map(range).collect();
    ranges?.into_iter().reduce(|left, right| Truth::Or(Box::new(left), Box::new(right))).ok_or_else(wrong)
}
