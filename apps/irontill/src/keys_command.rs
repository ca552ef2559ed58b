//! `irontill keys`: what engineers and custodians do with keys.

use crate::calc::Calc;
use crate::verdict::Verdict;
use clap::Subcommand;

/// Tools around keys.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Payment calculations on test keys, with every value between.
    Calc(Calc),
}

impl KeysCommand {
    /// Carries it out.
    pub fn run(self) -> anyhow::Result<Verdict> {
        match self {
            KeysCommand::Calc(calc) => calc.run(),
        }
    }
}
