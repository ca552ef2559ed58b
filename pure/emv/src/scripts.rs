//! Issuer scripts: templates 71 and 72 of the host's answer (EMV 4.4 Book 3 §10.10, Book 4 Annex A5).

use crate::apdu::{Command, StatusWord};
use tlv::{Elements, tags};

/// Most scripts taken from one answer.
pub const MAX_SCRIPTS: usize = 16;
/// Most commands of one script.
pub const MAX_SCRIPT_COMMANDS: usize = 64;
/// Bytes of one script result.
pub const RESULT_BYTES: usize = 5;

const HIGHEST_SEQUENCE_NUMBER: usize = 0x0F;

/// When a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptTiming {
    /// Template 71: before the second GENERATE AC.
    Before,
    /// Template 72: after the second GENERATE AC.
    After,
}

/// How far a script came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptProgress {
    /// The script could not be read, or the card was gone.
    NotPerformed,
    /// The card refused a command: the first is 1; 15 stands for 15 and above.
    FailedAt(u8),
    /// Every command was accepted.
    Successful,
}

/// The result of one script, five bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptResult {
    /// How far it came.
    pub progress: ScriptProgress,
    /// Issuer script identifier, tag 9F18; zeros when the script has none.
    pub identifier: [u8; 4],
    /// When it ran.
    pub timing: ScriptTiming,
}

impl ScriptResult {
    /// The bytes of tag 9F5B (DF31 for UnionPay): result and command number, then the identifier.
    pub fn encode(&self) -> [u8; RESULT_BYTES] {
        let first = match self.progress {
            ScriptProgress::NotPerformed => 0x00,
            ScriptProgress::FailedAt(number) => 0x10 | (number & 0x0F),
            ScriptProgress::Successful => 0x20,
        };
        let [a, b, c, d] = self.identifier;
        [first, a, b, c, d]
    }
}

/// One script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Identifier; zeros when absent.
    pub identifier: [u8; 4],
    /// The commands, or `None` when the template is malformed.
    pub commands: Option<Vec<Command>>,
}

/// Reads the scripts of one timing from the host's answer, in order. Malformed scripts are kept, so that they are
/// reported as not performed.
pub fn parse(issuer_data: &[u8], timing: ScriptTiming) -> Vec<Script> {
    let wanted = match timing {
        ScriptTiming::Before => tags::ISSUER_SCRIPT_TEMPLATE_1,
        ScriptTiming::After => tags::ISSUER_SCRIPT_TEMPLATE_2,
    };
    Elements::new(issuer_data)
        .map_while(Result::ok)
        .filter(|element| element.tag == wanted)
        .take(MAX_SCRIPTS)
        .map(|element| parse_script(element.value))
        .collect()
}

fn parse_script(template: &[u8]) -> Script {
    let mut script = Script { identifier: [0; 4], commands: Some(Vec::new()) };
    for element in Elements::new(template) {
        let accepted = match element {
            Ok(element) if element.tag == tags::ISSUER_SCRIPT_IDENTIFIER => {
                script.identifier = element.value.try_into().unwrap_or_default();
                element.value.len() == script.identifier.len()
            }
            Ok(element) if element.tag == tags::ISSUER_SCRIPT_COMMAND => push_command(&mut script, element.value),
            Ok(_) => true,
            Err(_) => false,
        };
        if !accepted {
            script.commands = None;
            break;
        }
    }
    script
}

fn push_command(script: &mut Script, bytes: &[u8]) -> bool {
    match (Command::parse(bytes), &mut script.commands) {
        (Ok(command), Some(commands)) if commands.len() < MAX_SCRIPT_COMMANDS => {
            commands.push(command);
            true
        }
        _ => false,
    }
}

/// Whether a card's answer lets the script go on: normal or warning.
pub fn is_accepted(status: StatusWord) -> bool {
    status.sw1() == 0x90 || status.is_warning()
}

/// Runs the scripts of one timing: hands out commands, takes statuses, collects results.
#[derive(Clone, Debug)]
pub struct ScriptRun {
    scripts: Vec<Script>,
    timing: ScriptTiming,
    script: usize,
    command: usize,
    results: Vec<ScriptResult>,
}

impl ScriptRun {
    /// Plans the scripts.
    pub fn new(scripts: Vec<Script>, timing: ScriptTiming) -> Self {
        ScriptRun { scripts, timing, script: 0, command: 0, results: Vec::new() }
    }

    /// Whether there is no script at all.
    pub fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }

    /// When these scripts run.
    pub fn timing(&self) -> ScriptTiming {
        self.timing
    }

    /// The next command, or `None` when all scripts are done. Unreadable and finished scripts are closed on the way.
    pub fn next_command(&mut self) -> Option<Command> {
        while let Some(script) = self.scripts.get(self.script) {
            match &script.commands {
                None => self.close(ScriptProgress::NotPerformed),
                Some(commands) => match commands.get(self.command) {
                    Some(command) => return Some(command.clone()),
                    None => self.close(ScriptProgress::Successful),
                },
            }
        }
        None
    }

    /// Takes the card's status to the command.
    pub fn on_status(&mut self, status: StatusWord) {
        self.command += 1;
        if !is_accepted(status) {
            let number = self.command.min(HIGHEST_SEQUENCE_NUMBER) as u8;
            self.close(ScriptProgress::FailedAt(number));
        }
    }

    /// The card is gone: the script under way has failed, the others were not performed.
    pub fn on_card_gone(&mut self) {
        let number = (self.command + 1).min(HIGHEST_SEQUENCE_NUMBER) as u8;
        if self.script < self.scripts.len() {
            self.close(ScriptProgress::FailedAt(number));
        }
        while self.script < self.scripts.len() {
            self.close(ScriptProgress::NotPerformed);
        }
    }

    fn close(&mut self, progress: ScriptProgress) {
        if let Some(script) = self.scripts.get(self.script) {
            self.results.push(ScriptResult { progress, identifier: script.identifier, timing: self.timing });
        }
        self.script += 1;
        self.command = 0;
    }

    /// Whether any closed script was not successful.
    pub fn has_failed(&self) -> bool {
        self.results.iter().any(|result| result.progress != ScriptProgress::Successful)
    }

    /// The results so far.
    pub fn results(&self) -> &[ScriptResult] {
        &self.results
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tlv::Builder;

    fn answer(commands: &[&[u8]]) -> Vec<u8> {
        let mut builder = Builder::new();
        builder.push_template(tags::ISSUER_SCRIPT_TEMPLATE_2, |script| {
            script.push(tags::ISSUER_SCRIPT_IDENTIFIER, &[1, 2, 3, 4]);
            for command in commands {
                script.push(tags::ISSUER_SCRIPT_COMMAND, command);
            }
        });
        builder.into_bytes()
    }

    const BLOCK: &[u8] = &[0x84, 0x1E, 0, 0, 4, 1, 2, 3, 4];

    #[test]
    fn warnings_go_on_and_errors_stop_the_script() {
        let mut run = ScriptRun::new(parse(&answer(&[BLOCK, BLOCK]), ScriptTiming::After), ScriptTiming::After);
        assert!(run.next_command().is_some());
        run.on_status(StatusWord::new(0x6200));
        assert!(run.next_command().is_some());
        run.on_status(StatusWord::new(0x6985));
        assert!(run.next_command().is_none());
        assert_eq!(run.results()[0].encode(), [0x12, 1, 2, 3, 4]);
        assert!(run.has_failed());
    }

    #[test]
    fn a_finished_script_is_successful() {
        let mut run = ScriptRun::new(parse(&answer(&[BLOCK]), ScriptTiming::After), ScriptTiming::After);
        run.next_command().expect("command");
        run.on_status(StatusWord::OK);
        assert!(run.next_command().is_none());
        assert_eq!(run.results()[0].encode(), [0x20, 1, 2, 3, 4]);
    }

    #[test]
    fn an_unreadable_script_is_reported_as_not_performed() {
        let mut run = ScriptRun::new(parse(&answer(&[&[0x84]]), ScriptTiming::After), ScriptTiming::After);
        assert!(run.next_command().is_none());
        assert_eq!(run.results()[0].encode(), [0x00, 1, 2, 3, 4]);
    }

    #[test]
    fn only_the_scripts_of_one_timing_are_taken() {
        assert!(parse(&answer(&[BLOCK]), ScriptTiming::Before).is_empty());
    }

    #[test]
    fn a_card_that_leaves_fails_what_was_under_way() {
        let twice = [answer(&[BLOCK]), answer(&[BLOCK])].concat();
        let mut run = ScriptRun::new(parse(&twice, ScriptTiming::After), ScriptTiming::After);
        run.next_command().expect("command");
        run.on_card_gone();
        let progress: Vec<_> = run.results().iter().map(|result| result.progress).collect();
        assert_eq!(progress, [ScriptProgress::FailedAt(1), ScriptProgress::NotPerformed]);
    }

    proptest! {
        #[test]
        fn every_script_read_gets_exactly_one_result(bytes in proptest::collection::vec(any::<u8>(), 0..120), statuses in proptest::collection::vec(any::<u16>(), 0..80)) {
            let scripts = parse(&bytes, ScriptTiming::Before);
            let count = scripts.len();
            let mut run = ScriptRun::new(scripts, ScriptTiming::Before);
            for status in statuses {
                if run.next_command().is_none() {
                    break;
                }
                run.on_status(StatusWord::new(status));
            }
            run.on_card_gone();
            prop_assert_eq!(run.results().len(), count);
        }
    }
}
