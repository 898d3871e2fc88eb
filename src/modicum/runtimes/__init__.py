"""What makes a container process out of a root directory."""
