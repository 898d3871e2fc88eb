"""What this machine can do for Modicum: probed by a thin shell, judged by a pure core."""
