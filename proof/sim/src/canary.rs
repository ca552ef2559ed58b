//! Planted bugs: a simulator whose auditor overlooks one of them proves nothing.

/// A bug of one part of the world, planted on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// A terminal's disk calls a record durable and forgets it in a power cut.
    ForgetfulDisk,
    /// A till that forgets, when it is switched on, what it had sent.
    AmnesiacTill,
    /// The host's disk forgets each terminal's last record in a power cut, and its unique keys are not unique.
    ForgetfulHost,
    /// The host's disk calls every hundredth append durable and drops it.
    LostWrites,
    /// The host's disk does not check balances: captures and accounts fall below their floors.
    UncheckedBalances,
    /// The host's disk does not check holds: an authorisation can be ended more than once.
    UncheckedHolds,
    /// The host's disk drops the end of every tenth hold: money stays held for ever.
    StuckHolds,
    /// A host that lets completions exceed their bound.
    LooseBound,
    /// A PED that puts a newer master key in the present one's place at once.
    HastyPed,
}

impl Canary {
    /// Each with the faults under which it shows.
    pub const ALL: &'static [(Canary, &'static str)] = &[
        (Canary::ForgetfulDisk, "terminal-crash,loss"),
        (Canary::AmnesiacTill, "terminal-crash,loss"),
        (Canary::ForgetfulHost, "host-crash,loss"),
        (Canary::LostWrites, "none"),
        (Canary::UncheckedBalances, "none"),
        (Canary::UncheckedHolds, "none"),
        (Canary::StuckHolds, "none"),
        (Canary::LooseBound, "none"),
        (Canary::HastyPed, "none"),
    ];
}
