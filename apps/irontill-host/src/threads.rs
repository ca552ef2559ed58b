//! The threads beside the engine: one that owns the store's writing side, and lines to the key service.

use crate::engine::Input;
use driver::{Work, perform};
use keys::{Command, KeyService};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use store_sqlite::SqliteStore;

/// How often the store is asked whether another process has written to it, while nothing else happens.
const FOREIGN_WRITE_CHECK_MS: u64 = 500;

/// Starts the thread that owns the store. It ends when the sender is dropped, or at the first fault, which it reports.
pub(crate) fn start_store(store: SqliteStore, inbox: Sender<Input>) -> Sender<Work> {
    let (sender, receiver) = channel();
    thread::spawn(move || serve_store(store, &receiver, &inbox));
    sender
}

fn serve_store(mut store: SqliteStore, rounds: &Receiver<Work>, inbox: &Sender<Input>) {
    loop {
        let done = match rounds.recv_timeout(Duration::from_millis(FOREIGN_WRITE_CHECK_MS)) {
            Ok(work) => Some(perform(&work, &mut store)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let stopped = matches!(done, Some(Err(_)));
        if let Some(done) = done
            && inbox.send(Input::StoreDone(done)).is_err()
        {
            return;
        }
        if stopped {
            return;
        }
        match store.written_by_others() {
            Ok(false) => {}
            Ok(true) if inbox.send(Input::ForeignWrite).is_ok() => {}
            _ => return,
        }
    }
}

/// A batch of key commands on its way to a line.
pub(crate) struct KeyBatch {
    pub(crate) number: u64,
    pub(crate) commands: Vec<Command>,
}

/// Starts one line to the key service: it executes one batch at a time and reports the replies.
pub(crate) fn start_key_line(
    line: usize,
    mut service: Box<dyn KeyService + Send>,
    inbox: Sender<Input>,
) -> Sender<KeyBatch> {
    let (sender, receiver) = channel::<KeyBatch>();
    thread::spawn(move || {
        for batch in receiver {
            let replies = service.execute(&batch.commands);
            // Commands may hold account data: they are gone before anybody acts on the replies.
            drop(batch.commands);
            if inbox.send(Input::KeysDone { line, number: batch.number, replies }).is_err() {
                return;
            }
        }
    });
    sender
}
