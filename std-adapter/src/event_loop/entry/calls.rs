//! Calls into a session's handler. One that panics or fails ends its session, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use devp2p_core::disconnect::DisconnectReason;
use devp2p_core::error::CloseReason;

use super::{Entry, is_ours};
use crate::event_loop::Tools;
use crate::event_loop::handler::{Handler, Message, Oversize, Session, index};
use crate::event_loop::open::Open;

impl Entry {
    /// Delivers the messages that wait; whether there were any.
    pub(super) fn deliver(&mut self, tools: &mut Tools) -> bool {
        let mut any = false;
        while self.handle.is_some()
            && let Some(arrived) = self.open.connection.inbox.next()
        {
            any = true;
            if self.open.connection.close_reason().is_some_and(is_ours) {
                // Who ended the session has no use for more.
                continue;
            }
            let (subprotocol, meta) = (arrived.subprotocol, arrived.meta);
            let result = self.call(tools, Some(subprotocol), |handler, session| match &arrived
                .payload
            {
                Some(payload) => {
                    let message = Message {
                        subprotocol,
                        code: meta.code.0,
                        payload,
                        wire_length: meta.wire_length,
                        at: meta.at,
                    };
                    handler.on_message(session, message)
                }
                None => {
                    let oversize = Oversize {
                        subprotocol,
                        code: meta.code.0,
                        length: meta.length,
                    };
                    handler.on_oversize(session, oversize)
                }
            });
            if let Some(Err(failure)) = result {
                log::debug!("subprotocol {subprotocol} failed: {failure}");
                let reason = CloseReason::ProtocolError {
                    subprotocol: index(subprotocol),
                    reason: failure.reason(),
                };
                self.open.close(Open::now(tools), reason);
            }
        }
        if any {
            self.open.connection.inbox.shrink();
        }
        any
    }

    /// Calls the handler; `None` if there is none, or if it panicked.
    pub(super) fn call<R>(
        &mut self,
        tools: &mut Tools,
        subprotocol: Option<usize>,
        f: impl FnOnce(&mut dyn Handler, &mut Session<'_>) -> R,
    ) -> Option<R> {
        let handle = self.handle.as_ref()?;
        let mut handler = self.handler.take()?;
        let mut session = Session {
            now: Open::now(tools),
            open: &mut self.open,
            tools,
            handle,
        };
        let called = catch_unwind(AssertUnwindSafe(|| {
            let result = f(&mut *handler, &mut session);
            (handler, result)
        }));
        match called {
            Ok((handler, result)) => {
                self.handler = Some(handler);
                Some(result)
            }
            Err(_) => {
                log::error!("the handler of the session with {} panicked", handle.id());
                let first = self.open.connection.peer().shared().iter().next();
                let first = first.map_or(0, |entry| entry.subprotocol);
                let reason = CloseReason::ProtocolError {
                    subprotocol: subprotocol.map_or(first, index),
                    reason: DisconnectReason::SUBPROTOCOL_ERROR,
                };
                self.open.close(Open::now(tools), reason);
                None
            }
        }
    }
}
