"""What both sides of a terminal's relay agree on: how much of its input and output is on its way at once."""

from __future__ import annotations

WINDOW_BYTES = 256 * 1024
"""Of each direction of a session so much may be sent that its receiver has not acknowledged (`exec.ack`)."""

CHUNK_BYTES = 64 * 1024
"""No frame of it carries more."""

STDOUT, STDERR = "stdout", "stderr"
STREAMS = (STDOUT, STDERR)
"""What a process writes to; one with a terminal has only the first."""
