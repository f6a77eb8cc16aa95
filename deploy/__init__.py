"""Where Headgate runs: container, cluster, workspace, and the sandbox that stands for Databricks."""
