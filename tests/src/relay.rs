//! Connections that pass through the test, which can break them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What happens to the bytes of a connection.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They are passed on.
    Pass,
    /// They vanish, while both ends believe that the connection lives.
    Vanish,
    /// The first of them from the side that connected finds the connection reset.
    Reset,
}

/// One connection through a relay.
struct Passing {
    /// From the side that connected, and to the side that it wanted.
    ends: Arc<(TcpStream, TcpStream)>,
    fate: Arc<AtomicU8>,
}

/// A port whose connections lead to another one.
pub struct Relay {
    address: SocketAddr,
    passing: Arc<Mutex<Vec<Passing>>>,
}

impl Relay {
    /// A relay to `target`, for as long as the process lives.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let passing = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&passing);
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                // Nobody there: neither is anybody here.
                if let Ok(to) = TcpStream::connect(target) {
                    let one = start(from, to);
                    all.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                }
            }
        });
        Self { address, passing }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection that is there, as a proxy in between does that is shut down.
    pub fn cut(&self) {
        for one in self.take() {
            shut(&one.ends);
        }
    }

    /// Resets every connection that is there, once the side that connected says something.
    pub fn reset(&self) {
        for one in self.take() {
            one.fate.store(Fate::Reset as u8, Ordering::SeqCst);
        }
    }

    /// From now on no byte of the connections that are there arrives, in either direction, and nobody is told.
    pub fn silence(&self) {
        for one in self.take() {
            one.fate.store(Fate::Vanish as u8, Ordering::SeqCst);
        }
    }

    /// # Panics
    /// If no connection is there.
    fn take(&self) -> Vec<Passing> {
        let mut all = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!all.is_empty(), "no connection passes through the relay");
        std::mem::take(&mut *all)
    }
}

/// A cable between two emulated network cards, both of which connect to it. Ends with them.
pub struct Cable {
    address: SocketAddr,
}

impl Default for Cable {
    fn default() -> Self {
        Self::new()
    }
}

impl Cable {
    /// A cable that nothing is plugged in to.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            if let (Ok((one, _)), Ok((other, _))) = (listener.accept(), listener.accept()) {
                start(one, other);
            }
        });
        Self { address }
    }

    /// Where cards connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn start(from: TcpStream, to: TcpStream) -> Passing {
    for end in [&from, &to] {
        // What passes should not be slower than without us.
        let _ = end.set_nodelay(true);
    }
    let ends = Arc::new((from, to));
    let fate = Arc::new(AtomicU8::new(Fate::Pass as u8));
    for is_back in [false, true] {
        let (ends, fate) = (Arc::clone(&ends), Arc::clone(&fate));
        thread::spawn(move || {
            let (source, sink) = if is_back {
                (&ends.1, &ends.0)
            } else {
                (&ends.0, &ends.1)
            };
            pump(source, sink, &fate, is_back);
        });
    }
    Passing { ends, fate }
}

/// Passes bytes on until either end closes.
fn pump(mut source: &TcpStream, mut sink: &TcpStream, fate: &AtomicU8, is_back: bool) {
    let mut buffer = [0; 4096];
    loop {
        // Looked at first: a connection that closes with bytes unread is reset.
        let waits = source.peek(&mut buffer);
        let now = fate.load(Ordering::SeqCst);
        if now == Fate::Reset as u8 && !is_back && waits.is_ok_and(|n| n > 0) {
            // The other direction ends with this, and the last one closes.
            let _ = sink.shutdown(Shutdown::Both);
            return;
        }
        let read = source.read(&mut buffer);
        let passed = match read {
            Ok(n) if n > 0 && now == Fate::Pass as u8 => sink.write_all(&buffer[..n]),
            Ok(n) if n > 0 => Ok(()),
            _ if now == Fate::Reset as u8 => return,
            _ => break,
        };
        if passed.is_err() {
            break;
        }
    }
    let _ = source.shutdown(Shutdown::Both);
    let _ = sink.shutdown(Shutdown::Both);
}

fn shut(ends: &(TcpStream, TcpStream)) {
    for end in [&ends.0, &ends.1] {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}
