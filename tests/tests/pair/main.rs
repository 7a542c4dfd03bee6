//! Two sessions over a seeded link, in virtual time.
mod admission;
mod causes;
mod chunks;
mod deadlines;
mod faults;
mod growing;
mod halves;
mod interleavings;
mod ping;
mod race;
mod ring;
mod secrets;
mod shown;
mod smoke;
mod stall;
mod versions;
mod writes;
