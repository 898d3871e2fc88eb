"""The command line. Neither the SDK nor the agent imports it."""
