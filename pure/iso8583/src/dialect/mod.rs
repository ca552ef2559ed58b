//! The layouts that are compiled in.

pub mod iso87;
pub mod unionpay;

use crate::spec::Spec;

/// A layout by the name that the command line uses.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Spec> {
    match name {
        "unionpay" => Some(&unionpay::SPEC),
        "iso87-ascii" | "iso87_ascii" => Some(&iso87::ASCII),
        "iso87-binary" | "iso87_binary" => Some(&iso87::BINARY),
        _ => None,
    }
}

/// Names that [`by_name`] knows.
pub const NAMES: [&str; 3] = ["unionpay", "iso87-ascii", "iso87-binary"];
