//! One blocking semantics: what subprotocols see, told once and played by every adapter.
//!
//! A [`Scenario`] is two [`Part`]s. Each of a part's subprotocols plays [`Step`]s and notes what it [`Seen`]s; an adapter's
//! [`Stage`] brings two parts together and returns the notes and how each session ended.

use devp2p_core::capability::{Overflow, Protocol};
use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};

use crate::fixture;
use crate::random::Random;

/// The largest payload that the scenarios' protocols accept, in bytes.
pub const LIMIT: u32 = 1000;
/// Bytes of inbox of the scenarios' protocols.
pub const INBOX: usize = 2048;

/// What a subprotocol does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Writes a message with this code and so many bytes.
    Write(u32, usize),
    /// Writes it if that can be done at once.
    TryWrite(u32, usize),
    /// Reads one message.
    Read,
    /// Reads one message if one waits.
    TryRead,
    /// Reads one message into a buffer of so many bytes.
    ReadInto(usize),
    /// Reads messages to the end of the session; notes their number and the end.
    ReadToEnd,
    /// Answers each message by one with code 1, to the end of the session; notes their number and the end.
    Echo,
    /// Waits for the wire.
    Flush,
    /// Ends the session by a local call.
    Disconnect(DisconnectReason),
    /// Waits until the session is closed.
    Closed,
}

/// What a subprotocol saw of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The remote does not share the protocol: no step was played.
    NotShared,
    /// What a write answered.
    Wrote(Result<(), WriteError>),
    /// A message with this code, of so many bytes, and those that were expected.
    Message(u32, usize),
    /// A message with this code, of so many bytes, that was too large.
    Oversize(u32, u32),
    /// None waited.
    Nothing,
    /// So many messages were read or answered.
    Count(usize),
    /// The session is closed.
    Closed(CloseReason),
    /// Everything is on the wire.
    Flushed,
}

/// How a subprotocol ends after its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// Its work is done.
    Return,
    /// It failed.
    Fail(DisconnectReason),
}

/// One subprotocol of a part.
#[derive(Debug, Clone)]
pub struct Role {
    /// The protocol's name; its version is 1.
    pub name: &'static str,
    /// How many codes it has.
    pub length: u32,
    /// What it does.
    pub steps: Vec<Step>,
    /// How it ends.
    pub finish: Finish,
    /// What it has to see.
    pub seen: Vec<Seen>,
}

impl Role {
    /// With two codes, returning in the end.
    pub fn new(name: &'static str, steps: &[Step], seen: &[Seen]) -> Self {
        Self {
            name,
            length: 2,
            steps: steps.to_vec(),
            finish: Finish::Return,
            seen: seen.to_vec(),
        }
    }

    /// Failing in the end.
    #[must_use]
    pub fn failing(mut self, reason: DisconnectReason) -> Self {
        self.finish = Finish::Fail(reason);
        self
    }

    /// Its protocol, as it is to be registered.
    pub fn protocol(&self) -> Protocol {
        let mut protocol = fixture::protocol(self.name, self.length, INBOX);
        protocol.message_limit = LIMIT;
        protocol.overflow = Overflow::HoldBack;
        protocol
    }
}

/// One side of a session.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its subprotocols, at most two.
    pub roles: Vec<Role>,
    /// How its session has to end.
    pub end: CloseReason,
}

/// What two sides do, and what they see.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    /// Who dials, and who is dialled.
    pub parts: [Part; 2],
}

/// What one side did: how its session ended, and what each subprotocol saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// How its session ended.
    pub end: CloseReason,
    /// What each subprotocol saw.
    pub seen: Vec<Vec<Seen>>,
}

/// An adapter that can play scenarios.
pub trait Stage {
    /// Plays a scenario.
    fn play(&self, scenario: &Scenario) -> [Played; 2];
}

/// Why a side's read gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMessage {
    /// The session is closed.
    Closed(CloseReason),
    /// The message was too large.
    Oversize(u32, u32),
}

/// An adapter's side of a subprotocol.
#[expect(async_fn_in_trait, reason = "the caller polls it where it is")]
pub trait Side {
    /// Reads a message into `buffer`: its code and length.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<(u32, usize), NoMessage>;
    /// Reads one if it waits.
    fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<(u32, usize)>, NoMessage>;
    /// Writes a message.
    async fn write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError>;
    /// Writes one if that can be done at once.
    fn try_write(&mut self, code: u32, payload: &[u8]) -> Result<(), WriteError>;
    /// Waits for the wire.
    async fn flush(&mut self) -> Result<(), CloseReason>;
    /// Ends the session by a local call.
    fn disconnect(&self, reason: DisconnectReason);
    /// Waits until the session is closed.
    async fn closed(&self) -> CloseReason;
}

/// The payload of every message of this length.
pub fn payload(length: usize) -> Vec<u8> {
    Random::new(length as u64).compressible(length)
}

/// Plays steps; what was seen.
pub async fn play<S: Side>(side: &mut S, steps: &[Step]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut buffer = vec![0; LIMIT as usize];
    for step in steps {
        match *step {
            Step::Write(code, length) => {
                seen.push(Seen::Wrote(side.write(code, &payload(length)).await));
            }
            Step::TryWrite(code, length) => {
                seen.push(Seen::Wrote(side.try_write(code, &payload(length))));
            }
            Step::Read => seen.push(message(side.read(&mut buffer).await, &buffer)),
            Step::ReadInto(size) => {
                let buffer = &mut buffer[..size];
                seen.push(message(side.read(buffer).await, buffer));
            }
            Step::TryRead => seen.push(match side.try_read(&mut buffer).transpose() {
                Some(read) => message(read, &buffer),
                None => Seen::Nothing,
            }),
            Step::ReadToEnd | Step::Echo => {
                let mut count = 0;
                let end = loop {
                    let read = side.read(&mut buffer).await;
                    match message(read, &buffer) {
                        Seen::Message(_, length) => {
                            count += 1;
                            if *step == Step::Echo {
                                // That the session closed is found by the next read.
                                let _ = side.write(1, &payload(length)).await;
                            }
                        }
                        end => break end,
                    }
                };
                seen.extend([Seen::Count(count), end]);
            }
            Step::Flush => seen.push(match side.flush().await {
                Ok(()) => Seen::Flushed,
                Err(reason) => Seen::Closed(reason),
            }),
            Step::Disconnect(reason) => side.disconnect(reason),
            Step::Closed => seen.push(Seen::Closed(side.closed().await)),
        }
    }
    seen
}

fn message(read: Result<(u32, usize), NoMessage>, buffer: &[u8]) -> Seen {
    match read {
        Ok((code, length)) => {
            assert_eq!(buffer[..length], payload(length), "altered on the way");
            Seen::Message(code, length)
        }
        Err(NoMessage::Oversize(code, length)) => Seen::Oversize(code, length),
        Err(NoMessage::Closed(reason)) => Seen::Closed(reason),
    }
}

/// Plays every scenario.
///
/// # Panics
/// If something else is seen than the scenario says.
pub fn play_all(stage: &impl Stage) {
    for scenario in scenarios() {
        println!("{}", scenario.name);
        let played = stage.play(&scenario);
        for ((part, played), who) in scenario.parts.iter().zip(played).zip(["a", "b"]) {
            let name = scenario.name;
            for (role, seen) in part.roles.iter().zip(&played.seen) {
                assert_eq!(*seen, role.seen, "{name}: {} of {who}", role.name);
            }
            assert_eq!(played.seen.len(), part.roles.len(), "{name}: {who}");
            assert_eq!(played.end, part.end, "{name}: end of {who}");
        }
    }
}

const QUIT: CloseReason = CloseReason::RemoteRequested(Some(DisconnectReason::CLIENT_QUITTING));

const fn returned(subprotocol: u8) -> CloseReason {
    CloseReason::ProtocolReturned { subprotocol }
}

const fn told(reason: DisconnectReason) -> CloseReason {
    CloseReason::RemoteRequested(Some(reason))
}

/// Every scenario.
pub fn scenarios() -> Vec<Scenario> {
    let mut all = messages();
    all.extend(ends());
    all
}

fn part(end: CloseReason, roles: impl Into<Vec<Role>>) -> Part {
    Part {
        roles: roles.into(),
        end,
    }
}

fn messages() -> Vec<Scenario> {
    use Seen::{Count, Flushed, Message, Nothing, Oversize, Wrote};
    use Step::{Echo, Flush, Read, ReadInto, TryRead, TryWrite, Write};
    const OK: Seen = Wrote(Ok(()));
    let sizes = [0, 1, 55, 56, 300, 999, 1000];
    let asks: Vec<Step> = sizes.iter().flat_map(|n| [Write(0, *n), Read]).collect();
    let answers: Vec<Seen> = sizes.iter().flat_map(|n| [OK, Message(1, *n)]).collect();
    let echo = |count| [Count(count), Seen::Closed(QUIT)];
    vec![
        Scenario {
            name: "messages of every size are echoed",
            parts: [
                part(returned(0), [Role::new("echo", &asks, &answers)]),
                part(QUIT, [Role::new("echo", &[Echo], &echo(sizes.len()))]),
            ],
        },
        Scenario {
            name: "a message over the limit, or larger than the buffer, is reported and the session lives",
            parts: [
                part(
                    returned(0),
                    [Role::new(
                        "echo",
                        &[
                            Write(0, 1001),
                            Write(1, 50_000),
                            Write(0, 9),
                            Write(0, 10),
                            Read,
                        ],
                        &[OK, OK, OK, OK, Message(1, 5)],
                    )],
                ),
                part(
                    QUIT,
                    [Role::new(
                        "echo",
                        &[Read, Read, ReadInto(8), Read, Write(1, 5), Read],
                        &[
                            Oversize(0, 1001),
                            Oversize(1, 50_000),
                            Oversize(0, 9),
                            Message(0, 10),
                            OK,
                            Seen::Closed(QUIT),
                        ],
                    )],
                ),
            ],
        },
        Scenario {
            name: "a code that is not below the length is refused and nothing is sent",
            parts: [
                part(
                    returned(0),
                    [Role::new(
                        "echo",
                        &[Write(2, 1), TryWrite(u32::MAX, 1), Write(0, 1), Read],
                        &[
                            Wrote(Err(WriteError::InvalidCode)),
                            Wrote(Err(WriteError::InvalidCode)),
                            OK,
                            Message(1, 1),
                        ],
                    )],
                ),
                part(QUIT, [Role::new("echo", &[Echo], &echo(1))]),
            ],
        },
        Scenario {
            name: "what can be done at once is done at once",
            parts: [
                part(
                    returned(0),
                    [Role::new(
                        "echo",
                        &[TryRead, TryWrite(0, 20), Flush, Read, TryRead],
                        &[Nothing, OK, Flushed, Message(1, 20), Nothing],
                    )],
                ),
                part(QUIT, [Role::new("echo", &[Echo], &echo(1))]),
            ],
        },
        Scenario {
            name: "two subprotocols do not disturb each other",
            parts: [
                part(
                    returned(1),
                    [
                        Role::new(
                            "echo",
                            &[Write(0, 7), Read, Step::Closed],
                            &[OK, Message(1, 7), Seen::Closed(returned(1))],
                        ),
                        Role::new("sense", &asks, &answers),
                    ],
                ),
                part(
                    QUIT,
                    [
                        Role::new("sense", &[Echo], &echo(sizes.len())),
                        Role::new("echo", &[Echo], &echo(1)),
                    ],
                ),
            ],
        },
        Scenario {
            name: "of two protocols one is shared",
            parts: [
                part(
                    returned(1),
                    [
                        Role::new("other", &[Read], &[Seen::NotShared]),
                        Role::new("sense", &[Write(0, 3), Read], &[OK, Message(1, 3)]),
                    ],
                ),
                part(
                    QUIT,
                    [
                        Role::new("sense", &[Echo], &echo(1)),
                        Role::new("third", &[Read], &[Seen::NotShared]),
                    ],
                ),
            ],
        },
    ]
}

fn ends() -> Vec<Scenario> {
    use Seen::{Closed, Count, Flushed, Message, Wrote};
    use Step::{Disconnect, Flush, Read, ReadToEnd, TryRead, TryWrite, Write};
    const OK: Seen = Wrote(Ok(()));
    let odd = DisconnectReason(0x42);
    let local = CloseReason::Local(odd);
    let failed = CloseReason::ProtocolError {
        subprotocol: 0,
        reason: odd,
    };
    vec![
        Scenario {
            name: "what was sent before the end is read before the end",
            parts: [
                part(
                    returned(0),
                    [Role::new(
                        "echo",
                        &[Write(0, 1), Write(1, 2), Write(0, 3), Flush],
                        &[OK, OK, OK, Flushed],
                    )],
                ),
                part(
                    QUIT,
                    [Role::new(
                        "echo",
                        &[
                            Step::Closed,
                            Read,
                            Read,
                            TryRead,
                            Read,
                            TryRead,
                            Write(0, 1),
                        ],
                        &[
                            Closed(QUIT),
                            Message(0, 1),
                            Message(1, 2),
                            Message(0, 3),
                            Closed(QUIT),
                            Closed(QUIT),
                            Wrote(Err(WriteError::Closed(QUIT))),
                        ],
                    )],
                ),
            ],
        },
        Scenario {
            name: "a local disconnect ends reads and writes with its cause, and the first one counts",
            parts: [
                part(
                    local,
                    [Role::new(
                        "echo",
                        &[
                            Disconnect(odd),
                            Disconnect(DisconnectReason::REQUESTED),
                            Read,
                            Write(0, 1),
                            TryWrite(0, 1),
                            Step::Closed,
                            Flush,
                        ],
                        &[
                            Closed(local),
                            Wrote(Err(WriteError::Closed(local))),
                            Wrote(Err(WriteError::Closed(local))),
                            Closed(local),
                            Flushed,
                        ],
                    )],
                ),
                part(
                    told(odd),
                    [Role::new(
                        "echo",
                        &[ReadToEnd, Step::Closed],
                        &[Count(0), Closed(told(odd)), Closed(told(odd))],
                    )],
                ),
            ],
        },
        Scenario {
            name: "a subprotocol that fails says its reason, and the others are told",
            parts: [
                part(
                    failed,
                    [
                        Role::new("echo", &[Write(0, 1), Flush], &[OK, Flushed]).failing(odd),
                        Role::new("sense", &[ReadToEnd], &[Count(0), Closed(failed)]),
                    ],
                ),
                part(
                    told(odd),
                    [
                        Role::new("echo", &[ReadToEnd], &[Count(1), Closed(told(odd))]),
                        Role::new("sense", &[ReadToEnd], &[Count(0), Closed(told(odd))]),
                    ],
                ),
            ],
        },
        Scenario {
            name: "a remote that shares nothing is useless",
            parts: [
                part(
                    CloseReason::UselessPeer,
                    [Role::new("one", &[Read], &[Seen::NotShared])],
                ),
                part(
                    CloseReason::UselessPeer,
                    [Role::new("two", &[Read], &[Seen::NotShared])],
                ),
            ],
        },
    ]
}
