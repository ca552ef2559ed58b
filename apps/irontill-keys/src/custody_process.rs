//! Asks a device's custody in a process of its own.
//!
//! A PKCS#11 module is somebody else's code, and a TPM's software keeps what it unsealed on a heap that it never wipes.
//! Neither belongs into the process that holds the keys: so this program starts once more, asks the device there, and
//! lets that process die. What the module loaded, started or left behind goes with it.

use crate::{custody, hardening};
use anyhow::{Context, bail, ensure};
use keys::{CustodyDescription, CustodyFailure, CustodyKind, MasterCustody};
use machine::wire::{Malformed, Reader, Writer};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use types::SecretBytes;
use vault_soft::{CUSTODY_TIMEOUT, SecretBytesBox};

/// Tells a process that it is one that asks; its value is its parent's process id.
const MARK: &str = "IRONTILL_KEYS_CUSTODY";
const PROGRAM: &str = "/proc/self/exe";
/// The TPM's library prints what it also returns, unless told not to.
const TPM_LOG: (&str, &str) = ("TSS2_LOG", "all+none");
/// Longest request and answer: more than any address, label or sealed secret.
const FRAME_BYTES_MAX: usize = 1 << 17;
/// The process gives its device [`CUSTODY_TIMEOUT`]; one that does not even say so is given up a little later.
const ANSWER_TIMEOUT: Duration = CUSTODY_TIMEOUT.saturating_add(Duration::from_secs(5));
/// How long a process that is no longer needed may take to let its device go.
const PARTING: Duration = Duration::from_millis(10);
const PARTINGS_MAX: usize = 300;

const PREPARE: u8 = 1;
const SEAL: u8 = 2;
const OPEN: u8 = 3;
const DESTROY: u8 = 4;

const DONE: u8 = 0;
const NOT_AUTHENTIC: u8 = 1;
const REPORTED: u8 = 2;

/// A custody that another process asks.
pub struct CustodyProcess {
    description: CustodyDescription,
    child: Child,
    stream: UnixStream,
    /// It did not answer: nobody knows what the device still does.
    given_up: bool,
}

impl CustodyProcess {
    /// Starts the process for the custody at `address`.
    ///
    /// # Errors
    /// If it cannot be started, or what it says of the address.
    pub fn start(address: &str) -> anyhow::Result<Box<dyn MasterCustody>> {
        let (stream, theirs) = UnixStream::pair().context("custody process")?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).context("custody process")?;
        let child = spawn(theirs.into()).context("custody process")?;
        let description = CustodyDescription { kind: CustodyKind::Passphrase, place: String::new() };
        let mut process = Self { description, child, stream, given_up: false };
        let mut request = Writer::default();
        request.text(address);
        let answer = process.exchange(request).map_err(|failure| anyhow::anyhow!("{failure}"))?;
        process.description = described(answer.expose()).context("custody process")?;
        Ok(Box::new(process))
    }

    fn exchange(&mut self, request: Writer) -> Result<SecretBytes, CustodyFailure> {
        if self.given_up {
            return Err(CustodyFailure::Timeout);
        }
        let request = SecretBytes::new(request.into_bytes());
        let answer = write_frame(&mut self.stream, request.expose()).and_then(|()| read_frame(&mut self.stream));
        let answer = answer.map_err(|error| {
            self.given_up = true;
            match error.kind() {
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => CustodyFailure::Timeout,
                _ => CustodyFailure::Device(format!("the process that asked it ended ({error})")),
            }
        })?;
        read_answer(answer.expose()).map_err(|why| CustodyFailure::Device(why.to_string()))?
    }

    fn ask(&mut self, operation: u8, label: &[u8], bytes: &[u8]) -> Result<SecretBytes, CustodyFailure> {
        let mut request = Writer::default();
        request.u8(operation).bytes(label).bytes(bytes);
        self.exchange(request)
    }
}

fn spawn(stream: OwnedFd) -> std::io::Result<Child> {
    let mut arguments = std::env::args_os();
    let mut again = Command::new(PROGRAM);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    if std::env::var_os(TPM_LOG.0).is_none() {
        again.env(TPM_LOG.0, TPM_LOG.1);
    }
    again.args(arguments).env(MARK, getpid().as_raw_nonzero().to_string());
    again.stdin(Stdio::from(stream)).stdout(Stdio::null()).spawn()
}

fn described(bytes: &[u8]) -> Result<CustodyDescription, Malformed> {
    let mut reader = Reader::new(bytes);
    let kind = CustodyKind::from_number(reader.u8()?).ok_or_else(|| reader.malformed("a kind of custody"))?;
    Ok(CustodyDescription { kind, place: reader.text()?.to_owned() })
}

fn read_answer(bytes: &[u8]) -> Result<Result<SecretBytes, CustodyFailure>, Malformed> {
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        DONE => Ok(Ok(SecretBytes::copy_from(reader.bytes()?))),
        NOT_AUTHENTIC => Ok(Err(CustodyFailure::NotAuthentic)),
        REPORTED => Ok(Err(CustodyFailure::Reported(reader.text()?.to_owned()))),
        _ => Err(reader.malformed("an answer of a custody")),
    }
}

impl Drop for CustodyProcess {
    fn drop(&mut self) {
        // The end of the stream tells it to let its device go.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        for _ in 0..if self.given_up { 0 } else { PARTINGS_MAX } {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(PARTING);
        }
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl MasterCustody for CustodyProcess {
    fn describe(&self) -> CustodyDescription {
        self.description.clone()
    }

    fn prepare(&mut self) -> Result<(), CustodyFailure> {
        self.ask(PREPARE, b"", b"").map(|_| ())
    }

    fn seal(&mut self, label: &[u8], secret: &SecretBytes) -> Result<Vec<u8>, CustodyFailure> {
        self.ask(SEAL, label, secret.expose()).map(|sealed| sealed.expose().to_vec())
    }

    fn open(&mut self, label: &[u8], sealed: &[u8]) -> Result<SecretBytes, CustodyFailure> {
        self.ask(OPEN, label, sealed)
    }

    fn destroy(&mut self) -> Result<(), CustodyFailure> {
        self.ask(DESTROY, b"", b"").map(|_| ())
    }
}

fn write_frame(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| std::io::Error::other("too long"))?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(bytes)
}

fn read_frame(stream: &mut UnixStream) -> std::io::Result<SecretBytesBox> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(std::io::Error::other("too long"));
    }
    let mut bytes = SecretBytesBox::zeroed(length);
    stream.read_exact(bytes.expose_mut())?;
    Ok(bytes)
}

/// If this process was started to ask a custody: does so until nobody wants more, and says true.
///
/// # Errors
/// If somebody else set the mark, or the one who wanted to know is gone.
pub fn answer_if_asked() -> anyhow::Result<bool> {
    let Some(mark) = std::env::var_os(MARK) else { return Ok(false) };
    set_parent_process_death_signal(Some(Signal::KILL)).context("custody process")?;
    let parent = getppid().map(|parent| parent.as_raw_nonzero().to_string());
    ensure!(parent.is_some_and(|parent| mark == parent.as_str()), "{MARK} is set, and not by this process's parent");
    hardening::harden().context("hardening the custody process")?;
    let stdin = std::io::stdin();
    let mut stream = UnixStream::from(stdin.as_fd().try_clone_to_owned().context("custody process")?);
    let address = read_frame(&mut stream).context("custody process")?;
    let mut custody = match Reader::new(address.expose()).text().context("address").and_then(custody) {
        Ok(custody) => custody,
        Err(error) => {
            write_frame(&mut stream, &failed(REPORTED, &format!("{error:#}"))).context("custody process")?;
            return Ok(true);
        }
    };
    write_frame(&mut stream, done(&description(&custody.describe())).expose()).context("custody process")?;
    // The end of the stream is the end of the work.
    while let Ok(request) = read_frame(&mut stream) {
        let answer = carry_out(&mut *custody, request.expose())?;
        write_frame(&mut stream, answer.expose()).context("custody process")?;
    }
    Ok(true)
}

fn description(description: &CustodyDescription) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u8(description.kind.number()).text(&description.place);
    writer.into_bytes()
}

fn done(bytes: &[u8]) -> SecretBytes {
    let mut writer = Writer::default();
    writer.u8(DONE).bytes(bytes);
    SecretBytes::new(writer.into_bytes())
}

fn failed(how: u8, text: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u8(how).text(text);
    writer.into_bytes()
}

fn carry_out(custody: &mut dyn MasterCustody, request: &[u8]) -> anyhow::Result<SecretBytes> {
    let mut reader = Reader::new(request);
    let (operation, label, bytes) = (reader.u8()?, reader.bytes()?, reader.bytes()?);
    let nothing = |()| SecretBytes::default();
    let outcome = match operation {
        PREPARE => custody.prepare().map(nothing),
        SEAL => custody.seal(label, &SecretBytes::copy_from(bytes)).map(SecretBytes::new),
        OPEN => custody.open(label, bytes),
        DESTROY => custody.destroy().map(nothing),
        _ => bail!("a request that no custody knows"),
    };
    Ok(match outcome {
        Ok(bytes) => done(bytes.expose()),
        Err(CustodyFailure::NotAuthentic) => SecretBytes::new(failed(NOT_AUTHENTIC, "")),
        Err(failure) => SecretBytes::new(failed(REPORTED, &failure.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vault_soft::{Passphrase, PassphraseCustody};

    fn asked(custody: &mut dyn MasterCustody, operation: u8, label: &[u8], bytes: &[u8]) -> SecretBytes {
        let mut request = Writer::default();
        request.u8(operation).bytes(label).bytes(bytes);
        carry_out(custody, &request.into_bytes()).unwrap()
    }

    #[test]
    fn what_a_custody_says_arrives() {
        let phrase = Passphrase::new(SecretBytes::copy_from(b"correct horse battery")).unwrap();
        let mut custody = PassphraseCustody::new(phrase);
        let sealed = read_answer(asked(&mut custody, SEAL, b"label", b"secret").expose()).unwrap().unwrap();
        let opened = read_answer(asked(&mut custody, OPEN, b"label", sealed.expose()).expose()).unwrap().unwrap();
        assert_eq!(opened.expose(), b"secret");
        let other = read_answer(asked(&mut custody, OPEN, b"other", sealed.expose()).expose()).unwrap();
        assert_eq!(other.unwrap_err(), CustodyFailure::NotAuthentic);
        let destroyed = read_answer(asked(&mut custody, DESTROY, b"", b"").expose()).unwrap().unwrap_err();
        assert_eq!(destroyed.to_string(), custody.destroy().unwrap_err().to_string());
        assert!(carry_out(&mut custody, &[9, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn descriptions_arrive() {
        let original = CustodyDescription { kind: CustodyKind::Tpm, place: "here".to_owned() };
        assert_eq!(described(&description(&original)).unwrap(), original);
    }

    #[test]
    fn frames_are_bounded() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        write_frame(&mut near, b"whole").unwrap();
        assert_eq!(read_frame(&mut far).unwrap().expose(), b"whole");
        near.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(read_frame(&mut far).is_err());
        assert!(write_frame(&mut near, &vec![0; FRAME_BYTES_MAX + 1]).is_err());
    }
}
