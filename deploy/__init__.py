"""Where Headgate runs: container, cluster, bundle, and the sandbox that stands for Databricks."""
