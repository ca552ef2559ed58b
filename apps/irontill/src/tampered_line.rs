//! A line between a terminal and a host that is cut, falls silent, is late or says things twice at a byte that one names.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes carried at once.
const BUFFER_BYTES: usize = 16 * 1024;
/// How often it is looked whether something late has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Towards whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the terminal.
    ToHost,
    /// To the terminal.
    ToTerminal,
}

/// What happens behind the byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trick {
    /// The connection ends, both ways.
    Cut,
    /// Nothing comes any more, and nobody is told.
    Silence,
    /// What follows arrives, and arrives again.
    Twice,
    /// What follows arrives when nobody waits for it any more.
    Late,
    /// Nothing: the bytes of the next trick are counted from here.
    Mark,
}

impl Trick {
    /// Those that do harm.
    pub const ALL: [Trick; 4] = [Trick::Cut, Trick::Silence, Trick::Twice, Trick::Late];
}

/// One trick. Bytes are counted from when the line was armed, or from the trick before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Towards whom.
    pub way: Way,
    /// Bytes that still arrive as they should.
    pub behind: u64,
    /// What happens then.
    pub trick: Trick,
}

#[derive(Default)]
struct State {
    plans: VecDeque<Plan>,
    to_host: u64,
    to_terminal: u64,
    played: usize,
}

impl State {
    fn bytes(&mut self, way: Way) -> &mut u64 {
        match way {
            Way::ToHost => &mut self.to_host,
            Way::ToTerminal => &mut self.to_terminal,
        }
    }

    /// Counts bytes that came; gives the trick that strikes among them and how many of them arrive before it.
    fn count(&mut self, way: Way, count: usize) -> Option<(Trick, usize)> {
        let before = *self.bytes(way);
        let after = before + count as u64;
        *self.bytes(way) = after;
        let plan = self.plans.front().filter(|plan| plan.way == way && plan.behind < after).copied()?;
        self.plans.pop_front();
        (self.to_host, self.to_terminal, self.played) = (0, 0, self.played + 1);
        let kept = usize::try_from(plan.behind.saturating_sub(before)).unwrap_or(count);
        Some((plan.trick, kept.min(count)))
    }
}

/// The line. It lives as long as the process.
#[derive(Clone)]
pub struct TamperedLine {
    address: SocketAddr,
    /// How late what is late arrives.
    late_by: Duration,
    state: Arc<Mutex<State>>,
    /// Messages that are late and have not arrived.
    under_way: Arc<AtomicUsize>,
}

impl TamperedLine {
    /// A line to a host; what is late arrives so late.
    pub fn open(host: &str, late_by: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let (line, host) = (Self { address, late_by, state, under_way: Arc::default() }, host.to_owned());
        let carried = line.clone();
        std::thread::spawn(move || {
            for terminal in listener.incoming().flatten() {
                // A host that is not there: the terminal's connection ends at once.
                if let Ok(host) = TcpStream::connect(&host) {
                    carried.carry(&terminal, &host);
                }
            }
        });
        Ok(line)
    }

    /// Where terminals connect to.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was counted and planned, and plans these tricks, one after another.
    pub fn arm(&self, plans: &[Plan]) {
        *self.state() = State { plans: plans.iter().copied().collect(), ..State::default() };
    }

    /// Bytes since it was armed or since the last trick: to the host, to the terminal.
    pub fn carried(&self) -> (u64, u64) {
        let state = self.state();
        (state.to_host, state.to_terminal)
    }

    /// Tricks since it was armed.
    pub fn played(&self) -> usize {
        self.state().played
    }

    /// Waits until nothing is under way that is late.
    pub fn wait_for_late_ones(&self) {
        while self.under_way.load(Ordering::Acquire) > 0 {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn carry(&self, terminal: &TcpStream, host: &TcpStream) {
        for (way, from, to) in [(Way::ToHost, terminal, host), (Way::ToTerminal, host, terminal)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            let line = self.clone();
            std::thread::spawn(move || {
                // Whatever ends one way ends the other.
                let _ = line.pump(way, &from, &to);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }

    fn pump(&self, way: Way, mut from: &TcpStream, mut to: &TcpStream) -> std::io::Result<()> {
        to.set_nodelay(true)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut silent = false;
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            if silent {
                continue;
            }
            let struck = self.state().count(way, count);
            match struck {
                None | Some((Trick::Mark, _)) => to.write_all(&buffer[..count])?,
                Some((Trick::Cut, kept)) => return to.write_all(&buffer[..kept]),
                Some((Trick::Silence, kept)) => {
                    to.write_all(&buffer[..kept])?;
                    silent = true;
                }
                Some((Trick::Late, kept)) => {
                    to.write_all(&buffer[..kept])?;
                    self.under_way.fetch_add(1, Ordering::AcqRel);
                    std::thread::sleep(self.late_by);
                    let arrived = to.write_all(&buffer[kept..count]);
                    self.under_way.fetch_sub(1, Ordering::AcqRel);
                    arrived?;
                }
                Some((Trick::Twice, kept)) => {
                    to.write_all(&buffer[..count])?;
                    to.write_all(&buffer[kept..count])?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that answers each byte with the byte after it.
    fn successor() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&[byte[0] + 1]).is_ok() {}
            }
        });
        address
    }

    fn say(line: &TamperedLine, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(line.address()).unwrap();
        stream.write_all(bytes).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    #[test]
    fn bytes_arrive_up_to_the_one_that_was_named() {
        let line = TamperedLine::open(&successor(), Duration::from_millis(30)).unwrap();
        line.arm(&[Plan { way: Way::ToHost, behind: 2, trick: Trick::Cut }]);
        assert!(say(&line, &[1, 2, 3]).len() <= 2);
        assert_eq!(line.played(), 1);
        line.arm(&[Plan { way: Way::ToHost, behind: 1, trick: Trick::Twice }]);
        let mut stream = TcpStream::connect(line.address()).unwrap();
        stream.write_all(&[1, 2]).unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [2, 3, 3]);
        // The host serves one connection after another.
        drop(stream);
        line.arm(&[Plan { way: Way::ToHost, behind: 1, trick: Trick::Late }]);
        let begun = std::time::Instant::now();
        let mut stream = TcpStream::connect(line.address()).unwrap();
        stream.write_all(&[4, 5]).unwrap();
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [5, 6]);
        line.wait_for_late_ones();
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }
}
