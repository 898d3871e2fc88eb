"""What shall be done? The pure core: an event and the time go in, actions come out; no I/O, clock or chance.

Start reading at `state.py`, which only routes; `pool.py` is where an input waits and runs.
"""
