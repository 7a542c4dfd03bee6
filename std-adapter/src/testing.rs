//! Parts that this workspace's tests drive by themselves.

pub use crate::connection::output::{Lent, Limited, Output};
