//! Costs of many calls together, and how they are told: one `name value` in a line.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

use crate::board::{self, Cost, exit, measured};

/// The status of an image that panicked.
const PANICKED: u8 = 101;
/// The status of an image in which something did not go as it should.
const FAILED: u8 = 1;

/// The costs of the calls of one phase.
#[derive(Debug, Clone, Copy, Default)]
pub struct Phase {
    /// The deepest stack of any call.
    pub stack: u32,
    /// Instructions of all calls.
    pub instructions: u32,
    /// The longest call's instructions.
    pub longest: u32,
}

impl Phase {
    /// Calls `f`, and counts it to this phase.
    pub fn call<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let (result, cost) = measured(f);
        self.add(cost);
        result
    }

    /// Counts a call to this phase.
    pub fn add(&mut self, cost: Cost) {
        self.stack = self.stack.max(cost.stack);
        self.longest = self.longest.max(cost.instructions);
        self.instructions = self.instructions.wrapping_add(cost.instructions);
    }

    /// This phase and another one together.
    pub fn and(self, other: Self) -> Self {
        Self {
            stack: self.stack.max(other.stack),
            instructions: self.instructions.wrapping_add(other.instructions),
            longest: self.longest.max(other.longest),
        }
    }
}

struct Line {
    bytes: [u8; 120],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let to = self.bytes.get_mut(self.length..self.length + text.len());
        to.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

/// Tells a line.
pub fn print(line: fmt::Arguments<'_>) {
    let mut text = Line {
        bytes: [0; 120],
        length: 0,
    };
    let whole = text.write_fmt(line).is_ok();
    let bytes = text.bytes.get(..text.length).unwrap_or_default();
    match core::str::from_utf8(bytes) {
        Ok(text) if whole => board::print(text),
        _ => fail("a line is too long"),
    }
}

/// Tells a number.
pub fn tell(name: &str, value: u32) {
    print(format_args!("{name} {value}\n"));
}

/// Tells a number whose name has two parts.
pub fn tell_of(phase: &str, what: &str, value: u32) {
    print(format_args!("{phase}.{what} {value}\n"));
}

/// Ends the emulation as failed, after telling why.
pub fn fail(why: &str) -> ! {
    board::print("failed: ");
    board::print(why);
    board::print("\n");
    exit(FAILED)
}

/// Tells where, and ends the emulation.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    if let Some(at) = info.location() {
        print(format_args!("panicked at {}:{}\n", at.file(), at.line()));
    }
    exit(PANICKED)
}
