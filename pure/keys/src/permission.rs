//! Who may say what. Everything else is refused.

use crate::command::CommandKind;

/// Who speaks to a vault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Caller {
    /// The acquiring host.
    Host,
    /// The secure part of a terminal, to its own vault.
    Ped,
    /// An operator's tool that enrols terminals and loads issuers.
    Administration,
}

impl Caller {
    /// Every caller.
    pub const ALL: [Caller; 3] = [Caller::Host, Caller::Ped, Caller::Administration];

    /// Number on the wire, from 1.
    pub fn number(self) -> u8 {
        match self {
            Caller::Host => 1,
            Caller::Ped => 2,
            Caller::Administration => 3,
        }
    }

    /// From the number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|caller| caller.number() == number)
    }
}

/// The reviewed table: for each command, who may say it. `permissions.golden` holds it as text.
pub fn permitted(caller: Caller, command: CommandKind) -> bool {
    use Caller::{Administration, Host, Ped};
    use CommandKind as C;
    let callers: &[Caller] = match command {
        C::GenerateKey | C::TransportPublicKey | C::ImportTransportKey | C::ExportKey => &[Administration],
        C::MakePinReference => &[Administration],
        C::ImportKey => &[Administration, Ped],
        C::CheckKey => &[Host, Administration, Ped],
        C::GenerateWorkingKeys => &[Host],
        C::LoadWorkingKeys => &[Ped],
        C::MakeMac | C::VerifyMac => &[Host, Ped],
        C::OpenAccount => &[Host, Administration],
        C::TranslatePin | C::VerifyPin | C::VerifyCryptogram | C::MakeScriptMac => &[Host],
        C::Random => &[Host, Ped],
        C::EncipherPin | C::EncipherTrack | C::Tokenise | C::Seal | C::Unseal | C::MakeTransportKey => &[Ped],
        C::ReadAudit | C::ListCustodians | C::CeremonyStatus | C::ReadCeremonyRecord => &[Administration],
        C::RegisterCustodian | C::RemoveCustodian | C::ChangePassphrase => &[Administration],
        C::OpenCeremony | C::EnterComponent | C::DrawComponent => &[Administration],
        C::CompleteCeremony | C::AbortCeremony | C::MakeLoadToken => &[Administration],
        C::VaultIdentity => &[Ped, Administration],
        C::PinDistributionHost | C::BeginRemoteLoad | C::AcceptLoadToken => &[Ped],
    };
    callers.contains(&caller)
}

/// The table as text, one line a command.
pub fn permission_table() -> String {
    let mut table = String::new();
    for command in CommandKind::ALL {
        table.push_str(&format!("{:<22}", format!("{command:?}")));
        for caller in Caller::ALL {
            let mark = if permitted(caller, *command) { format!("{caller:?}") } else { "-".to_owned() };
            table.push_str(&format!(" {mark:<14}"));
        }
        table.truncate(table.trim_end().len());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_reviewed_one() {
        assert_eq!(permission_table(), include_str!("permissions.golden"));
    }

    #[test]
    fn nobody_but_the_administration_holds_ceremonies_and_nobody_loads_a_terminal_from_outside() {
        for command in CommandKind::ALL.iter().filter(|kind| (50..=66).contains(&(**kind as u8))) {
            assert!(!permitted(Caller::Host, *command), "{command:?}");
            let both = permitted(Caller::Ped, *command) && permitted(Caller::Administration, *command);
            assert_eq!(both, *command == CommandKind::VaultIdentity, "{command:?}");
        }
    }

    #[test]
    fn a_host_never_sees_what_belongs_to_the_ped() {
        for command in [CommandKind::EncipherPin, CommandKind::Unseal, CommandKind::ExportKey, CommandKind::ImportKey] {
            assert!(!permitted(Caller::Host, command));
        }
    }
}
