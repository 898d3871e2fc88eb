"""The GPUs of this machine: which there are, what a program needs to use one, and who has it."""
