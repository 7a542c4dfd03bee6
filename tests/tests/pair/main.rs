//! Two sessions over a seeded link, in virtual time.
mod smoke;
mod writes;
