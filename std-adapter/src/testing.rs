//! Parts that this workspace's tests drive by themselves.

pub use crate::event_loop::output::{Lent, Limited, Output};
