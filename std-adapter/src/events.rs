//! What happens to peers, told to subscribers that can never stall a session.

use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use devp2p_core::capability::Capability;
use devp2p_core::code::LocalCode;
use devp2p_core::error::CloseReason;
use devp2p_core::hello::NodeId;

use crate::counters::Traffic;

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
        /// Every capability that it offers, as `name/version`.
        capabilities: Vec<String>,
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
        /// How long it was active.
        lasted: Duration,
        /// What its protocols sent and received, together.
        traffic: Traffic,
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

/// Takes an event; false once nobody is there to take any.
type Tell = dyn Fn(&PeerEvent) -> bool + Send + Sync;

#[derive(Clone)]
struct Subscriber {
    number: usize,
    tell: Arc<Tell>,
    /// Whether it is told of messages too.
    messages: bool,
}

/// The subscribers of a host.
#[derive(Default)]
pub(crate) struct Events {
    /// Replaced as a whole, so that they are told without the lock.
    subscribers: Mutex<Arc<[Subscriber]>>,
    count: AtomicUsize,
    /// How many of them are told of messages.
    message_count: AtomicUsize,
    next_number: AtomicUsize,
}

impl Events {
    pub(crate) fn subscribe(&self, capacity: usize, messages: bool) -> Subscription {
        let (sender, receiver) = sync_channel(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&lost);
        let tell = move |event: &PeerEvent| match sender.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                counts.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        };
        self.add(Arc::new(tell), messages);
        Subscription { receiver, lost }
    }

    pub(crate) fn watch(&self, told: impl Fn(&PeerEvent) + Send + Sync + 'static) {
        let tell = move |event: &PeerEvent| {
            if catch_unwind(AssertUnwindSafe(|| told(event))).is_err() {
                log::error!("what watches the sessions panicked");
            }
            true
        };
        self.add(Arc::new(tell), false);
    }

    /// Sends what `event` makes of a session, if anyone listens.
    pub(crate) fn send(&self, event: impl FnOnce() -> PeerEvent) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.send_to(&event(), |_| true);
        }
    }

    /// Whether anyone listens to events of messages.
    pub(crate) fn wants_messages(&self) -> bool {
        self.message_count.load(Ordering::Relaxed) > 0
    }

    /// Sends what `event` makes of a message, if anyone listens to those.
    pub(crate) fn send_message(&self, event: impl FnOnce() -> PeerEvent) {
        if self.wants_messages() {
            self.send_to(&event(), |subscriber| subscriber.messages);
        }
    }

    fn add(&self, tell: Arc<Tell>, messages: bool) {
        let new = Subscriber {
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            tell,
            messages,
        };
        self.change(|before| before.iter().cloned().chain([new]).collect());
    }

    fn send_to(&self, event: &PeerEvent, wanted: impl Fn(&Subscriber) -> bool) {
        let subscribers = Arc::clone(&self.lock());
        let gone: Vec<_> = subscribers
            .iter()
            .filter(|subscriber| wanted(subscriber) && !(subscriber.tell)(event))
            .map(|subscriber| subscriber.number)
            .collect();
        if !gone.is_empty() {
            let stays = |subscriber: &&Subscriber| !gone.contains(&subscriber.number);
            self.change(|before| before.iter().filter(stays).cloned().collect());
        }
    }

    fn change(&self, make: impl FnOnce(&[Subscriber]) -> Arc<[Subscriber]>) {
        let mut subscribers = self.lock();
        let new = make(&subscribers);
        let messages = new.iter().filter(|one| one.messages).count();
        self.count.store(new.len(), Ordering::Relaxed);
        self.message_count.store(messages, Ordering::Relaxed);
        let before = mem::replace(&mut *subscribers, new);
        // What a subscriber owns is dropped without the lock.
        drop(subscribers);
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[Subscriber]>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("count", &self.count)
            .finish_non_exhaustive()
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
