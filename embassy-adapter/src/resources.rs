//! All memory of a peer, and its division among runner and handles.

use devp2p_core::config::{Config, Local};
use devp2p_core::rlpx::NodeKey;
use devp2p_core::session::{Session, Storage, StorageError};
use embassy_sync::blocking_mutex::raw::RawMutex;

use crate::peer::Peer;
use crate::runner::Runner;
use crate::shared::Shared;
use crate::subprotocol::Subprotocol;

/// Bytes that the runner reads, and writes, at a time.
pub(crate) const CHUNK: usize = 512;

/// Everything that a peer needs for `N` protocols: `INBOX` bytes of inboxes, `RING` bytes of transmit ring, and `TABLE`
/// entries for compression (zero sends Snappy's literal form).
///
/// `INBOX` is at least the sum of the protocols' inboxes and
/// [`MIN_INBOX_MEMORY`](devp2p_core::session::MIN_INBOX_MEMORY), `RING` at least
/// [`MIN_RING`](devp2p_core::session::MIN_RING); the compiler checks the two minima.
pub struct Resources<
    'a,
    M: RawMutex,
    const N: usize = 4,
    const INBOX: usize = 8192,
    const RING: usize = 1024,
    const TABLE: usize = 512,
> {
    inboxes: [u8; INBOX],
    ring: [u8; RING],
    table: [u16; TABLE],
    input: [u8; CHUNK],
    output: [u8; CHUNK],
    shared: Option<Shared<'a, M, N>>,
}

impl<M: RawMutex, const N: usize, const INBOX: usize, const RING: usize, const TABLE: usize>
    Resources<'_, M, N, INBOX, RING, TABLE>
{
    const LARGE_ENOUGH: () = {
        assert!(
            INBOX >= devp2p_core::session::MIN_INBOX_MEMORY,
            "INBOX is below MIN_INBOX_MEMORY"
        );
        assert!(
            RING >= devp2p_core::session::MIN_RING,
            "RING is below MIN_RING"
        );
        assert!(
            TABLE == 0 || TABLE.is_power_of_two(),
            "TABLE is zero or a power of two"
        );
    };

    /// Memory that holds nothing yet.
    pub const fn new() -> Self {
        let () = Self::LARGE_ENOUGH;
        Self {
            inboxes: [0; INBOX],
            ring: [0; RING],
            table: [0; TABLE],
            input: [0; CHUNK],
            output: [0; CHUNK],
            shared: None,
        }
    }
}

impl<M: RawMutex, const N: usize, const INBOX: usize, const RING: usize, const TABLE: usize> Default
    for Resources<'_, M, N, INBOX, RING, TABLE>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<M: RawMutex, const N: usize, const INBOX: usize, const RING: usize, const TABLE: usize>
    core::fmt::Debug for Resources<'_, M, N, INBOX, RING, TABLE>
{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Resources of {} bytes", size_of::<Self>())
    }
}

#[cfg(feature = "defmt")]
impl<M: RawMutex, const N: usize, const INBOX: usize, const RING: usize, const TABLE: usize>
    defmt::Format for Resources<'_, M, N, INBOX, RING, TABLE>
{
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Resources of {=usize} bytes", size_of::<Self>());
    }
}

/// Divides the memory: the runner, the handle on the session, and a handle for each of the `N` protocols of `local`, in
/// their order (handles beyond them are never shared).
///
/// # Errors
/// [`StorageError`] if the memory is too small for the protocols or our Hello.
#[expect(
    clippy::type_complexity,
    reason = "three things, each named in the documentation"
)]
// Not inlined: the session is made on the stack, where a task that calls this would keep room for it ever after.
#[inline(never)]
pub fn new<
    'a,
    M: RawMutex,
    const N: usize,
    const INBOX: usize,
    const RING: usize,
    const TABLE: usize,
>(
    resources: &'a mut Resources<'a, M, N, INBOX, RING, TABLE>,
    key: &'a NodeKey,
    local: Local<'a>,
    config: Config,
) -> Result<(Runner<'a, M, N>, Peer<'a, M, N>, [Subprotocol<'a, M, N>; N]), StorageError> {
    let Resources {
        inboxes,
        ring,
        table,
        input,
        output,
        shared,
    } = resources;
    let storage = Storage {
        inboxes,
        ring,
        table,
    };
    let session = Session::idle(key, local, config, storage)?;
    let shared: &'a Shared<'a, M, N> = shared.insert(Shared::new(session));
    let subprotocols = core::array::from_fn(|index| Subprotocol::new(shared, index));
    Ok((
        Runner::new(shared, input, output),
        Peer::new(shared),
        subprotocols,
    ))
}
