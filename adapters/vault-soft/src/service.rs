//! A vault in this process, spoken to as one caller.

use crate::vault::SoftVault;
use keys::{Caller, Command, KeyService, Reply};
use std::sync::Arc;

/// A [`KeyService`] for one caller of a vault in this process.
#[derive(Clone, Debug)]
pub struct LocalKeys {
    vault: Arc<SoftVault>,
    caller: Caller,
}

impl LocalKeys {
    /// Speaks to `vault` as `caller`.
    #[must_use]
    pub fn new(vault: Arc<SoftVault>, caller: Caller) -> Self {
        Self { vault, caller }
    }
}

impl KeyService for LocalKeys {
    fn execute(&mut self, commands: &[Command]) -> Vec<Reply> {
        self.vault.execute(self.caller, commands)
    }
}
