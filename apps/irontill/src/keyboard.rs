//! Lines from a person or a pipe: passphrases and key components without echo, and without a buffer that keeps them.

use anyhow::{Context, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::Stdin;
use types::SecretBytes;
use zeroize::Zeroizing;

/// Longest line that is taken, in bytes.
const LINE_BYTES_MAX: usize = 4096;
/// What Ctrl-C sends while it is not a signal.
const INTERRUPT: u8 = 0x03;

/// Standard input, read byte by byte.
pub struct Keyboard {
    input: Stdin,
    is_terminal: bool,
}

/// Puts the terminal back as it was, whatever happens.
struct Quiet<'a>(&'a Stdin, Termios);

impl<'a> Quiet<'a> {
    /// No echo, and Ctrl-C as a character: a signal would leave the terminal mute.
    fn new(input: &'a Stdin) -> anyhow::Result<Self> {
        let before = tcgetattr(input).context("the terminal's modes")?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(input, OptionalActions::Flush, &quiet).context("turning the echo off")?;
        Ok(Self(input, before))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing is left to do if the terminal has gone.
        let _ = tcsetattr(self.0, OptionalActions::Flush, &self.1);
        eprintln!();
    }
}

impl Keyboard {
    /// Standard input.
    pub fn new() -> Self {
        let input = std::io::stdin();
        let is_terminal = isatty(&input);
        Self { input, is_terminal }
    }

    fn prompt(&self, prompt: &str) {
        if self.is_terminal {
            eprint!("{prompt}: ");
        }
    }

    /// A line without its end; `None` at the end of input.
    fn read(&self) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        // Never grows: a larger copy would leave the smaller one behind.
        let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
        loop {
            let mut byte = [0];
            let count = match rustix::io::read(&self.input, &mut byte) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.context("standard input")?,
            };
            match (count, byte[0]) {
                (0, _) if line.is_empty() => return Ok(None),
                (0, _) | (_, b'\n') => return Ok(Some(line)),
                (_, INTERRUPT) => bail!("interrupted"),
                (_, b'\r') => {}
                _ if line.len() == LINE_BYTES_MAX => bail!("a line of more than {LINE_BYTES_MAX} bytes"),
                (_, other) => line.push(other),
            }
        }
    }

    /// A line of text; `None` at the end of input.
    pub fn line(&self, prompt: &str) -> anyhow::Result<Option<String>> {
        self.prompt(prompt);
        let Some(line) = self.read()? else { return Ok(None) };
        let text = core::str::from_utf8(&line).context("standard input")?;
        Ok(Some(text.trim().to_owned()))
    }

    /// A secret line; `None` at the end of input.
    pub fn secret(&self, prompt: &str) -> anyhow::Result<Option<SecretBytes>> {
        // Quiet before the prompt: what is typed at once must neither be shown nor lost.
        let _quiet = if self.is_terminal { Some(Quiet::new(&self.input)?) } else { None };
        self.prompt(prompt);
        Ok(self.read()?.map(|line| SecretBytes::copy_from(&line)))
    }

    /// A new secret: a person types it twice, a pipe gives it once.
    pub fn new_secret(&self, prompt: &str) -> anyhow::Result<Option<SecretBytes>> {
        let Some(first) = self.secret(prompt)? else { return Ok(None) };
        if self.is_terminal {
            let again = self.secret(&format!("{prompt} again"))?;
            if again.is_none_or(|again| again.expose() != first.expose()) {
                bail!("the two are not the same");
            }
        }
        Ok(Some(first))
    }
}
