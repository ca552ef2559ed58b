//! One line per event on standard error, without secrets.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};
use vault_remote::ServerEvent;

/// Writes one line with the time in seconds since 1970.
pub fn line(text: &str) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // A process whose log nobody reads still serves.
    let _ = writeln!(std::io::stderr().lock(), "{seconds} irontill-keys {}", single_line(text));
}

/// A path or an error text must not be able to forge a second line.
fn single_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// An event in words.
pub fn of_event(event: &ServerEvent) -> String {
    match event {
        ServerEvent::Listening { path, caller } => format!("listening caller={caller:?} path={}", path.display()),
        ServerEvent::Connected { connection, caller, pid, uid } => {
            format!("connected connection={connection} caller={caller:?} pid={pid} uid={uid}")
        }
        ServerEvent::Parted { connection, caller, why } => {
            format!("parted connection={connection} caller={caller:?} why={why:?}")
        }
        ServerEvent::Refused { connection, caller, command, why, times } => {
            format!("refused connection={connection} caller={caller:?} command={command:?} why={why:?} times={times}")
        }
        ServerEvent::AcceptFailed(reason) => format!("accept-failed reason={reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(single_line("path=/a\nforged\r\tline"), "path=/a forged  line");
    }
}
