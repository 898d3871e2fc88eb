"""What makes a container process out of a root directory."""

AUTO, PROCESS = "auto", "process"
RUNTIMES = (AUTO, "crun", "runc", PROCESS)
"""What a home's containers can be made with. `auto` is whichever of crun and runc works: never less isolation."""
