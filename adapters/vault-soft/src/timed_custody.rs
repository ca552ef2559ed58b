//! A custody that answers in time or is given up.
//!
//! Neither a PKCS#11 module nor a TPM's software lets its caller set a time limit, and both may wait for ever for a
//! device that is gone. So the device is worked on in a thread of its own, and a thread that does not answer is left.

use crate::stack::with_clean_stack;
use keys::{CustodyDescription, CustodyFailure, MasterCustody};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use types::SecretBytes;

/// How long a device may take for one operation unless the caller says otherwise: drawing a key is the slowest.
pub const CUSTODY_TIMEOUT: Duration = Duration::from_secs(30);

enum Request {
    Prepare,
    Seal { label: Vec<u8>, secret: SecretBytes },
    Open { label: Vec<u8>, sealed: Vec<u8> },
    Destroy,
}

/// What comes back; `Prepare` and `Destroy` give nothing.
type Answer = Result<SecretBytes, CustodyFailure>;

/// A custody behind a time limit.
pub struct TimedCustody {
    description: CustodyDescription,
    timeout: Duration,
    /// `None` once an operation ran out of time: nobody knows what the device does with it, so nothing more is asked.
    worker: Option<Worker>,
}

struct Worker {
    requests: SyncSender<Request>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
}

/// A thread that still answers is waited for: when a custody is gone, so is everything that it started.
impl Drop for TimedCustody {
    fn drop(&mut self) {
        if let Some(Worker { requests, answers, thread }) = self.worker.take() {
            drop((requests, answers));
            // A panic there was an answer already when it happened.
            let _ = thread.join();
        }
    }
}

impl core::fmt::Debug for TimedCustody {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "TimedCustody({}, {:?})", self.description, self.timeout)
    }
}

impl TimedCustody {
    /// Puts a custody behind a time limit for each of its operations.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(mut custody: Box<dyn MasterCustody + Send>, timeout: Duration) -> std::io::Result<Self> {
        let description = custody.describe();
        let (requests, to_do) = sync_channel(1);
        let (done, answers) = sync_channel(1);
        let work = move || {
            for request in to_do {
                // Whoever asked may have given up.
                if done.send(with_clean_stack(|| carry_out(&mut *custody, request))).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("custody".to_owned()).spawn(work)?;
        Ok(Self { description, timeout, worker: Some(Worker { requests, answers, thread }) })
    }

    fn ask(&mut self, request: Request) -> Answer {
        let ended = || CustodyFailure::Device("the custody's thread ended".to_owned());
        let worker = self.worker.as_ref().ok_or(CustodyFailure::Timeout)?;
        worker.requests.send(request).map_err(|_| ended())?;
        match worker.answers.recv_timeout(self.timeout) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
            Err(RecvTimeoutError::Timeout) => {
                self.worker = None;
                Err(CustodyFailure::Timeout)
            }
        }
    }
}

fn carry_out(custody: &mut dyn MasterCustody, request: Request) -> Answer {
    let nothing = |()| SecretBytes::default();
    match request {
        Request::Prepare => custody.prepare().map(nothing),
        Request::Seal { label, secret } => custody.seal(&label, &secret).map(SecretBytes::new),
        Request::Open { label, sealed } => custody.open(&label, &sealed),
        Request::Destroy => custody.destroy().map(nothing),
    }
}

impl MasterCustody for TimedCustody {
    fn describe(&self) -> CustodyDescription {
        self.description.clone()
    }

    fn prepare(&mut self) -> Result<(), CustodyFailure> {
        self.ask(Request::Prepare).map(|_| ())
    }

    fn seal(&mut self, label: &[u8], secret: &SecretBytes) -> Result<Vec<u8>, CustodyFailure> {
        let request = Request::Seal { label: label.to_vec(), secret: secret.duplicate() };
        self.ask(request).map(|sealed| sealed.expose().to_vec())
    }

    fn open(&mut self, label: &[u8], sealed: &[u8]) -> Result<SecretBytes, CustodyFailure> {
        self.ask(Request::Open { label: label.to_vec(), sealed: sealed.to_vec() })
    }

    fn destroy(&mut self) -> Result<(), CustodyFailure> {
        self.ask(Request::Destroy).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Passphrase, PassphraseCustody};
    use keys::CustodyKind;

    /// Hangs when it is asked to prepare, panics when it is asked to destroy.
    struct Dead;

    impl MasterCustody for Dead {
        fn describe(&self) -> CustodyDescription {
            CustodyDescription { kind: CustodyKind::Tpm, place: "nowhere".to_owned() }
        }
        fn prepare(&mut self) -> Result<(), CustodyFailure> {
            loop {
                std::thread::park();
            }
        }
        fn seal(&mut self, _: &[u8], _: &SecretBytes) -> Result<Vec<u8>, CustodyFailure> {
            Err(CustodyFailure::Locked)
        }
        fn open(&mut self, _: &[u8], _: &[u8]) -> Result<SecretBytes, CustodyFailure> {
            Err(CustodyFailure::NotAuthentic)
        }
        fn destroy(&mut self) -> Result<(), CustodyFailure> {
            panic!("on purpose")
        }
    }

    fn timed(custody: impl MasterCustody + Send + 'static) -> TimedCustody {
        TimedCustody::start(Box::new(custody), Duration::from_millis(200)).unwrap()
    }

    #[test]
    fn a_dead_device_times_out_once_and_is_not_asked_again() {
        let mut custody = timed(Dead);
        assert_eq!(custody.open(b"l", b"s").unwrap_err(), CustodyFailure::NotAuthentic);
        assert_eq!(custody.prepare(), Err(CustodyFailure::Timeout));
        assert_eq!(custody.open(b"l", b"s").unwrap_err(), CustodyFailure::Timeout);
        assert_eq!(custody.describe().place, "nowhere");
    }

    #[test]
    fn a_broken_thread_is_an_answer_too() {
        // Writing the panic's backtrace takes a busy machine longer than a hanging device is given here.
        let mut custody = TimedCustody::start(Box::new(Dead), CUSTODY_TIMEOUT).unwrap();
        assert!(matches!(custody.destroy(), Err(CustodyFailure::Device(_))));
        assert!(matches!(custody.destroy(), Err(CustodyFailure::Device(_))));
    }

    #[test]
    fn what_is_alive_answers_as_without_a_limit() {
        let phrase = || Passphrase::new(SecretBytes::copy_from(b"correct horse battery")).unwrap();
        let mut inner = PassphraseCustody::new(phrase());
        let boxed = Box::new(PassphraseCustody::new(phrase()));
        let mut custody = TimedCustody::start(boxed, CUSTODY_TIMEOUT).unwrap();
        let secret = SecretBytes::copy_from(b"secret");
        let sealed = custody.seal(b"label", &secret).unwrap();
        assert!(inner.open(b"label", &sealed).unwrap().matches(&secret));
        assert!(custody.open(b"label", &sealed).unwrap().matches(&secret));
        assert_eq!(custody.open(b"other", &sealed).unwrap_err(), CustodyFailure::NotAuthentic);
    }
}
