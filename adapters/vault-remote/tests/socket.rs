//! The key socket from both ends, with peers that behave and peers that do not.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use keys::{Caller, Command, KeyService, Refusal, Reply, SOCKET_FRAME_BYTES_MAX, SocketReply, SocketRequest};
use machine::wire::Encode;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vault_remote::{
    CONNECTIONS_MAX, Channel, FRAME_TIMEOUT, FrameError, KeyServer, ListenerConfig, Parting, RemoteKeys, ServerEvent,
    pipelined, write_frame,
};

/// A batch with this count makes the executor panic.
const PANIC_COUNT: u16 = 255;

struct Bench {
    path: PathBuf,
    events: Arc<Mutex<Vec<ServerEvent>>>,
    executed: Arc<AtomicUsize>,
    server: Option<KeyServer>,
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl Bench {
    fn new() -> Self {
        Self::for_caller(Caller::Host, vec![own_uid()])
    }

    fn for_caller(caller: Caller, allowed_uids: Vec<u32>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("key-socket-{}-{number}", std::process::id()));
        let mut bench = Self { path, events: Arc::default(), executed: Arc::default(), server: None };
        bench.start(caller, allowed_uids);
        bench
    }

    /// A server whose vault answers `Random` with the count and everything else with a refusal.
    fn start(&mut self, caller: Caller, allowed_uids: Vec<u32>) {
        let (events, executed) = (Arc::clone(&self.events), Arc::clone(&self.executed));
        let execute = move |_: Caller, commands: &[Command]| {
            executed.fetch_add(commands.len(), Ordering::Relaxed);
            commands.iter().map(reply_to).collect::<Vec<Reply>>()
        };
        let log = move |event: &ServerEvent| events.lock().unwrap().push(event.clone());
        let config = ListenerConfig { path: self.path.clone(), caller, allowed_uids };
        self.server = Some(KeyServer::start(vec![config], Arc::new(execute), Arc::new(log)).unwrap());
    }

    fn stop(&mut self) {
        self.server.take().unwrap().stop();
    }

    /// Waits until a connection has parted for the given reason.
    fn parted(&self, wanted: impl Fn(&Parting) -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let events = self.events.lock().unwrap();
            if events.iter().any(|event| matches!(event, ServerEvent::Parted { why, .. } if wanted(why))) {
                return true;
            }
            drop(events);
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn reply_to(command: &Command) -> Reply {
    match command {
        Command::Random { count: PANIC_COUNT } => panic!("planted"),
        Command::Random { count } => Reply::Random { bytes: count.to_be_bytes().to_vec() },
        _ => Reply::Refused { why: Refusal::Parameter },
    }
}

fn random(counts: &[u16]) -> Vec<Command> {
    counts.iter().map(|count| Command::Random { count: *count }).collect()
}

fn counts(replies: &[Reply]) -> Vec<u16> {
    let count = |reply: &Reply| match reply {
        Reply::Random { bytes } => u16::from_be_bytes(bytes[..].try_into().unwrap()),
        other => panic!("{other:?}"),
    };
    replies.iter().map(count).collect()
}

fn is_closed(stream: &mut UnixStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_))
}

#[test]
fn batches_are_answered_in_order() {
    let bench = Bench::new();
    let mut keys = RemoteKeys::connect(&bench.path, Caller::Host).unwrap();
    assert_eq!(counts(&keys.execute(&random(&[3, 1, 2]))), [3, 1, 2]);
    assert!(keys.execute(&[]).is_empty());
    let many: Vec<u16> = (0..3000).map(|number| number % 200).collect();
    assert_eq!(counts(&keys.execute(&random(&many))), many);
}

#[test]
fn the_socket_is_private() {
    let bench = Bench::new();
    let mode = std::fs::metadata(&bench.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn many_batches_may_be_in_flight() {
    let bench = Bench::new();
    let (mut sender, mut receiver) = pipelined(&bench.path, Caller::Host).unwrap();
    let reading = std::thread::spawn(move || {
        (0..500).map(|_| receiver.receive().unwrap()).map(|reply| (reply.ticket, counts(&reply.replies))).collect()
    });
    for ticket in 0..500_u64 {
        sender.submit(ticket, &random(&[ticket as u16 % 100, 7])).unwrap();
    }
    let answers: Vec<(u64, Vec<u16>)> = reading.join().unwrap();
    let expected: Vec<(u64, Vec<u16>)> = (0..500).map(|ticket| (ticket, vec![ticket as u16 % 100, 7])).collect();
    assert_eq!(answers, expected);
}

#[test]
fn who_breaks_the_table_is_refused_and_cut_off() {
    let bench = Bench::new();
    let mut channel = Channel::connect(&bench.path, FRAME_TIMEOUT).unwrap();
    let commands = [Command::Random { count: 1 }, Command::TransportPublicKey {}];
    channel.outgoing.send(&SocketRequest::encode_parts(Caller::Host, 9, &commands)).unwrap();
    let reply = SocketReply::from_bytes(&channel.incoming.receive(None).unwrap()).unwrap();
    assert_eq!(reply.ticket, 9);
    let refused = |reply: &Reply| matches!(reply, Reply::Refused { why: Refusal::NotPermitted });
    assert!(reply.replies.len() == 2 && reply.replies.iter().all(refused));
    assert!(channel.incoming.receive(None).is_err());
    assert!(bench.parted(|why| matches!(why, Parting::NotPermitted(keys::CommandKind::TransportPublicKey))));
    assert_eq!(bench.executed.load(Ordering::Relaxed), 0, "nothing of the batch was carried out");
}

#[test]
fn a_caller_cannot_call_itself_another() {
    let bench = Bench::new();
    let mut keys = RemoteKeys::connect(&bench.path, Caller::Administration).unwrap();
    let replies = keys.execute(&[Command::TransportPublicKey {}]);
    assert!(matches!(replies[..], [Reply::Refused { why: Refusal::NotPermitted }]));
    assert!(bench.parted(|why| *why == Parting::FalseCaller(Caller::Administration)));
    assert_eq!(bench.executed.load(Ordering::Relaxed), 0);
}

#[test]
fn other_users_are_not_let_in() {
    let stranger = own_uid() + 1;
    let bench = Bench::for_caller(Caller::Host, vec![stranger]);
    let mut keys = RemoteKeys::new(&bench.path, Caller::Host);
    let replies = keys.execute(&random(&[1]));
    assert!(matches!(replies[..], [Reply::Refused { why: Refusal::Unavailable }]));
    assert!(bench.parted(|why| *why == Parting::WrongUser(own_uid())));
}

#[test]
fn malformed_frames_close_the_connection() {
    let bench = Bench::new();
    let good = SocketRequest::encode_parts(Caller::Host, 1, &random(&[1]));
    let too_long = u32::try_from(2 * SOCKET_FRAME_BYTES_MAX).unwrap().to_be_bytes();
    for bytes in [&[0, 0, 0, 0][..], &too_long, &[0xFF; 4], &[0, 0, 0, 1, 9]] {
        let mut stream = UnixStream::connect(&bench.path).unwrap();
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{bytes:?}");
    }
    let mut hostile = vec![b"x".to_vec(), [&good[..], b"trailing"].concat()];
    hostile.extend((1..good.len()).map(|length| good[..length].to_vec()));
    for bytes in hostile {
        let mut channel = Channel::connect(&bench.path, FRAME_TIMEOUT).unwrap();
        channel.outgoing.send(&bytes).unwrap();
        assert!(channel.incoming.receive(None).is_err(), "{bytes:?}");
    }
    assert_eq!(bench.executed.load(Ordering::Relaxed), 0);
    let mut keys = RemoteKeys::connect(&bench.path, Caller::Host).unwrap();
    assert_eq!(counts(&keys.execute(&random(&[5]))), [5], "nobody else noticed");
}

#[test]
fn a_frame_cut_short_is_told_apart_from_a_closed_connection() {
    let bench = Bench::new();
    let mut stream = UnixStream::connect(&bench.path).unwrap();
    stream.write_all(&[0, 0, 0, 9, 1, 2]).unwrap();
    drop(stream);
    assert!(bench.parted(|why| matches!(why, Parting::BadFrame(text) if text.contains("inside a frame"))));
}

#[test]
fn half_a_frame_and_silence_is_cut_off_and_slows_nobody() {
    let bench = Bench::new();
    let mut silent = UnixStream::connect(&bench.path).unwrap();
    silent.write_all(&[0, 0, 0, 200, 1, 2, 3]).unwrap();
    let mut keys = RemoteKeys::connect(&bench.path, Caller::Host).unwrap();
    let began = Instant::now();
    assert_eq!(counts(&keys.execute(&random(&[5]))), [5]);
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(is_closed(&mut silent));
    assert!(bench.parted(|why| matches!(why, Parting::BadFrame(text) if text.contains("silence"))));
}

#[test]
fn there_is_a_limit_to_connections() {
    let bench = Bench::new();
    let held: Vec<UnixStream> = (0..CONNECTIONS_MAX).map(|_| UnixStream::connect(&bench.path).unwrap()).collect();
    let mut extra = UnixStream::connect(&bench.path).unwrap();
    assert!(is_closed(&mut extra));
    assert!(bench.parted(|why| *why == Parting::Crowded));
    drop(held);
    assert!(bench.parted(|why| *why == Parting::Closed));
    let mut keys = RemoteKeys::new(&bench.path, Caller::Host);
    let deadline = Instant::now() + Duration::from_secs(10);
    while matches!(keys.execute(&random(&[1]))[..], [Reply::Refused { .. }]) {
        assert!(Instant::now() < deadline, "room is made again");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_restarted_server_is_found_again() {
    let mut bench = Bench::new();
    let mut keys = RemoteKeys::connect(&bench.path, Caller::Host).unwrap();
    assert_eq!(counts(&keys.execute(&random(&[1]))), [1]);
    bench.stop();
    assert!(!bench.path.exists());
    let replies = keys.execute(&random(&[2, 3]));
    assert!(matches!(
        replies[..],
        [Reply::Refused { why: Refusal::Unavailable }, Reply::Refused { why: Refusal::Unavailable }]
    ));
    bench.start(Caller::Host, vec![own_uid()]);
    assert_eq!(counts(&keys.execute(&random(&[4]))), [4]);
    // And once more without a failed attempt in between: the stale connection is noticed and replaced.
    bench.stop();
    bench.start(Caller::Host, vec![own_uid()]);
    assert_eq!(counts(&keys.execute(&random(&[5]))), [5]);
}

#[test]
fn a_panic_costs_one_connection() {
    let bench = Bench::new();
    let mut keys = RemoteKeys::connect(&bench.path, Caller::Host).unwrap();
    let replies = keys.execute(&random(&[PANIC_COUNT]));
    assert!(matches!(replies[..], [Reply::Refused { why: Refusal::Unavailable }]));
    assert!(bench.parted(|why| *why == Parting::Fault));
    assert_eq!(counts(&keys.execute(&random(&[6]))), [6]);
}

#[test]
fn a_running_servers_socket_is_not_taken_over_and_a_dead_ones_is() {
    let mut bench = Bench::new();
    let start = |path: &PathBuf| {
        let config = ListenerConfig { path: path.clone(), caller: Caller::Host, allowed_uids: vec![own_uid()] };
        let execute = |_: Caller, commands: &[Command]| commands.iter().map(reply_to).collect::<Vec<Reply>>();
        KeyServer::start(vec![config], Arc::new(execute), Arc::new(|_: &ServerEvent| {}))
    };
    assert!(start(&bench.path).is_err());
    bench.stop();
    std::fs::write(&bench.path, b"precious").unwrap();
    assert!(start(&bench.path).is_err());
    assert_eq!(std::fs::read(&bench.path).unwrap(), b"precious");
    std::fs::remove_file(&bench.path).unwrap();
    // What a killed server leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&bench.path).unwrap());
    assert!(bench.path.exists());
    start(&bench.path).unwrap().stop();
}

#[test]
fn an_oversized_payload_is_not_sent() {
    let bench = Bench::new();
    let mut channel = Channel::connect(&bench.path, FRAME_TIMEOUT).unwrap();
    let oversized = vec![0; SOCKET_FRAME_BYTES_MAX + 1];
    assert!(matches!(channel.outgoing.send(&oversized), Err(FrameError::Length(_))));
    assert!(matches!(channel.outgoing.send(&[]), Err(FrameError::Length(0))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_kill_the_server(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        let bench = Bench::new();
        let mut stream = UnixStream::connect(&bench.path).unwrap();
        write_frame(&mut stream, &bytes).unwrap();
        // 32 bytes are a public key: what follows is then no sealed frame.
        let _ = write_frame(&mut stream, &bytes);
        let mut channel = Channel::connect(&bench.path, FRAME_TIMEOUT).unwrap();
        channel.outgoing.send(&bytes).unwrap();
        prop_assert!(channel.incoming.receive(None).is_err());
        drop(stream);
        let mut keys = RemoteKeys::connect(&bench.path, Caller::Host).unwrap();
        prop_assert_eq!(counts(&keys.execute(&random(&[5]))), [5]);
    }
}
