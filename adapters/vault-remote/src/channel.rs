//! Secrecy on the socket: what a tap, a trace or a relay between the two ends captures tells it nothing.
//!
//! Each connection begins with one frame from either end, an X25519 public key made for this connection alone. HKDF-SHA-256
//! over the shared secret, with both public keys as context, gives one AES-256-GCM key for each direction; every later
//! frame is sealed with its number as the nonce, so a frame that is dropped, repeated or moved does not open. *Who* is at
//! the other end is not said here: file permissions and peer credentials say that.

use crate::frame::{FrameError, read_frame, write_frame};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand::SystemRandom;
use keys::SOCKET_FRAME_BYTES_MAX;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

const SALT: &[u8] = b"irontill key socket 1";
const TO_SERVER: &[u8] = b"to server";
const TO_CLIENT: &[u8] = b"to client";

/// The key of one direction and the number of its next frame.
struct Direction {
    key: LessSafeKey,
    next: u64,
}

impl Direction {
    fn derive(secret: &Prk, name: &[u8], client: &[u8], server: &[u8]) -> Result<Self, Unspecified> {
        let context = [name, client, server];
        let key = UnboundKey::from(secret.expand(&context, &AES_256_GCM)?);
        Ok(Self { key: LessSafeKey::new(key), next: 0 })
    }

    /// The nonce of the next frame. 2⁶⁴ frames do not happen.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The sending half of a connection.
pub struct Outgoing {
    stream: UnixStream,
    direction: Direction,
}

/// The receiving half of a connection.
pub struct Incoming {
    stream: UnixStream,
    direction: Direction,
}

/// A connection whose frames nobody between the two ends can read.
#[derive(Debug)]
pub struct Channel {
    /// What the other end sends.
    pub incoming: Incoming,
    /// What this end sends.
    pub outgoing: Outgoing,
}

impl Outgoing {
    /// Sends one frame.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is then of no more use.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        if payload.is_empty() || payload.len() > SOCKET_FRAME_BYTES_MAX {
            return Err(FrameError::Length(payload.len()));
        }
        let mut sealed = Vec::with_capacity(payload.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(payload);
        let nonce = self.direction.nonce();
        let tag = self.direction.key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut sealed);
        sealed.extend_from_slice(tag.map_err(|_| FrameError::NotOurs)?.as_ref());
        write_frame(&mut self.stream, &sealed)
    }

    /// Ends the connection; both halves then see it closed.
    pub fn close(&self) {
        // A connection that is gone already is as closed as it can be.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl Incoming {
    /// Waits for the next frame, for ever or as long as given; once it has begun it must come within
    /// [`crate::FRAME_TIMEOUT`].
    ///
    /// # Errors
    /// [`FrameError`]; the connection is then of no more use.
    pub fn receive(&mut self, wait: Option<Duration>) -> Result<Zeroizing<Vec<u8>>, FrameError> {
        let mut frame = read_frame(&mut self.stream, wait)?;
        let nonce = self.direction.nonce();
        let opened = self.direction.key.open_in_place(nonce, Aad::empty(), &mut frame);
        let length = opened.map_err(|_| FrameError::NotOurs)?.len();
        frame.truncate(length);
        Ok(frame)
    }
}

impl Channel {
    /// Connects to the socket at `path`. `patience` is how long the other end may keep this one waiting.
    ///
    /// # Errors
    /// If nobody answers there as a key server does.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, FrameError> {
        Self::open(UnixStream::connect(path)?, patience, End::Client)
    }

    /// Takes a connection in.
    pub(crate) fn accept(stream: UnixStream, patience: Duration) -> Result<Self, FrameError> {
        Self::open(stream, patience, End::Server)
    }

    fn open(mut stream: UnixStream, patience: Duration, end: End) -> Result<Self, FrameError> {
        stream.set_write_timeout(Some(patience))?;
        let mine = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| FrameError::NotOurs)?;
        let my_public = mine.compute_public_key().map_err(|_| FrameError::NotOurs)?;
        // The client speaks first, and who does not speak properly gets no word back.
        if end == End::Client {
            write_frame(&mut stream, my_public.as_ref())?;
        }
        let theirs = read_frame(&mut stream, Some(patience))?;
        let peer = UnparsedPublicKey::new(&X25519, &theirs[..]);
        let extract = |shared: &[u8]| Ok(Salt::new(HKDF_SHA256, SALT).extract(shared));
        let secret = agree_ephemeral(mine, peer, Unspecified, extract).map_err(|_| FrameError::NotOurs)?;
        if end == End::Server {
            write_frame(&mut stream, my_public.as_ref())?;
        }
        let (client, server) =
            if end == End::Client { (my_public.as_ref(), &theirs[..]) } else { (&theirs[..], my_public.as_ref()) };
        let direction =
            |name| Direction::derive(&secret, name, client, server).map_err(|Unspecified| FrameError::NotOurs);
        let (to_server, to_client) = (direction(TO_SERVER)?, direction(TO_CLIENT)?);
        let (sends, receives) = if end == End::Client { (to_server, to_client) } else { (to_client, to_server) };
        Ok(Self {
            incoming: Incoming { stream: stream.try_clone()?, direction: receives },
            outgoing: Outgoing { stream, direction: sends },
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

macro_rules! nothing_to_show {
    ($($half:ident),*) => { $(
        impl core::fmt::Debug for $half {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                formatter.debug_struct(stringify!($half)).field("frames", &self.direction.next).finish_non_exhaustive()
            }
        }
    )* };
}
nothing_to_show!(Outgoing, Incoming);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;
    use crate::FRAME_TIMEOUT;
    use std::io::Read;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || Channel::accept(other, FRAME_TIMEOUT).unwrap());
        let client = Channel::open(one, FRAME_TIMEOUT, End::Client).unwrap();
        (client, serving.join().unwrap())
    }

    #[test]
    fn both_ends_understand_each_other() {
        let (mut client, mut server) = pair();
        for number in 0..300_usize {
            let payload = vec![number as u8; 1 + number * 7];
            client.outgoing.send(&payload).unwrap();
            assert_eq!(server.incoming.receive(None).unwrap()[..], payload[..]);
            server.outgoing.send(&payload[..1]).unwrap();
            assert_eq!(client.incoming.receive(None).unwrap()[..], payload[..1]);
        }
        client.outgoing.close();
        assert!(matches!(server.incoming.receive(None), Err(FrameError::Closed)));
    }

    #[test]
    fn what_is_captured_shows_nothing_and_a_second_time_differs() {
        let secret = b"6225768712345678901";
        let capture = || {
            let (mut client, mut server) = pair();
            client.outgoing.send(&secret[..]).unwrap();
            let mut raw = [0; 4 + 19 + 16];
            server.incoming.stream.read_exact(&mut raw).unwrap();
            raw
        };
        let (first, second) = (capture(), capture());
        assert!(!first.windows(6).any(|window| window == &secret[..6]));
        assert_ne!(first[4..], second[4..]);
    }

    #[test]
    fn a_frame_altered_repeated_dropped_or_turned_round_does_not_open() {
        let raw_frame = |channel: &mut Channel| read_frame(&mut channel.incoming.stream, None).unwrap();
        let inject = |channel: &mut Channel, frame: &[u8]| write_frame(&mut channel.outgoing.stream, frame).unwrap();
        let refused = |channel: &mut Channel| matches!(channel.incoming.receive(None), Err(FrameError::NotOurs));

        let (mut client, mut server) = pair();
        client.outgoing.send(b"one").unwrap();
        let mut altered = raw_frame(&mut server);
        altered[0] ^= 1;
        inject(&mut client, &altered);
        assert!(refused(&mut server), "altered");

        let (mut client, mut server) = pair();
        client.outgoing.send(b"one").unwrap();
        let frame = raw_frame(&mut server);
        inject(&mut client, &frame);
        inject(&mut client, &frame);
        assert_eq!(server.incoming.receive(None).unwrap()[..], b"one"[..]);
        assert!(refused(&mut server), "repeated");

        let (mut client, mut server) = pair();
        client.outgoing.send(b"one").unwrap();
        client.outgoing.send(b"two").unwrap();
        raw_frame(&mut server);
        assert!(refused(&mut server), "dropped");

        let (mut client, mut server) = pair();
        client.outgoing.send(b"one").unwrap();
        let frame = raw_frame(&mut server);
        inject(&mut server, &frame);
        assert!(refused(&mut client), "turned round");
    }

    #[test]
    fn a_public_key_that_is_none_is_refused() {
        for hello in [&[0_u8; 32][..], &[1; 31], b"x", &[7; 33]] {
            let (mut one, other) = UnixStream::pair().unwrap();
            write_frame(&mut one, hello).unwrap();
            assert!(matches!(Channel::accept(other, FRAME_TIMEOUT), Err(FrameError::NotOurs)), "{hello:?}");
        }
    }
}
