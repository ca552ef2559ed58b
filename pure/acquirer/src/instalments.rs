//! Sales in instalments (分期, F25 64): the merchant is paid at once, the issuer collects. The dialect leaves F62 to the acquirer; ours
//! is the number of instalments in a request, and number, first and each further instalment in an approval, all ASCII digits.

use crate::machine_impl::{Acquirer, Work};
use crate::rule::Rule;
use types::SecretBytes;

impl Acquirer {
    /// Whether so many instalments are offered.
    pub(crate) fn check_instalments(&self, work: &Work) -> Result<(), Rule> {
        let count = work.incoming.body.f62.as_ref().and_then(count).ok_or(Rule::Format)?;
        if self.config.instalments.contains(&count) { Ok(()) } else { Err(Rule::Instalments) }
    }
}

fn count(field: &SecretBytes) -> Option<u8> {
    let digits = Some(field.expose()).filter(|digits| digits.len() == 2)?;
    core::str::from_utf8(digits).ok()?.parse().ok().filter(|count| *count >= 2)
}

/// F62 of an approval: what is due first and then each time. The first one takes what does not divide evenly.
pub(crate) fn plan(request: &SecretBytes, amount_minor: u64) -> Option<SecretBytes> {
    let count = count(request)?;
    let each_minor = amount_minor / u64::from(count);
    let first_minor = amount_minor - each_minor * u64::from(count - 1);
    Some(SecretBytes::new(format!("{count:02}{first_minor:012}{each_minor:012}").into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instalments_sum_up_to_the_amount() {
        for (amount_minor, count, wanted) in [
            (10_000, "03", "03000000003334000000003333"),
            (1, "02", "02000000000001000000000000"),
            (999_999_999_999, "24", "24041666666681041666666666"),
        ] {
            let plan = plan(&SecretBytes::copy_from(count.as_bytes()), amount_minor).unwrap();
            let text = core::str::from_utf8(plan.expose()).unwrap();
            let number = |range: core::ops::Range<usize>| text[range].parse::<u64>().unwrap();
            assert_eq!(number(2..14) + number(14..26) * (number(0..2) - 1), amount_minor);
            assert_eq!(text, wanted);
        }
        for wrong in ["", "1", "01", "00", "003", "a3"] {
            assert!(plan(&SecretBytes::copy_from(wrong.as_bytes()), 100).is_none(), "{wrong}");
        }
    }
}
