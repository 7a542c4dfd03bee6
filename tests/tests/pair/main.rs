//! Two sessions over a seeded link, in virtual time.
mod causes;
mod deadlines;
mod faults;
mod ping;
mod race;
mod smoke;
mod stall;
mod writes;
