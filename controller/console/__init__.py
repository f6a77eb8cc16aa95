"""The console: what operators type, and what they read."""
