"""The contract between client, server, node and agent. Imports nothing of ours."""
