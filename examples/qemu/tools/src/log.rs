//! `board-log IMAGE`: turns the `defmt` frames on its standard input into text, line by line as they come.

use std::error::Error;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::{env, fs};

use defmt_decoder::{DecodeError, Table};

fn decode(image: &str) -> Result<(), Box<dyn Error>> {
    let table = Table::parse(&fs::read(image)?)?.ok_or("the image has no log in it")?;
    let mut decoder = table.new_stream_decoder();
    let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
    let mut buffer = [0; 4096];
    loop {
        let n = input.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        decoder.received(&buffer[..n]);
        loop {
            match decoder.decode() {
                Ok(frame) => {
                    let time = frame.display_timestamp();
                    let time = time.map_or(String::new(), |time| format!("{time} "));
                    let level = frame.level().map_or("", |level| level.as_str());
                    writeln!(out, "{time}{level:5} {}", frame.display_message())?;
                }
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => writeln!(out, "(a damaged line of the log)")?,
            }
        }
        out.flush()?;
    }
}

fn main() -> ExitCode {
    let Some(image) = env::args().nth(1) else {
        eprintln!("usage: board-log IMAGE <FRAMES");
        return ExitCode::from(2);
    };
    match decode(&image) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{image}: {error}");
            ExitCode::FAILURE
        }
    }
}
