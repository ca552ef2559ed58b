//! The suite on passphrase files.

use crate::room::private_file;
use crate::stage::{Stage, Which};
use std::path::{Path, PathBuf};

pub const OWN: &str = "Kz7q-4TbW-9xvL-m2hY-p3Rc";
pub const WRONG: &str = "uB6e-0FnS-5dJk-r8Wa-i1Qo";

pub struct PassphraseFiles(PathBuf);

impl PassphraseFiles {
    pub fn start(folder: &Path) -> Self {
        let text = [("own", OWN), ("next", "the next passphrase"), ("foreign", "another passphrase"), ("wrong", WRONG)];
        for (name, text) in text {
            private_file(folder.join(name), text);
        }
        Self(folder.to_owned())
    }

    fn file(&self, which: Which) -> PathBuf {
        self.0.join(match which {
            Which::Own => "own",
            Which::Next => "next",
            Which::Foreign => "foreign",
            Which::WrongSecret => "wrong",
        })
    }
}

impl Stage for PassphraseFiles {
    fn address(&self, which: Which) -> String {
        format!("passphrase:file={}", self.file(which).display())
    }

    fn restart(&mut self) {}

    fn take_away(&mut self) {
        std::fs::rename(self.file(Which::Own), self.0.join("away")).unwrap();
    }

    fn bring_back(&mut self) {
        std::fs::rename(self.0.join("away"), self.file(Which::Own)).unwrap();
    }

    fn destroy_key(&mut self) {
        assert!(self.custody(Which::Own).destroy().is_err());
        std::fs::remove_file(self.file(Which::Own)).unwrap();
    }
}

crate::conformance!(PassphraseFiles);
