"""The daemon and the console as real processes, against the sandbox over real HTTP."""
