"""The adapters: what Headgate sees of a Databricks workspace, and what it sends to it."""
