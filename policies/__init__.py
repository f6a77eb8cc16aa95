"""Policies judge: numbers in, verdict out. No I/O, no clock, nothing of releases."""
