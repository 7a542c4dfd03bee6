//! The application over a line without connections: a UART, USB CDC, a pipe.

use core::net::SocketAddrV4;

use devp2p_embassy::FlushOnly;
use devp2p_embassy::serial::LineReader;
use embassy_time::Duration;
use embedded_io_async::{Read, Write};

use crate::fmt::Shown;
use crate::socket::{Network, Socket};
use crate::{Memory, Parameters, Status, network};

/// How long the line is quiet when an old session is over.
const SILENCE: Duration = Duration::from_millis(50);

/// [`network::run`] over the two halves of a line, on which one session follows the other; addresses and ports in `parameters`
/// mean nothing. What an old session left on the line is discarded.
pub async fn serve<R: Read<Error: Shown>, W: Write<Error: Shown>>(
    reader: R,
    writer: W,
    parameters: &mut Parameters,
    client_name: &'static str,
    memory: &'static mut Memory,
    mut entropy: impl FnMut(&mut [u8]),
) -> Status {
    let mut line = Line {
        reader: LineReader::new(reader),
        writer: FlushOnly(writer),
    };
    network::run(&mut line, parameters, client_name, memory, &mut entropy).await
}

struct Line<R, W> {
    reader: LineReader<R>,
    writer: FlushOnly<W>,
}

impl<R: Read<Error: Shown>, W: Write<Error: Shown>> Network for Line<R, W> {
    type Socket<'s>
        = &'s mut Self
    where
        Self: 's;

    fn socket(&mut self) -> &mut Self {
        self
    }
}

/// Why there is no session on the line.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum LineError<E> {
    /// It broke.
    Io(E),
    /// It ended.
    End,
}

impl<R: Read<Error: Shown>, W: Write<Error: Shown>> Socket for &mut Line<R, W> {
    type ConnectError = R::Error;
    type AcceptError = LineError<R::Error>;
    type FlushError = W::Error;
    type Reader<'a>
        = &'a mut LineReader<R>
    where
        Self: 'a;
    type Writer<'a>
        = &'a mut FlushOnly<W>
    where
        Self: 'a;

    async fn connect(&mut self, _remote: SocketAddrV4) -> Result<(), R::Error> {
        self.reader.discard(SILENCE).await.map(|_| ())
    }

    async fn accept(&mut self, _port: u16) -> Result<(), LineError<R::Error>> {
        self.reader.discard(SILENCE).await.map_err(LineError::Io)?;
        match self.reader.begun().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(LineError::End),
            Err(error) => Err(LineError::Io(error)),
        }
    }

    fn abort(&mut self) {}

    fn split(&mut self) -> (&mut LineReader<R>, &mut FlushOnly<W>) {
        (&mut self.reader, &mut self.writer)
    }

    async fn flush(&mut self) -> Result<(), W::Error> {
        self.writer.flush().await
    }
}
