//! A virtual card behind a real PC/SC driver: the client side of vsmartcard's vpcd.
//!
//! The driver listens, the card connects. Every message is a 2-byte big-endian length and so many bytes; a message of
//! one byte is a control (0 power off, 1 power on, 2 reset, 4 get ATR; only the last is answered), any other an APDU.

use card::Card;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use zeroize::Zeroize as _;

/// Port of the driver's first slot.
pub const DEFAULT_PORT: u16 = 35963;

const CONTROL_POWER_OFF: u8 = 0;
const CONTROL_POWER_ON: u8 = 1;
const CONTROL_RESET: u8 = 2;
const CONTROL_GET_ATR: u8 = 4;

const LENGTH_BYTES: usize = 2;
/// How long to wait for the driver before trying again.
const RECONNECT_PAUSE_MS: u64 = 500;
/// How often a waiting server looks whether it is to stop.
const STOP_POLL_MS: u64 = 100;
const CONNECT_TIMEOUT_MS: u64 = 2_000;
const WRITE_TIMEOUT_MS: u64 = 2_000;

/// Tells a server from another thread or a signal handler to stop.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// A signal that was not given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. The server returns within a fraction of a second.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was given.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a server reports while it serves. Never card data.
#[derive(Debug)]
pub enum ServeEvent {
    /// The driver accepted the card: it is in the reader now.
    Connected,
    /// The connection ended or could not be made; the server tries again.
    Disconnected(io::Error),
    /// The driver took the power away: a good moment to keep the card's state.
    PoweredOff,
}

/// Serves a card to the driver at `address` until `stop` is given, connecting again whenever the driver goes away.
/// Gives the card back with what it has in memory.
///
/// `report` hears of every event together with the card as it is then.
pub fn serve(mut card: Card, address: &str, stop: &StopSignal, mut report: impl FnMut(&ServeEvent, &Card)) -> Card {
    while !stop.is_stopped() {
        let ended = connect(address).and_then(|stream| {
            report(&ServeEvent::Connected, &card);
            serve_connection(&mut card, stream, stop, &mut report)
        });
        card.reset();
        if let Err(error) = ended {
            report(&ServeEvent::Disconnected(error), &card);
            pause(stop);
        }
    }
    card
}

fn pause(stop: &StopSignal) {
    for _ in 0..RECONNECT_PAUSE_MS / STOP_POLL_MS {
        if !stop.is_stopped() {
            thread::sleep(Duration::from_millis(STOP_POLL_MS));
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::AddrNotAvailable, "the address names no host");
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, Duration::from_millis(CONNECT_TIMEOUT_MS)) {
            Ok(stream) => return prepared(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(STOP_POLL_MS)))?;
    stream.set_write_timeout(Some(Duration::from_millis(WRITE_TIMEOUT_MS)))?;
    Ok(stream)
}

/// One connection until it ends (an error) or the signal comes.
fn serve_connection(
    card: &mut Card,
    mut stream: TcpStream,
    stop: &StopSignal,
    report: &mut impl FnMut(&ServeEvent, &Card),
) -> io::Result<()> {
    let mut message = Vec::new();
    while read_message(&mut stream, stop, &mut message)? {
        match message[..] {
            [] => {}
            [CONTROL_POWER_OFF] => {
                card.reset();
                report(&ServeEvent::PoweredOff, card);
            }
            [CONTROL_POWER_ON | CONTROL_RESET] => {
                card.reset();
            }
            [CONTROL_GET_ATR] => write_message(&mut stream, &card.reset())?,
            [_] => {}
            _ => write_message(&mut stream, &card.apdu(&message))?,
        }
        message.zeroize();
    }
    Ok(())
}

/// The next message, or `false` once the signal is given.
fn read_message(stream: &mut TcpStream, stop: &StopSignal, message: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; LENGTH_BYTES];
    if !read_exactly(stream, stop, &mut length)? {
        return Ok(false);
    }
    message.clear();
    message.resize(usize::from(u16::from_be_bytes(length)), 0);
    read_exactly(stream, stop, message)
}

/// Fills `buffer`, waking up now and then to see whether to stop.
fn read_exactly(stream: &mut TcpStream, stop: &StopSignal, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        if stop.is_stopped() {
            return Ok(false);
        }
        acknowledge_at_once(stream);
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The driver sends length and body apart and waits for the first one's acknowledgement: a delayed one costs 40 ms an
/// APDU. The kernel forgets the option, so it is set before every read; where it cannot be set, it is only slower.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(stream: &TcpStream) {
    use std::os::linux::net::TcpStreamExt as _;
    let _ = stream.set_quickack(true);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_stream: &TcpStream) {}

fn write_message(stream: &mut TcpStream, payload: &[u8]) -> io::Result<()> {
    let length = u16::try_from(payload.len()).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
    // One write, so that length and body travel in one segment.
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    let written = stream.write_all(&bytes);
    bytes.zeroize();
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use card::profile;
    use std::net::TcpListener;
    use std::sync::mpsc;

    const SELECT_DIRECTORY: &[u8] = b"\x00\xA4\x04\x00\x0E1PAY.SYS.DDF01\x00";

    fn send(driver: &mut TcpStream, payload: &[u8]) {
        driver.write_all(&u16::try_from(payload.len()).unwrap().to_be_bytes()).unwrap();
        driver.write_all(payload).unwrap();
    }

    fn receive(driver: &mut TcpStream) -> Vec<u8> {
        let mut length = [0; 2];
        driver.read_exact(&mut length).unwrap();
        let mut payload = vec![0; usize::from(u16::from_be_bytes(length))];
        driver.read_exact(&mut payload).unwrap();
        payload
    }

    #[test]
    fn a_driver_is_served_again_after_it_went_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = StopSignal::new();
        let (heard, events) = mpsc::channel();
        let server = thread::spawn({
            let stop = stop.clone();
            let card = profile("unionpay-debit").unwrap().card();
            move || {
                serve(card, &address, &stop, |event, _| {
                    let _ = heard.send(matches!(event, ServeEvent::Connected));
                })
            }
        });
        for _ in 0..2 {
            let (mut driver, _) = listener.accept().unwrap();
            send(&mut driver, &[CONTROL_POWER_ON]);
            send(&mut driver, &[CONTROL_GET_ATR]);
            assert_eq!(receive(&mut driver)[0], 0x3B);
            send(&mut driver, SELECT_DIRECTORY);
            assert!(receive(&mut driver).ends_with(&[0x90, 0x00]));
            send(&mut driver, &[0x77]);
            send(&mut driver, &[0x00, 0xA4, 0x04, 0x00, 0x00]);
            assert_eq!(receive(&mut driver), [0x6A, 0x82]);
            send(&mut driver, &[CONTROL_POWER_OFF]);
        }
        assert!(events.recv().unwrap(), "connected first");
        stop.stop();
        assert_eq!(server.join().unwrap().state().applications.len(), 1);
    }

    #[test]
    fn a_server_without_a_driver_stops_when_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let stop = StopSignal::new();
        let mut refusals = 0;
        let card = profile("unionpay-sda").unwrap().card();
        serve(card, &address, &stop.clone(), |event, _| {
            refusals += usize::from(matches!(event, ServeEvent::Disconnected(_)));
            stop.stop();
        });
        assert_eq!(refusals, 1);
    }
}
