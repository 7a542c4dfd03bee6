//! Bare TCP between two blocking processes, without any protocol: what a round trip and a copy cost on this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::console::{self, Answer};
use crate::jobs::percentiles;

/// What a connection is for, said by its first byte.
const ECHO: u8 = 1;
const COPY: u8 = 2;

/// The process: until its input ends.
pub(crate) fn run() -> Answer {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    thread::spawn(move || {
        // One at a time, since only one is measured at a time.
        for stream in listener.incoming().flatten() {
            let _ = serve(stream);
        }
    });
    console::ready(json!({"address": address.to_string(), "pid": std::process::id()}));
    console::run(|name, command| {
        let number = |name: &str| command[name].as_u64().unwrap_or_default();
        let address = command["address"].as_str().unwrap_or_default();
        match name {
            "echo" => echo(address, number("size") as usize, number("count")),
            "copy" => copy(address, number("size") as usize, number("bytes")),
            _ => Err(format!("there is no command {name:?}")),
        }
    })
}

fn serve(mut stream: TcpStream) -> Result<(), String> {
    stream.set_nodelay(true).map_err(text)?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).map_err(text)?;
    let [kind, size @ ..] = head;
    let mut bytes = vec![0; u64::from_be_bytes(size) as usize];
    match kind {
        ECHO => {
            while stream.read_exact(&mut bytes).is_ok() {
                stream.write_all(&bytes).map_err(text)?;
            }
        }
        _ => {
            let mut total = 0u64;
            loop {
                match stream.read(&mut bytes).map_err(text)? {
                    0 => break,
                    n => total += n as u64,
                }
            }
            stream.write_all(&total.to_be_bytes()).map_err(text)?;
        }
    }
    Ok(())
}

fn connect(address: &str, kind: u8, size: usize) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(address).map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    let mut head = vec![kind];
    head.extend((size as u64).to_be_bytes());
    stream.write_all(&head).map_err(text)?;
    Ok(stream)
}

/// Round trips of `size` bytes, one at a time.
fn echo(address: &str, size: usize, count: u64) -> Answer {
    let mut stream = connect(address, ECHO, size)?;
    let mut bytes = vec![0x5a; size];
    let mut times = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        stream.write_all(&bytes).map_err(text)?;
        stream.read_exact(&mut bytes).map_err(text)?;
        times.push(started.elapsed());
    }
    percentiles(times)
}

/// One way, in writes and reads of `size` bytes, until the other process has taken all.
fn copy(address: &str, size: usize, bytes: u64) -> Answer {
    let mut stream = connect(address, COPY, size)?;
    let chunk = vec![0x5a; size];
    let started = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let n = left.min(size as u64);
        stream.write_all(&chunk[..n as usize]).map_err(text)?;
        left -= n;
    }
    stream.shutdown(std::net::Shutdown::Write).map_err(text)?;
    let mut taken = [0; 8];
    stream.read_exact(&mut taken).map_err(text)?;
    if u64::from_be_bytes(taken) != bytes {
        return Err(format!(
            "{} of {bytes} bytes arrived",
            u64::from_be_bytes(taken)
        ));
    }
    let rate = bytes as f64 / started.elapsed().as_secs_f64();
    Ok(json!({"bytes_per_second": rate}))
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
