"""The server: takes calls, decides where they run, keeps what must not be lost. Mounts nothing, starts no container."""
