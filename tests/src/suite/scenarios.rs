//! What both adapters play.

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::{CloseReason, WriteError};

use super::{Part, Role, Scenario, Seen, Step};

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
        ends: vec![end],
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
                        &[
                            TryRead,
                            Write(0, 1),
                            Read,
                            Flush,
                            TryWrite(0, 20),
                            Flush,
                            Read,
                            TryRead,
                        ],
                        &[
                            Nothing,
                            OK,
                            Message(1, 1),
                            Flushed,
                            OK,
                            Flushed,
                            Message(1, 20),
                            Nothing,
                        ],
                    )],
                ),
                part(QUIT, [Role::new("echo", &[Echo], &echo(2))]),
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
                            &[Write(0, 7), Read, Step::Meet, Step::Closed],
                            &[OK, Message(1, 7), Seen::Closed(returned(1))],
                        ),
                        Role::new("sense", &[&asks[..], &[Step::Meet]].concat(), &answers),
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
                            Write(0, 1),
                            Read,
                            Disconnect(odd),
                            Disconnect(DisconnectReason::REQUESTED),
                            Read,
                            Write(0, 1),
                            TryWrite(0, 1),
                            Step::Closed,
                            Flush,
                        ],
                        &[
                            OK,
                            Message(1, 1),
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
                        &[Step::Echo, Step::Closed],
                        &[Count(1), Closed(told(odd)), Closed(told(odd))],
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
            parts: ["one", "two"].map(|name| Part {
                roles: vec![Role::new(name, &[Read], &[Seen::NotShared])],
                ends: vec![
                    CloseReason::UselessPeer,
                    told(DisconnectReason::USELESS_PEER),
                ],
            }),
        },
    ]
}

/// Several tasks of one side wait for the end at once.
pub fn waiting() -> Scenario {
    use Seen::{Closed, Count, Flushed, Message, Wrote};
    use Step::{Flush, Read, ReadToEnd, Write};
    const OK: Seen = Wrote(Ok(()));
    Scenario {
        name: "several may wait for the end at once",
        parts: [
            part(
                QUIT,
                [
                    Role::new("echo", &[Step::Closed], &[Closed(QUIT)]),
                    Role::new(
                        "sense",
                        &[Read, Step::Closed],
                        &[Message(0, 1), Closed(QUIT)],
                    ),
                ],
            ),
            part(
                returned(1),
                [
                    Role::new("echo", &[ReadToEnd], &[Count(0), Closed(returned(1))]),
                    Role::new("sense", &[Write(0, 1), Flush], &[OK, Flushed]),
                ],
            ),
        ],
    }
}
