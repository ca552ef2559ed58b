//! Client against server over real sockets: who gets in, what is refused, who waits for whom.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

use link::{
    Authority, Client, ClientLimits, ClientOptions, ExchangeFailed, FRAME_BYTES_MAX, Handler, Limits, LinkEvent, Reply,
    Request, RevocationList, Server, Stop, TerminalRequest, client_config, server_config,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use types::{LocalDate, MerchantId, TerminalId};

const MERCHANT: &str = "123456789012345";

/// Today by this machine's clock, so that certificates are valid in the test.
fn today() -> LocalDate {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    types::CivilTime::from_unix_ms(u64::try_from(since.as_millis()).unwrap(), 0).date
}

/// Echoes frames behind a `>`; some frames ask for something else.
#[derive(Default)]
struct Echo {
    held: Mutex<Vec<Reply>>,
    events: Mutex<Vec<LinkEvent>>,
    peers: Mutex<Vec<String>>,
}

impl Handler for Echo {
    fn request(&self, request: Request) {
        self.peers.lock().unwrap().push(format!("{}/{}", request.peer.terminal, request.peer.merchant));
        match request.frame.as_slice() {
            b"close" => request.reply.close(),
            b"hold" => self.held.lock().unwrap().push(request.reply),
            b"huge" => request.reply.respond(vec![0; FRAME_BYTES_MAX + 1]),
            frame => request.reply.respond([b">", frame].concat()),
        }
    }

    fn event(&self, event: LinkEvent) {
        self.events.lock().unwrap().push(event);
    }
}

struct Host {
    address: SocketAddr,
    authority: Authority,
    echo: Arc<Echo>,
    revoked: Arc<RwLock<RevocationList>>,
    stop: Stop,
    thread: Option<thread::JoinHandle<()>>,
}

impl Host {
    fn start(limits: Limits) -> Self {
        let authority = Authority::create("Irontill test root", today()).unwrap();
        let host = authority.issue_host(&["localhost", "127.0.0.1"], today()).unwrap();
        let tls = server_config(&host.certificate_pem, &host.key_pem, authority.certificate_pem()).unwrap();
        let (echo, revoked) = (Arc::new(Echo::default()), Arc::new(RwLock::new(RevocationList::default())));
        let (sender, receiver) = std::sync::mpsc::channel();
        let (handler, list) = (echo.clone(), revoked.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let (server, stop) = Server::bind("127.0.0.1:0", tls, limits, list).await.unwrap();
                sender.send((server.local_address().unwrap(), stop)).unwrap();
                server.serve(handler).await;
            });
        });
        let (address, stop) = receiver.recv().unwrap();
        Self { address, authority, echo, revoked, stop, thread: Some(thread) }
    }

    fn tls_of(&self, authority: &Authority, terminal: &str, day: LocalDate) -> Arc<ClientConfig> {
        let terminal = TerminalId::parse(terminal).unwrap();
        let request = TerminalRequest::create(terminal).unwrap();
        let merchant = MerchantId::parse(MERCHANT).unwrap();
        let certificate = authority.issue_terminal(&request.request_pem, terminal, merchant, day).unwrap();
        client_config(&certificate, &request.key_pem, self.authority.certificate_pem()).unwrap()
    }

    fn client_with(&self, tls: Arc<ClientConfig>, keep_connection: bool) -> Client {
        Client::new(ClientOptions {
            address: self.address.to_string(),
            server_name: "localhost".to_owned(),
            tls,
            keep_connection,
            limits: ClientLimits { connect_timeout_ms: 2_000, connect_tries: 1, ..ClientLimits::default() },
        })
    }

    fn client(&self, terminal: &str) -> Client {
        self.client_with(self.tls_of(&self.authority, terminal, today()), true)
    }

    /// A TLS connection without the client's care about frames.
    fn raw(&self, terminal: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.tls_of(&self.authority, terminal, today()), name).unwrap();
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        StreamOwned::new(connection, socket)
    }

    /// Waits for a log line that contains `text`.
    fn logged(&self, text: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if self.echo.events.lock().unwrap().iter().any(|event| event.to_string().contains(text)) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        eprintln!("{:?}", self.echo.events.lock().unwrap());
        false
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.echo.held.lock().unwrap().clear();
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn answered(client: &mut Client, body: &[u8]) -> bool {
    client.exchange(&frame(body), 5_000) == Ok(frame(&[b">", body].concat()))
}

fn failure(client: &mut Client, body: &[u8], timeout_ms: u64) -> ExchangeFailed {
    client.exchange(&frame(body), timeout_ms).unwrap_err()
}

/// Reads until the host closes; true if it closed without a byte of an answer.
fn closed_without_answer(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => rest.is_empty() && error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn frames_go_and_come_and_the_certificate_says_who_speaks() {
    let host = Host::start(Limits::default());
    let mut client = host.client("12345678");
    assert!(answered(&mut client, b"one") && answered(&mut client, &[7; 3000]));
    assert!(answered(&mut client, &[1; FRAME_BYTES_MAX - 1]));
    assert_eq!(host.echo.peers.lock().unwrap()[0], format!("12345678/{MERCHANT}"));
    let mut each_its_own = host.client_with(host.tls_of(&host.authority, "87654321", today()), false);
    assert!(answered(&mut each_its_own, b"one") && answered(&mut each_its_own, b"two"));
    client.disconnect();
    assert_eq!(*host.echo.events.lock().unwrap(), [], "nothing of this is worth a line");
}

#[test]
fn the_handshake_is_tls_13_with_the_hybrid_key_exchange() {
    let host = Host::start(Limits::default());
    let mut stream = host.raw("12345678");
    stream.write_all(&frame(b"x")).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(stream.conn.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = stream.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

#[test]
fn a_terminal_of_another_authority_or_of_the_past_gets_no_answer() {
    let host = Host::start(Limits::default());
    let foreign = Authority::create("Irontill test root", today()).unwrap();
    let mut client = host.client_with(host.tls_of(&foreign, "12345678", today()), false);
    assert!(client.exchange(&frame(b"x"), 2_000).is_err());
    assert!(host.logged("handshake"));
    let long_ago = LocalDate::new(2010, 3, 1).unwrap();
    let mut client = host.client_with(host.tls_of(&host.authority, "12345678", long_ago), false);
    assert!(client.exchange(&frame(b"x"), 2_000).is_err());
    assert_eq!(host.echo.peers.lock().unwrap().len(), 0);
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let der = rustls::pki_types::CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
    roots.add(der).unwrap();
    roots
}

#[test]
fn no_certificate_no_service() {
    let host = Host::start(Limits::default());
    let anonymous = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(&host.authority))
        .with_no_client_auth();
    let mut client = host.client_with(Arc::new(anonymous), false);
    assert!(client.exchange(&frame(b"x"), 2_000).is_err());
    assert!(host.logged("handshake"));
    assert_eq!(host.echo.peers.lock().unwrap().len(), 0);
}

#[test]
fn a_host_certificate_is_no_terminal_and_tls_12_is_no_link() {
    let host = Host::start(Limits::default());
    let server = host.authority.issue_host(&["localhost"], today()).unwrap();
    let tls = client_config(&server.certificate_pem, &server.key_pem, host.authority.certificate_pem()).unwrap();
    assert!(host.client_with(tls, false).exchange(&frame(b"x"), 2_000).is_err());
    assert!(host.logged("handshake"));
    let mut old = TcpStream::connect(host.address).unwrap();
    old.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    old.write_all(&tls_12_client_hello()).unwrap();
    let mut answer = [0; 7];
    old.read_exact(&mut answer).unwrap();
    let (record, alert) = answer.split_at(5);
    assert_eq!(record[0], ALERT);
    assert_eq!(alert, [FATAL, PROTOCOL_VERSION]);
}

/// RFC 5246 §7.2.
const ALERT: u8 = 21;
const FATAL: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;

/// A ClientHello of TLS 1.2 (RFC 5246 §7.4.1.2) with what every server of it had: ECDHE-ECDSA and ECDHE-RSA with AES-128-GCM,
/// P-256, signatures of both kinds. It does not offer version 1.3.
fn tls_12_client_hello() -> Vec<u8> {
    let extension = |number: u16, content: &[u8]| {
        [&number.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
    };
    let extensions =
        [extension(10, &[0, 2, 0, 23]), extension(11, &[1, 0]), extension(13, &[0, 4, 4, 3, 8, 4]), extension(23, &[])]
            .concat();
    let mut hello = [&[3, 3][..], &[0x5A; 32], &[0], &[0, 4, 0xC0, 0x2B, 0xC0, 0x2F], &[1, 0]].concat();
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let handshake = [&[1, 0][..], &(hello.len() as u16).to_be_bytes(), &hello].concat();
    [&[22, 3, 1][..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

#[test]
fn a_terminal_trusts_only_its_own_authority_and_the_right_name() {
    let host = Host::start(Limits::default());
    let stranger = Host::start(Limits::default());
    let mut client = stranger.client_with(host.tls_of(&host.authority, "12345678", today()), false);
    let failed = client.exchange(&frame(b"x"), 2_000).unwrap_err();
    assert!(!failed.sent_any, "nothing is said to a stranger: {failed}");
    let mut client = Client::new(ClientOptions {
        address: host.address.to_string(),
        server_name: "example.org".to_owned(),
        tls: host.tls_of(&host.authority, "12345678", today()),
        keep_connection: false,
        limits: ClientLimits { connect_tries: 1, ..ClientLimits::default() },
    });
    assert!(!client.exchange(&frame(b"x"), 2_000).unwrap_err().sent_any);
}

#[test]
fn a_revoked_certificate_is_refused_from_the_next_connection_on() {
    let host = Host::start(Limits::default());
    let tls = host.tls_of(&host.authority, "12345678", today());
    let mut client = host.client_with(tls, false);
    assert!(answered(&mut client, b"x"));
    let terminal = TerminalId::parse("12345678").unwrap();
    let request = TerminalRequest::create(terminal).unwrap();
    let merchant = MerchantId::parse(MERCHANT).unwrap();
    let pem = host.authority.issue_terminal(&request.request_pem, terminal, merchant, today()).unwrap();
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let identity = link::PeerIdentity::from_certificate(&der).unwrap();
    host.revoked.write().unwrap().revoke(&identity.serial);
    let tls = client_config(&pem, &request.key_pem, host.authority.certificate_pem()).unwrap();
    assert!(host.client_with(tls, false).exchange(&frame(b"x"), 2_000).is_err());
    assert!(host.logged("certificate of terminal 12345678 is revoked"));
    assert!(answered(&mut client, b"x"), "the other certificate still serves");
}

#[test]
fn lengths_out_of_range_close_the_connection() {
    let host = Host::start(Limits::default());
    for length in [0_u16, u16::try_from(FRAME_BYTES_MAX).unwrap() + 1, u16::MAX] {
        let mut stream = host.raw("12345678");
        stream.write_all(&length.to_be_bytes()).unwrap();
        stream.write_all(&[0x55; 100]).unwrap();
        assert!(closed_without_answer(&mut stream), "{length}");
        assert!(host.logged(&format!("terminal 12345678: closed: a frame of {length} bytes")));
    }
    assert_eq!(host.echo.peers.lock().unwrap().len(), 0);
    assert!(answered(&mut host.client("12345678"), b"still there"));
}

#[test]
fn half_a_frame_then_silence_is_cut_off() {
    let host = Host::start(Limits { frame_timeout_ms: 200, ..Limits::default() });
    for part in [&[0x01][..], &[0x01, 0x16], &[0x01, 0x16, 0x60, 0x00]] {
        let started = Instant::now();
        let mut stream = host.raw("12345678");
        stream.write_all(part).unwrap();
        assert!(closed_without_answer(&mut stream));
        assert!(started.elapsed() < Duration::from_secs(4));
    }
    assert!(host.logged("half a frame, then silence"));
    let mut stream = host.raw("12345678");
    stream.write_all(&[0x00, 0x05, 1, 2]).unwrap();
    drop(stream);
    assert!(host.logged("inside a frame"));
}

#[test]
fn silence_ends_an_idle_connection_and_a_stalled_handshake() {
    let host = Host::start(Limits { idle_timeout_ms: 150, handshake_timeout_ms: 150, ..Limits::default() });
    assert!(closed_without_answer(&mut host.raw("12345678")));
    let mut mute = TcpStream::connect(host.address).unwrap();
    mute.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(mute.read(&mut [0; 8]).unwrap(), 0);
    assert!(host.logged("handshake: too slow"));
    let mut garbage = TcpStream::connect(host.address).unwrap();
    garbage.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(host.logged("handshake: received corrupt message"));
}

#[test]
fn slow_peers_slow_nobody_else() {
    let host = Host::start(Limits::default());
    let mut stalled: Vec<_> = (0..20).map(|number| host.raw(&format!("SLOW{number:04}"))).collect();
    for stream in &mut stalled {
        stream.write_all(&[0x00]).unwrap();
    }
    let mut waiting: Vec<_> = (0..20).map(|number| host.raw(&format!("HOLD{number:04}"))).collect();
    for stream in &mut waiting {
        stream.write_all(&frame(b"hold")).unwrap();
    }
    let mut client = host.client("12345678");
    let started = Instant::now();
    for _ in 0..50 {
        assert!(answered(&mut client, b"quick"));
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn connections_are_counted_in_all_and_for_each_terminal() {
    let host = Host::start(Limits { connections_max: 3, connections_per_terminal_max: 2, ..Limits::default() });
    let (mut first, mut second, mut third) =
        (host.client("12345678"), host.client("12345678"), host.client("12345678"));
    assert!(answered(&mut first, b"x") && answered(&mut second, b"x"));
    assert!(third.exchange(&frame(b"x"), 2_000).is_err());
    assert!(host.logged("terminal has 2 connections already"));
    let mut other = host.client("87654321");
    assert!(answered(&mut other, b"x"));
    assert!(!failure(&mut host.client("ABCDEFGH"), b"x", 2_000).sent_any);
    assert!(host.logged("3 connections are open already"));
    first.disconnect();
    let end = Instant::now() + Duration::from_secs(5);
    while !answered(&mut host.client("ABCDEFGH"), b"x") {
        assert!(Instant::now() < end, "a closed connection gives its place back");
    }
}

#[test]
fn a_client_knows_whether_a_byte_may_have_left() {
    let host = Host::start(Limits::default());
    let mut client = host.client("12345678");
    let failed = failure(&mut client, b"hold", 300);
    assert_eq!((failed.sent_any, failed.why.as_str()), (true, "no answer in time"));
    let failed = failure(&mut client, b"close", 2_000);
    assert_eq!((failed.sent_any, failed.why.as_str()), (true, "the host closed the connection"));
    assert!(failure(&mut client, b"huge", 2_000).sent_any);
    assert!(host.logged("an answer too long for a frame"));
    for bad in [&b""[..], b"\0", b"\0\0", b"\0\x05abc"] {
        assert!(!client.exchange(bad, 2_000).unwrap_err().sent_any, "{bad:?}");
    }
    let nobody = TcpStream::connect("127.0.0.1:1").is_err();
    assert!(nobody);
    let mut client = Client::new(ClientOptions {
        address: "127.0.0.1:1".to_owned(),
        server_name: "localhost".to_owned(),
        tls: host.tls_of(&host.authority, "12345678", today()),
        keep_connection: true,
        limits: ClientLimits { connect_tries: 2, ..ClientLimits::default() },
    });
    assert!(!failure(&mut client, b"x", 2_000).sent_any);
}

#[test]
fn a_kept_connection_that_the_host_closed_is_replaced_before_anything_is_sent() {
    let host = Host::start(Limits { idle_timeout_ms: 100, ..Limits::default() });
    let mut client = host.client("12345678");
    for _ in 0..3 {
        assert!(answered(&mut client, b"x"));
        thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn stopping_lets_an_open_exchange_end_and_takes_no_new_ones() {
    let mut host = Host::start(Limits::default());
    let mut busy = host.client("12345678");
    let echo = host.echo.clone();
    let exchange = thread::spawn(move || busy.exchange(&frame(b"hold"), 5_000));
    while echo.held.lock().unwrap().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    host.stop.stop();
    thread::sleep(Duration::from_millis(100));
    assert!(host.client("87654321").exchange(&frame(b"x"), 1_000).is_err());
    echo.held.lock().unwrap().pop().unwrap().respond(b"late but there".to_vec());
    assert_eq!(exchange.join().unwrap(), Ok(frame(b"late but there")));
    host.thread.take().unwrap().join().unwrap();
    host.thread = Some(thread::spawn(|| {}));
}

#[test]
fn an_authority_signs_only_what_proves_its_key() {
    let authority = Authority::create("root", today()).unwrap();
    let (terminal, merchant) = (TerminalId::parse("12345678").unwrap(), MerchantId::parse(MERCHANT).unwrap());
    assert!(authority.issue_terminal("nonsense", terminal, merchant, today()).is_err());
    let request = TerminalRequest::create(terminal).unwrap();
    let body: Vec<char> = request.request_pem.chars().collect();
    let middle = body.len() / 2;
    let swapped = if body[middle] == 'A' { 'B' } else { 'A' };
    let altered: String =
        body.iter().enumerate().map(|(at, letter)| if at == middle { swapped } else { *letter }).collect();
    assert!(authority.issue_terminal(&altered, terminal, merchant, today()).is_err());
    let reloaded = Authority::load(authority.certificate_pem(), authority.key_pem()).unwrap();
    let pem = reloaded.issue_terminal(&request.request_pem, terminal, merchant, today()).unwrap();
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let identity = link::PeerIdentity::from_certificate(&der).unwrap();
    assert_eq!((identity.terminal, identity.merchant, identity.serial.len()), (terminal, merchant, 16));
}
