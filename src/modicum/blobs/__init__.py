"""Files and large values."""
