//! A PKCS#11 module that passes everything on to SoftHSM2 and misbehaves on order: tokens that lock, vanish, lie and
//! hang cannot be had from SoftHSM2 itself.

use crate::room::tool;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("faulty.c");

/// What a module can be ordered to do.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The token info says that the PIN is locked.
    PinLocked,
    /// The token info says that one wrong PIN more locks it.
    FinalTry,
    /// Login answers that the PIN is locked.
    LoginLocked,
    /// Decryption says once that the device was removed.
    RemovedOnce,
    /// Decryption says that the device was removed.
    Removed,
    /// The value of a sensitive key is shown.
    ShowsValue,
    /// Opening a session never ends.
    Hang,
}

impl Fault {
    fn word(self) -> &'static str {
        match self {
            Fault::PinLocked => "pin-locked",
            Fault::FinalTry => "final-try",
            Fault::LoginLocked => "login-locked",
            Fault::RemovedOnce => "removed-once",
            Fault::Removed => "removed",
            Fault::ShowsValue => "shows-value",
            Fault::Hang => "hang",
        }
    }
}

pub struct FaultyModule {
    /// The module's library.
    pub path: PathBuf,
    folder: PathBuf,
}

impl FaultyModule {
    /// Compiles the module into a folder, on top of a real one.
    pub fn build(folder: &Path, real: &Path) -> Self {
        let (source, path) = (folder.join("faulty.c"), folder.join("libfaulty.so"));
        std::fs::write(&source, SOURCE).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&path).arg(&source).arg("-ldl");
        compiler.arg(format!("-DREAL_MODULE=\"{}\"", real.display()));
        compiler.arg(format!("-DFOLDER=\"{}\"", folder.display()));
        tool(&mut compiler);
        Self { path, folder: folder.to_owned() }
    }

    /// Orders a fault, or none.
    pub fn misbehave(&self, fault: Option<Fault>) {
        std::fs::write(self.folder.join("fault"), fault.map_or("", Fault::word)).unwrap();
    }

    /// How often somebody tried to log in.
    pub fn logins(&self) -> usize {
        std::fs::read(self.folder.join("logins")).map_or(0, |content| content.len())
    }
}
