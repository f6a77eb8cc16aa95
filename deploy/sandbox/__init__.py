"""A Databricks workspace on a laptop: emulated, on loopback, for real and unmodified clients.

It shares no code with the controller, so that one bug cannot hide another. What it does not model
answers 501 with a sentence; what it does model behaves as the platform is known to behave.
"""
