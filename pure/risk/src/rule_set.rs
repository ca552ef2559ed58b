//! Rules as data.

use crate::condition::Truth;
use crate::history::{History, Scope};
use crate::question::Question;
use crate::screening::{Answer, Finding, FindingKind, Reason, Screening};

/// A case in which a rule applies and is not meant: the known false alarm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exception {
    /// When.
    pub when: Truth,
    /// Why that is all right.
    pub reason: Reason,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name, unique in its set.
    pub id: String,
    /// When it applies.
    pub when: Truth,
    /// How it refuses; none to flag only.
    pub refusal: Option<Answer>,
    /// Why, for people.
    pub reason: Reason,
    /// When it does not mean it.
    pub exceptions: Vec<Exception>,
}

/// Rules that are asked together, in order. Each has its say; the first refusal is the answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuleSet {
    /// Raised with every change; kept with every decision.
    pub version: u32,
    /// The rules.
    pub rules: Vec<Rule>,
}

impl RuleSet {
    /// What the rules say.
    pub fn judge(&self, question: &Question, history: &History) -> Screening {
        let findings = self.rules.iter().filter_map(|rule| rule.judge(question, history)).collect();
        let screening = Screening { version: self.version, findings };
        if question.refused_by.is_empty() { screening } else { screening.softened() }
    }

    /// How many minutes the rules look back in a scope; 0 if they do not.
    pub fn minutes(&self, scope: Scope) -> u32 {
        let mut velocities = Vec::new();
        for rule in &self.rules {
            rule.when.velocities(&mut velocities);
            rule.exceptions.iter().for_each(|exception| exception.when.velocities(&mut velocities));
        }
        velocities.iter().filter(|velocity| velocity.scope == scope).map(|velocity| velocity.minutes).max().unwrap_or(0)
    }
}

impl Rule {
    fn judge(&self, question: &Question, history: &History) -> Option<Finding> {
        let finding = |kind, reason| Some(Finding { rule: self.id.clone(), kind, reason });
        match self.when.of(question, history) {
            Ok(false) => None,
            Ok(true) => {
                let excuse = |exception: &&Exception| exception.when.of(question, history) == Ok(true);
                match self.exceptions.iter().find(excuse) {
                    Some(exception) => finding(FindingKind::Excused, exception.reason.clone()),
                    None => {
                        finding(self.refusal.map_or(FindingKind::Flagged, FindingKind::Refused), self.reason.clone())
                    }
                }
            }
            Err(trouble) => {
                let reason =
                    Reason { zh: "规则无法计算".to_owned(), en: format!("the rule has no value: {trouble}") };
                finding(FindingKind::Flagged, reason)
            }
        }
    }
}
