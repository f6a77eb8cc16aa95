"""The daemon: one beat, one pass per application, and the calls that follow."""
