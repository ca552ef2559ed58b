//! Exit codes: 0 success, 1 a business "no" or a failed check, 2 misuse, 3 fault.

use std::process::ExitCode;

/// How a command ended that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Success.
    Yes,
    /// A business "no", or a failed check.
    No,
}

impl Verdict {
    /// Yes if so.
    pub fn of(success: bool) -> Self {
        if success { Verdict::Yes } else { Verdict::No }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        ExitCode::from(match verdict {
            Verdict::Yes => 0,
            Verdict::No => 1,
        })
    }
}

/// Something that the caller got wrong: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);
