//! Who reads from the transport. The thread that waits for a message reads for all, so that no other need be woken first; when
//! it has its message it leaves, and whoever waits next goes on. Where nobody waits, a background thread does, which is there
//! while it has work: an idle session has no thread but those that wait for its messages.
//!
//! The half that reads is in one of three places: with a leader, who waits for a message of its own; with the background thread;
//! or here, left by a leader. Left for longer than [`PATIENCE`] it goes to the background thread, so that Pings are answered and
//! other subprotocols served whatever one does; in the midst of a lively conversation up to [`REGULAR`] later. A leader who waits
//! for a limited time hands it over when nothing has come for [`SLICE`]. When the session closes it goes to the background thread
//! for good.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{io, mem, time};

use devp2p_core::time::{Duration, Instant, PollAt};

/// How long nobody may read before the background thread does.
const PATIENCE: Duration = Duration::from_millis(1);

/// How often it is looked at while leaders leave it and take it again all the time: the thread that looks costs a round trip that
/// it falls into more than all else in it.
const REGULAR: Duration = Duration::from_millis(10);

/// When it is tried again to start the background thread, if the system has none to give.
const AGAIN: Duration = Duration::from_secs(1);

/// How long one reads without any bytes coming who may not do so for ever.
pub(crate) const SLICE: std::time::Duration = std::time::Duration::from_millis(20);

#[derive(Debug)]
struct State<H> {
    /// The half, while nobody has it.
    half: Option<H>,
    /// It is for the background thread.
    wanted: bool,
    left_at: Instant,
    /// `left_at`, when time was last looked at.
    seen: Instant,
    /// Time will be looked at.
    timed: bool,
    /// The background thread is there, and looks at all this again before it ends. At first it is the one that opens the session.
    attended: bool,
    /// The background thread, if it was started here.
    thread: Option<JoinHandle<()>>,
    /// Until then none is started: the system had none to give.
    retry_at: Instant,
}

/// Where the half is while nobody reads, and who waits to have it.
#[derive(Debug)]
pub(crate) struct Lead<H> {
    state: Mutex<State<H>>,
    /// The background thread waits here.
    given: Condvar,
    /// Threads that wait for a message and would read themselves.
    willing: AtomicUsize,
}

impl<H> Default for Lead<H> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                half: None,
                wanted: false,
                left_at: Instant::ZERO,
                seen: Instant::ZERO,
                timed: false,
                attended: true,
                thread: None,
                retry_at: Instant::ZERO,
            }),
            given: Condvar::new(),
            willing: AtomicUsize::new(0),
        }
    }
}

impl<H> Lead<H> {
    /// The half, for a thread that waits for a message; `None` while another has it or shall have it.
    pub(crate) fn try_take(&self) -> Option<H> {
        let mut state = self.lock();
        match state.wanted {
            true => None,
            false => state.half.take(),
        }
    }

    /// Whether [`try_take`](Self::try_take) would give it.
    pub(crate) fn is_free(&self) -> bool {
        let state = self.lock();
        state.half.is_some() && !state.wanted
    }

    /// Gives the half back at `now`. Returns when to call [`on_timeout`](Self::on_timeout), if that is not known already.
    #[must_use]
    pub(crate) fn leave(&self, half: H, now: Instant) -> PollAt {
        let mut state = self.lock();
        state.half = Some(half);
        state.left_at = now;
        if state.wanted {
            drop(state);
            self.given.notify_one();
            return PollAt::Idle;
        }
        if mem::replace(&mut state.timed, true) {
            return PollAt::Idle;
        }
        state.seen = now;
        PollAt::At(now.saturating_add(PATIENCE))
    }

    /// Gives the half to the background thread.
    pub(crate) fn hand_over(&self, half: H) {
        let mut state = self.lock();
        state.half = Some(half);
        state.wanted = true;
        drop(state);
        self.given.notify_one();
    }

    /// From now on the half is for the background thread, as soon as a leader gives it back.
    pub(crate) fn want(&self) {
        let mut state = self.lock();
        state.wanted = true;
        let given = state.half.is_some();
        drop(state);
        if given {
            self.given.notify_one();
        }
    }

    /// Waits until the half is for the background thread. With `linger`, at most so long while it is not wanted: then `None`,
    /// and the thread must end.
    pub(crate) fn wait(&self, linger: Option<time::Duration>) -> Option<H> {
        let until = linger.map(|linger| time::Instant::now() + linger);
        let mut state = self.lock();
        loop {
            if state.wanted
                && let Some(half) = state.half.take()
            {
                state.wanted = false;
                return Some(half);
            }
            let left = until
                .filter(|_| !state.wanted)
                .map(|until| until.saturating_duration_since(time::Instant::now()));
            state = match left {
                None => {
                    let woken = self.given.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                Some(left) if left.is_zero() => {
                    state.attended = false;
                    // A thread that can be joined keeps its stack.
                    state.thread = None;
                    return None;
                }
                Some(left) => {
                    let woken = self.given.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Starts the background thread by `spawn`, if the half is wanted and it is not there. If it cannot be started, the half is
    /// for those who wait again, unless the session closes. Then returns when to call [`on_timeout`](Self::on_timeout).
    #[must_use]
    pub(crate) fn start(
        &self,
        now: Instant,
        closes: impl FnOnce() -> bool,
        spawn: impl FnOnce() -> io::Result<JoinHandle<()>>,
    ) -> PollAt {
        let mut state = self.lock();
        if !state.wanted || state.attended {
            return PollAt::Idle;
        }
        if now >= state.retry_at {
            // Under the lock, so that the thread finds itself here.
            match spawn() {
                Ok(thread) => {
                    state.thread = Some(thread);
                    state.attended = true;
                    return PollAt::Idle;
                }
                Err(error) => {
                    log::error!("no thread for a session: {error}");
                    state.retry_at = now.saturating_add(AGAIN);
                }
            }
        }
        state.wanted = closes();
        state.timed = true;
        PollAt::At(state.retry_at)
    }

    /// The background thread, for whoever joins it.
    pub(crate) fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.lock().thread.take()
    }

    /// Lets time pass: a half that was left for too long is for the background thread. Returns when to call again.
    pub(crate) fn on_timeout(&self, now: Instant) -> PollAt {
        let mut state = self.lock();
        let left_at = state.left_at;
        let moved = mem::replace(&mut state.seen, left_at) != left_at;
        let until = left_at.saturating_add(PATIENCE);
        match state.half {
            Some(_) if !state.wanted && now < until => return PollAt::At(until),
            None if !state.wanted && moved => return PollAt::At(now.saturating_add(REGULAR)),
            _ => state.timed = false,
        }
        if state.half.is_none() || state.wanted {
            return PollAt::Idle;
        }
        state.wanted = true;
        drop(state);
        self.given.notify_one();
        PollAt::Idle
    }

    /// Counts a thread that waits and would read itself, until the guard is dropped.
    pub(crate) fn willing(&self) -> Willing<'_> {
        self.willing.fetch_add(1, Ordering::SeqCst);
        Willing(&self.willing)
    }

    /// Whether a thread waits that would read itself.
    pub(crate) fn has_willing(&self) -> bool {
        self.willing.load(Ordering::SeqCst) > 0
    }

    /// Takes the half away for good, if it is here.
    pub(crate) fn clear(&self) -> Option<H> {
        self.lock().half.take()
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that waits and would read itself.
#[derive(Debug)]
pub(crate) struct Willing<'a>(&'a AtomicUsize);

impl Drop for Willing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(5_000);

    fn after(millis: u64) -> Instant {
        NOW.saturating_add(Duration::from_millis(millis))
    }

    #[test]
    fn a_half_that_was_left_is_for_one_who_waits() {
        let lead = Lead::default();
        assert!(!lead.is_free() && lead.try_take().is_none());
        let _ = lead.leave(7, NOW);
        assert!(lead.is_free());
        assert_eq!(lead.try_take(), Some(7));
        assert_eq!(lead.try_take(), None);
    }

    #[test]
    fn a_half_left_for_too_long_is_for_the_background_thread() {
        let lead = Lead::default();
        let _ = lead.leave(7, NOW);
        assert_eq!(lead.on_timeout(NOW), PollAt::At(after(1)));
        assert!(lead.is_free());
        assert_eq!(lead.on_timeout(after(1)), PollAt::Idle);
        assert_eq!(lead.try_take(), None, "it is asked for");
        assert_eq!(lead.wait(None), Some(7));
        // It leaves it as a leader does.
        let _ = lead.leave(7, after(2));
        assert_eq!(lead.try_take(), Some(7));
    }

    #[test]
    fn the_time_counts_from_when_it_was_last_left() {
        let lead = Lead::default();
        assert_eq!(lead.leave(7, NOW), PollAt::At(after(1)));
        assert_eq!(lead.try_take(), Some(7));
        assert_eq!(lead.on_timeout(after(1)), PollAt::Idle, "somebody reads");
        assert_eq!(lead.leave(7, after(1)), PollAt::At(after(2)));
        assert_eq!(lead.on_timeout(after(1)), PollAt::At(after(2)));
        assert_eq!(lead.try_take(), Some(7));
    }

    #[test]
    fn a_half_left_again_and_again_is_looked_at_now_and_then() {
        let lead = Lead::default();
        assert_eq!(lead.leave(7, NOW), PollAt::At(after(1)));
        for moment in [1, 2] {
            assert_eq!(lead.try_take(), Some(7));
            assert_eq!(lead.leave(7, after(moment)), PollAt::Idle, "it is known");
        }
        assert_eq!(lead.try_take(), Some(7));
        assert_eq!(lead.on_timeout(after(3)), PollAt::At(after(13)));
        assert_eq!(lead.leave(7, after(3)), PollAt::Idle);
        assert_eq!(lead.on_timeout(after(13)), PollAt::Idle);
        assert_eq!(lead.wait(None), Some(7));
        assert_eq!(lead.leave(7, after(20)), PollAt::At(after(21)));
    }

    #[test]
    fn what_a_leader_hands_over_no_other_takes() {
        let lead = Lead::default();
        lead.hand_over(7);
        assert!(!lead.is_free() && lead.try_take().is_none());
        assert_eq!(lead.on_timeout(after(1000)), PollAt::Idle);
        assert_eq!(lead.wait(None), Some(7));
    }

    #[test]
    fn a_half_that_is_wanted_goes_from_its_leader_to_the_background_thread() {
        let lead = Lead::default();
        let _ = lead.leave(7, NOW);
        assert_eq!(lead.try_take(), Some(7));
        lead.want();
        std::thread::scope(|scope| {
            let background = scope.spawn(|| lead.wait(None));
            let _ = lead.leave(7, NOW);
            assert_eq!(background.join().ok(), Some(Some(7)));
        });
    }

    #[test]
    fn a_background_thread_that_nobody_asks_ends_and_another_comes_when_one_does() {
        let lead = Lead::default();
        let spawn = || Ok(std::thread::spawn(|| ()));
        let never = || -> io::Result<JoinHandle<()>> { panic!("there is no need") };
        lead.hand_over(7);
        let open = || false;
        let idle = PollAt::Idle;
        assert_eq!(lead.start(NOW, open, never), idle, "it opens the session");
        assert_eq!(lead.wait(Some(time::Duration::ZERO)), Some(7));
        let _ = lead.leave(7, NOW);
        assert_eq!(lead.wait(Some(time::Duration::ZERO)), None);
        assert_eq!(lead.start(NOW, open, never), idle, "nobody wants it");
        assert_eq!(lead.try_take(), Some(7));
        lead.want();
        assert_eq!(lead.start(NOW, open, spawn), idle);
        assert_eq!(lead.start(NOW, open, never), idle, "it is there");
        assert!(lead.take_thread().is_some());
    }

    #[test]
    fn without_a_background_thread_the_half_is_for_those_who_wait_until_the_session_closes() {
        let lead = Lead::default();
        let fails = || Err(io::ErrorKind::OutOfMemory.into());
        let never = || -> io::Result<JoinHandle<()>> { panic!("it is too early") };
        assert_eq!(lead.wait(Some(time::Duration::ZERO)), None);
        lead.hand_over(7);
        let again = PollAt::At(after(1_000));
        assert_eq!(lead.start(NOW, || false, fails), again);
        assert!(lead.is_free());
        assert_eq!(lead.try_take(), Some(7));
        lead.hand_over(7);
        assert_eq!(lead.start(after(20), || false, never), again);
        assert_eq!(lead.on_timeout(after(1_000)), PollAt::Idle);
        assert!(!lead.is_free(), "it is asked for again");
        assert_eq!(
            lead.start(after(1_000), || true, fails),
            PollAt::At(after(2_000))
        );
        assert!(!lead.is_free(), "the session closes");
        let spawn = || Ok(std::thread::spawn(|| ()));
        assert_eq!(lead.start(after(2_000), || true, spawn), PollAt::Idle);
        assert_eq!(lead.wait(None), Some(7));
    }

    #[test]
    fn a_background_thread_that_is_wanted_waits_for_the_leader_to_give_the_half() {
        let lead = Lead::default();
        let _ = lead.leave(7, NOW);
        assert_eq!(lead.try_take(), Some(7));
        lead.want();
        std::thread::scope(|scope| {
            let background = scope.spawn(|| lead.wait(Some(time::Duration::ZERO)));
            let _ = lead.leave(7, NOW);
            assert_eq!(background.join().ok(), Some(Some(7)));
        });
    }

    #[test]
    fn those_who_are_willing_are_counted_while_they_wait() {
        let lead = Lead::<u8>::default();
        let (one, two) = (lead.willing(), lead.willing());
        drop(one);
        assert!(lead.has_willing());
        drop(two);
        assert!(!lead.has_willing());
    }
}
