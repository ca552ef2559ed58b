//! Who may say what, with which keys. Everything else is refused.

use crate::command::{Command, CommandKind};
use crate::pin::{PinFormat, PinTranslation, pin_translation};
use crate::remote_load::LOADABLE_USAGES;
use crate::usage::Usage;

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

/// Whether this caller may say this command at all. `permissions.golden` holds the table as text.
pub fn permitted(caller: Caller, command: CommandKind) -> bool {
    use Caller::{Administration, Host, Ped};
    use CommandKind as C;
    let callers: &[Caller] = match command {
        C::GenerateKey | C::TransportPublicKey | C::ImportTransportKey | C::ExportKey => &[Administration],
        C::GenerateKeyWithValidity | C::ImportKeyBlock | C::ExportKeyBlock => &[Administration],
        C::DeriveInitialKey | C::ImportProtectionKey => &[Administration],
        C::MakePinReference | C::MakePinVerificationValue | C::MakePinOffset | C::MakeCardCode => &[Administration],
        C::ImportKey => &[Administration, Ped],
        C::CheckKey | C::CheckKeyValue => &[Host, Administration, Ped],
        C::GenerateWorkingKeys => &[Host],
        C::LoadWorkingKeys => &[Ped],
        C::MakeMac | C::VerifyMac | C::MakeAuthenticationCode | C::VerifyAuthenticationCode => &[Host, Ped],
        C::OpenAccount | C::SealAccount | C::TokeniseAccount => &[Host, Administration],
        C::TranslatePin | C::VerifyPin | C::VerifyCryptogram | C::MakeScriptMac => &[Host],
        C::TranslatePinBlock | C::VerifyPinReference | C::VerifyPinVerificationValue | C::VerifyPinOffset => &[Host],
        C::MakeDukptMac | C::VerifyDukptMac | C::JudgeKsn | C::OpenDukptAccount => &[Host],
        C::VerifyArqc | C::MakeIssuerScriptMac | C::EncipherIssuerScript => &[Host],
        C::VerifyCardCode | C::VerifyDynamicCode => &[Host],
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

/// The usages a caller may name in a command that says a usage or takes a key of any usage. The other commands say in
/// their types which keys they take.
pub fn nameable_usages(caller: Caller, command: CommandKind) -> Vec<Usage> {
    use CommandKind as C;
    if !permitted(caller, command) {
        return Vec::new();
    }
    let named: &[Usage] = match command {
        // Initial keys are derived.
        C::GenerateKey | C::GenerateKeyWithValidity => return without(Usage::DukptInitial),
        // Without a key block around it a cryptogram does not say what it is: only what 0.1.0 moves that way.
        C::ImportKey if caller == Caller::Ped => &[Usage::TerminalMaster],
        C::ImportKey => &[
            Usage::TerminalMaster,
            Usage::PinEncryption,
            Usage::MessageMac,
            Usage::TrackEncryption,
            Usage::IssuerMasterAc,
            Usage::IssuerMasterMac,
            Usage::IssuerMasterEncipherment,
        ],
        C::ExportKey => &[Usage::TerminalMaster],
        C::ImportKeyBlock | C::ExportKeyBlock => return without(Usage::PinReference),
        C::CheckKey | C::CheckKeyValue => &Usage::ALL,
        // What custodians may put together: all that may be generated.
        C::OpenCeremony => return without(Usage::DukptInitial),
        C::MakeLoadToken => LOADABLE_USAGES,
        _ => &[],
    };
    named.to_vec()
}

fn without(one: Usage) -> Vec<Usage> {
    Usage::ALL.into_iter().filter(|usage| *usage != one).collect()
}

/// Whether a caller may say this very command: the command, every usage it names, and the formats of its PIN blocks
/// as far as no policy can allow them.
pub fn may_say(caller: Caller, command: &Command) -> bool {
    let kind = command.kind();
    let nameable = nameable_usages(caller, kind);
    let named = command.named_usages();
    permitted(caller, kind) && named.iter().all(|usage| nameable.contains(usage)) && formats_fit(command)
}

fn formats_fit(command: &Command) -> bool {
    match command {
        Command::TranslatePinBlock { pin, to_format, .. } => {
            pin_translation(pin.format, *to_format) != PinTranslation::Refused
        }
        Command::VerifyPinReference { pin, .. }
        | Command::VerifyPinVerificationValue { pin, .. }
        | Command::VerifyPinOffset { pin, .. }
        | Command::MakePinVerificationValue { pin, .. }
        | Command::MakePinOffset { pin, .. } => verifiable(pin.format),
        _ => true,
    }
}

/// Whether PIN blocks of this format are opened at all: those bound to an account.
pub fn verifiable(format: PinFormat) -> bool {
    !matches!(format, PinFormat::Iso1 | PinFormat::Iso2)
}

/// The whole table as text: commands and callers, usages, PIN formats.
pub fn permission_table() -> String {
    [commands_section(), usages_section(), formats_section()].concat()
}

fn commands_section() -> String {
    let mut table = String::from("# Command and who may say it.\n");
    for command in CommandKind::ALL {
        table.push_str(&format!("{:<26}", format!("{command:?}")));
        for caller in Caller::ALL {
            let mark = if permitted(caller, *command) { format!("{caller:?}") } else { "-".to_owned() };
            table.push_str(&format!(" {mark:<14}"));
        }
        table.truncate(table.trim_end().len());
        table.push('\n');
    }
    table
}

fn usages_section() -> String {
    let names = |usages: &[Usage]| usages.iter().map(|usage| usage.name()).collect::<Vec<_>>().join(" ");
    let mut table = String::from("\n# Command, caller, and the usages of its keys: by type, in brackets by name.\n");
    for command in CommandKind::ALL {
        for caller in Caller::ALL.into_iter().filter(|caller| permitted(*caller, *command)) {
            let nameable = nameable_usages(caller, *command);
            let mut typed = command.typed_usages();
            typed.sort();
            typed.dedup();
            let brackets = if nameable.is_empty() { String::new() } else { format!("({})", names(&nameable)) };
            let words = [names(&typed), brackets].join(" ");
            let line = format!("{:<26} {:<14} {}", format!("{command:?}"), format!("{caller:?}"), words.trim());
            table.push_str(line.trim_end());
            table.push('\n');
        }
    }
    table
}

fn formats_section() -> String {
    let mut table = String::from(
        "\n# TranslatePinBlock, from (rows) to (columns). IfNamed: if the key process's settings name the pair.\n",
    );
    table.push_str(&format!("{:<8}", ""));
    for to in PinFormat::ALL {
        table.push_str(&format!(" {:<8}", to.name()));
    }
    table.truncate(table.trim_end().len());
    for from in PinFormat::ALL {
        table.push_str(&format!("\n{:<8}", from.name()));
        for to in PinFormat::ALL {
            let mark = match pin_translation(from, to) {
                PinTranslation::Refused => "-".to_owned(),
                other => format!("{other:?}"),
            };
            table.push_str(&format!(" {mark:<8}"));
        }
        table.truncate(table.trim_end().len());
    }
    let opened: Vec<&str> = PinFormat::ALL.into_iter().filter(|f| verifiable(*f)).map(PinFormat::name).collect();
    table.push_str(&format!("\n\n# Verified and made from: {}\n", opened.join(" ")));
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
    fn a_host_never_sees_what_belongs_to_the_ped_or_to_people() {
        use CommandKind as C;
        let forbidden = [
            C::EncipherPin,
            C::Unseal,
            C::ExportKey,
            C::ImportKey,
            C::ImportKeyBlock,
            C::ExportKeyBlock,
            C::GenerateKey,
            C::MakePinReference,
            C::MakePinVerificationValue,
            C::MakePinOffset,
            C::MakeCardCode,
        ];
        for command in forbidden {
            assert!(!permitted(Caller::Host, command));
        }
    }

    #[test]
    fn whoever_may_not_say_a_command_may_name_no_usage_in_it() {
        for command in CommandKind::ALL {
            for caller in Caller::ALL {
                assert!(permitted(caller, *command) || nameable_usages(caller, *command).is_empty());
            }
        }
    }
}
