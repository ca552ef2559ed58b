//! What the rules said of one transaction: kept with its decision for ever.

/// Longest rule id or reason in bytes.
pub const TEXT_BYTES_MAX: usize = 200;

/// Why, for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reason {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// How a refusal is answered (F39).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    /// 59, suspected fraud.
    Suspected,
    /// 61, amount limit exceeded.
    Amount,
    /// 65, frequency limit exceeded.
    Frequency,
}

impl Answer {
    /// Every answer with its response code.
    pub const ALL: [(Answer, &'static str); 3] =
        [(Answer::Suspected, "59"), (Answer::Amount, "61"), (Answer::Frequency, "65")];
}

/// What one rule says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingKind {
    /// It goes on, and somebody should look at it.
    Flagged,
    /// It is refused.
    Refused(Answer),
    /// The rule refuses; the merchant's policy, or a transaction that cannot be refused any more, makes that a flag.
    Softened(Answer),
    /// The rule applies, and one of its exceptions excuses it.
    Excused,
}

/// One rule that applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// What it says.
    pub kind: FindingKind,
    /// Why; of an excuse, why it is excused.
    pub reason: Reason,
}

/// What the rules said of one transaction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Screening {
    /// Version of the rule set; 0 if no rule was asked.
    pub version: u32,
    /// The rules that applied, in the set's order.
    pub findings: Vec<Finding>,
}

impl Screening {
    /// The first refusal.
    pub fn refusal(&self) -> Option<(&Finding, Answer)> {
        self.findings.iter().find_map(|finding| match finding.kind {
            FindingKind::Refused(answer) => Some((finding, answer)),
            _ => None,
        })
    }

    /// Turns refusals into flags.
    #[must_use]
    pub fn softened(mut self) -> Self {
        for finding in &mut self.findings {
            if let FindingKind::Refused(answer) = finding.kind {
                finding.kind = FindingKind::Softened(answer);
            }
        }
        self
    }

    /// Whether somebody should look at it.
    pub fn is_flagged(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind != FindingKind::Excused)
    }
}
