//! What may go wrong in a run, and how often. Every seed draws its own mix.

use crate::random::Random;

/// Probabilities in millionths, delays in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A message disappears, each way.
    pub loss: u32,
    /// A request or a response arrives twice.
    pub duplicate: u32,
    /// A message takes longer than the terminal waits.
    pub late: u32,
    /// Ordinary delay is drawn from 5 ms to this; wide delays reorder messages.
    pub delay_ms_max: u64,
    /// The connection fails before a byte left.
    pub refused: u32,
    /// A terminal loses power at one of its crash points.
    pub terminal_crash: u32,
    /// The host loses power at one of its crash points.
    pub host_crash: u32,
    /// The key service gives no answer to a batch.
    pub key_outage: u32,
    /// A card is pulled at one of its commands.
    pub card_removed: u32,
    /// Another host writes first: an append conflicts and the machine is reloaded.
    pub conflict: u32,
    /// A terminal's clock stands elsewhere when it is switched on; a twentieth of it with each command too.
    pub clock_jump: u32,
    /// The hosts' clock stands elsewhere when one of them is switched on; a twentieth of it with each command of a cashier too.
    pub host_clock_jump: u32,
}

/// Kinds that `--faults` names.
pub const KINDS: &[&str] = &[
    "loss",
    "duplicate",
    "late",
    "reorder",
    "refused",
    "terminal-crash",
    "host-crash",
    "keys",
    "card",
    "conflict",
    "clock",
    "host-clock",
];

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Faults = Faults {
        loss: 0,
        duplicate: 0,
        late: 0,
        delay_ms_max: 40,
        refused: 0,
        terminal_crash: 0,
        host_crash: 0,
        key_outage: 0,
        card_removed: 0,
        conflict: 0,
        clock_jump: 0,
        host_clock_jump: 0,
    };

    /// Draws a mix of every kind: for each seed some kinds are wild, some rare, some absent.
    pub fn drawn(random: &mut Random) -> Self {
        let mut draw = |most: u32| match random.below(4) {
            0 => 0,
            1 => most,
            _ => u32::try_from(random.below(u64::from(most) + 1)).expect("below most"),
        };
        let (loss, duplicate, late, refused) = (draw(300_000), draw(300_000), draw(50_000), draw(50_000));
        let (terminal_crash, host_crash) = (draw(1_000), draw(1_500));
        let (key_outage, card_removed, conflict) = (draw(20_000), draw(4_000), draw(4_000));
        let delay_ms_max = *random.pick(&[40, 400, 4_000, 20_000]);
        let clock_jump = *random.pick(&[0, 20_000, 200_000]);
        let host_clock_jump = *random.pick(&[0, 0, 20_000, 200_000]);
        Self {
            loss,
            duplicate,
            late,
            delay_ms_max,
            refused,
            terminal_crash,
            host_crash,
            key_outage,
            card_removed,
            conflict,
            clock_jump,
            host_clock_jump,
        }
    }

    /// Reads `none`, `all`, or a comma-separated list of [`KINDS`], which are drawn from the seed while the rest stays away.
    pub fn parse(text: &str, random: &mut Random) -> Result<Self, String> {
        let drawn = Self::drawn(random);
        match text {
            "none" => return Ok(Self::NONE),
            "all" => return Ok(drawn),
            _ => {}
        }
        let mut faults = Self::NONE;
        for kind in text.split(',') {
            faults.enable(kind, &drawn)?;
        }
        Ok(faults)
    }

    fn enable(&mut self, kind: &str, drawn: &Self) -> Result<(), String> {
        let at_least = |value: u32, least: u32| value.max(least);
        match kind {
            "loss" => self.loss = at_least(drawn.loss, 50_000),
            "duplicate" => self.duplicate = at_least(drawn.duplicate, 50_000),
            "late" => self.late = at_least(drawn.late, 10_000),
            "reorder" => self.delay_ms_max = drawn.delay_ms_max.max(4_000),
            "refused" => self.refused = at_least(drawn.refused, 10_000),
            "terminal-crash" => self.terminal_crash = at_least(drawn.terminal_crash, 1_000),
            "host-crash" => self.host_crash = at_least(drawn.host_crash, 300),
            "keys" => self.key_outage = at_least(drawn.key_outage, 5_000),
            "card" => self.card_removed = at_least(drawn.card_removed, 1_000),
            "clock" => self.clock_jump = at_least(drawn.clock_jump, 100_000),
            "host-clock" => self.host_clock_jump = at_least(drawn.host_clock_jump, 100_000),
            "conflict" => self.conflict = at_least(drawn.conflict, 5_000),
            other => {
                return Err(format!("unknown fault {other:?}; expected none, all, or some of {}", KINDS.join(",")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_can_be_named() {
        let parse = |text: &str| Faults::parse(text, &mut Random::new(1));
        assert_eq!(parse("none"), Ok(Faults::NONE));
        let mix = parse("loss,card").unwrap();
        assert!(mix.loss > 0 && mix.card_removed > 0 && mix.duplicate == 0 && mix.host_crash == 0);
        assert!(parse("loss,meteor").unwrap_err().contains("meteor"));
        assert!(KINDS.iter().all(|kind| parse(kind).is_ok_and(|mix| mix != Faults::NONE)));
    }
}
