"""The record: the store, its journal, and the log that is printed from it."""
