//! What the host told the till of itself: the sets of parameters that the till keeps, as they came.

use iso8583::unionpay::{ContactlessParameter, DownloadSet, TerminalParameters, parse_bins, parse_contactless};
use std::collections::BTreeMap;

/// The downloaded sets. Terminal parameters are in force (`Config::under`); contactless parameters, lists, rates and TMS data
/// are kept and shown, and nothing uses them until the kernels that need them exist.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Management {
    /// F62 of each set; of a list in pages, its entries one behind the other.
    pub sets: BTreeMap<DownloadSet, Vec<u8>>,
}

impl Management {
    /// A set that came whole takes the place of the one before, but terminal parameters only change what they name.
    pub(crate) fn take(&mut self, set: DownloadSet, content: &[u8]) {
        let content = match set {
            DownloadSet::Terminal => self.merged(content).unwrap_or_else(|| content.to_vec()),
            _ => content.to_vec(),
        };
        self.sets.insert(set, content);
    }

    fn merged(&self, content: &[u8]) -> Option<Vec<u8>> {
        TerminalParameters::parse(content).ok()?.over(self.parameters()).format()
    }

    /// The terminal parameters, all unset if there are none.
    pub fn parameters(&self) -> TerminalParameters {
        let content = self.sets.get(&DownloadSet::Terminal);
        content.and_then(|content| TerminalParameters::parse(content).ok()).unwrap_or_default()
    }

    /// The contactless parameters.
    pub fn contactless(&self) -> Vec<ContactlessParameter> {
        let content = self.sets.get(&DownloadSet::Contactless);
        content.and_then(|content| parse_contactless(content).ok()).unwrap_or_default()
    }

    /// The entries of a BIN list.
    pub fn bins(&self, set: DownloadSet) -> Vec<String> {
        let content = self.sets.get(&set);
        content.and_then(|content| parse_bins(content).ok()).unwrap_or_default()
    }
}
