//! What happens to peers, told to subscribers that can never stall a session.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use devp2p_core::capability::Capability;
use devp2p_core::code::LocalCode;
use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;

/// Something happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// A session became active.
    Added {
        /// Whose.
        peer: NodeId,
        /// Its client name.
        client_name: String,
        /// Where it is, if the transport has addresses.
        remote: Option<SocketAddr>,
        /// Whether it dialled us.
        inbound: bool,
    },
    /// An active session ended.
    Dropped {
        /// Whose.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// A message was sealed.
    MessageSent {
        /// To whom.
        peer: NodeId,
        /// Of which subprotocol.
        capability: Capability,
        /// Its code.
        code: LocalCode,
        /// Bytes of payload, uncompressed.
        length: u32,
    },
    /// A message arrived whole.
    MessageReceived {
        /// From whom.
        peer: NodeId,
        /// Of which subprotocol.
        capability: Capability,
        /// Its code.
        code: LocalCode,
        /// Bytes of payload, uncompressed.
        length: u32,
    },
}

#[derive(Debug)]
struct Subscriber {
    sender: SyncSender<PeerEvent>,
    /// Whether it is told of messages too.
    messages: bool,
    lost: Arc<AtomicU64>,
}

/// The subscribers of a host.
#[derive(Debug, Default)]
pub(crate) struct Events {
    subscribers: Mutex<Vec<Subscriber>>,
    count: AtomicUsize,
    /// How many of them are told of messages.
    message_count: AtomicUsize,
}

impl Events {
    pub(crate) fn subscribe(&self, capacity: usize, messages: bool) -> Subscription {
        let (sender, receiver) = sync_channel(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        subscribers.push(Subscriber {
            sender,
            messages,
            lost: Arc::clone(&lost),
        });
        self.recount(&subscribers);
        Subscription { receiver, lost }
    }

    /// Sends what `event` makes of a session, if anyone listens.
    pub(crate) fn send(&self, event: impl FnOnce() -> PeerEvent) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.send_to(event(), |_| true);
        }
    }

    /// Whether anyone listens to events of messages.
    pub(crate) fn wants_messages(&self) -> bool {
        self.message_count.load(Ordering::Relaxed) > 0
    }

    /// Sends what `event` makes of a message, if anyone listens to those.
    pub(crate) fn send_message(&self, event: impl FnOnce() -> PeerEvent) {
        if self.wants_messages() {
            self.send_to(event(), |subscriber| subscriber.messages);
        }
    }

    fn recount(&self, subscribers: &[Subscriber]) {
        let messages = subscribers.iter().filter(|one| one.messages).count();
        self.count.store(subscribers.len(), Ordering::Relaxed);
        self.message_count.store(messages, Ordering::Relaxed);
    }

    fn send_to(&self, event: PeerEvent, wanted: impl Fn(&Subscriber) -> bool) {
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| {
            if !wanted(subscriber) {
                return true;
            }
            match subscriber.sender.try_send(event.clone()) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    subscriber.lost.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            }
        });
        self.recount(&subscribers);
    }
}

/// A subscriber's end: events wait here up to its capacity; what comes while it is full is lost and counted.
#[derive(Debug)]
pub struct Subscription {
    receiver: Receiver<PeerEvent>,
    lost: Arc<AtomicU64>,
}

impl Subscription {
    /// The events that wait, and then those that come. Ends with the host.
    pub fn receiver(&self) -> &Receiver<PeerEvent> {
        &self.receiver
    }

    /// How many events were lost because this subscriber was full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
