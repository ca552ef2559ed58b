//! What was measured, as JSON with stable names and as text.

use crate::library::Case;
use crate::openssl::OpenSsl;
use crate::raw::RawCiphers;
use crate::socket::Crossing;
use core::fmt::Write;
use serde_json::{Map, Value, json};

/// Everything that [`crate::crypto`] measures.
#[derive(Debug, Clone)]
pub struct CryptoReport {
    pub(crate) rounds: usize,
    pub(crate) raw: RawCiphers,
    pub(crate) library: Vec<Case>,
    pub(crate) socket: Vec<Crossing>,
    pub(crate) openssl: OpenSsl,
}

fn object<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Value {
    entries.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

impl CryptoReport {
    /// The whole report; `docs/how-to/read-bench-crypto.md` explains each name.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (openssl, openssl_absent) = self.openssl.to_json();
        json!({
            "rounds": self.rounds,
            "raw": self.raw.to_json(),
            "library": object(self.library.iter().map(|case| (case.name, case.to_json()))),
            "socket": object(self.socket.iter().map(|crossing| (crossing.name, crossing.to_json()))),
            "openssl": openssl,
            "openssl_absent": openssl_absent,
        })
    }

    /// The report for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) -> core::fmt::Result {
        writeln!(text, "ciphers alone                       ns a block    in 1 KiB    ns a key")?;
        for (name, speed) in self.raw.all() {
            let (block, bulk, key) = (speed.block_ns, speed.bulk_block_ns, speed.key_ns);
            writeln!(text, "  {name:<30} {block:>13.1} {bulk:>11.1} {key:>11.1}")?;
        }
        writeln!(text, "algorithms                           a second      cipher alone   ratio")?;
        for case in &self.library {
            let (name, limit) = (case.name, 1e9 / case.limit_ns);
            writeln!(text, "  {name:<30} {:>12.0} {limit:>16.0} {:>8.2}", case.per_second(), case.ratio())?;
        }
        writeln!(text, "key socket                           commands a second and core   bare socket")?;
        for crossing in &self.socket {
            let (name, own, echo) = (crossing.name, crossing.commands_per_core_s, crossing.echo_per_core_s);
            writeln!(text, "  {name:<30} {own:>21.0} {echo:>20.0}")?;
        }
        match &self.openssl {
            OpenSsl::Absent(why) => writeln!(text, "no openssl figures: {why}"),
            OpenSsl::Measured { version, figures } => {
                writeln!(text, "{version}")?;
                figures.iter().try_for_each(|(name, figure)| match figure {
                    Some(figure) => writeln!(text, "  {name:<30} {figure:>16.0}"),
                    None => writeln!(text, "  {name:<30} {:>16}", "unknown"),
                })
            }
        }
    }
}
