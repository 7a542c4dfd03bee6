//! What a board with a network card does around the application: parameters in, status out.

use core::mem::MaybeUninit;

use qemu_app::parameters::{self, Shown};
use qemu_app::{Parameters, Status};
use static_cell::StaticCell;
use zeroize::Zeroize;

use crate::{command_line, exit, stack};

/// The boot parameters of the board of this name; if they make no sense, that is the end.
///
/// # Panics
/// On the second call.
pub fn parameters(board: &str) -> &'static mut Parameters {
    static PARAMETERS: StaticCell<Parameters> = StaticCell::new();
    let mut buffer = [MaybeUninit::uninit(); parameters::MAX_LENGTH];
    let line = command_line(&mut buffer);
    defmt::info!("{=str}:{}", board, Shown(line));
    let parameters = match Parameters::parse(line) {
        Ok(parameters) => PARAMETERS.init(parameters),
        Err(error) => {
            defmt::error!("{}", error);
            leave(Status::BadParameters)
        }
    };
    // There may be a key in it.
    buffer.zeroize();
    parameters
}

/// Logs how the work ended and what stack it took, and ends the emulation.
pub fn leave(status: Status) -> ! {
    defmt::info!("{}, stack {=usize} bytes", status, stack::peak());
    exit(status.code())
}
