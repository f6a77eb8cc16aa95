"""States decide: a record and a look at the world in, a plan out. No I/O, no clock, no SDK."""
