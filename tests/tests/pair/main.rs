//! Two sessions over a seeded link, in virtual time.
mod causes;
mod smoke;
mod writes;
