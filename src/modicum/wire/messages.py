"""Every message: what it carries, who may send it.

Fields are JSON unless marked *payload*. `→` is what the answer carries. An input is named by its *key*, `CALL:INDEX`
(`fc-…:0`); a value that is larger than `INLINE_BYTES_MAX` travels as a blob and its place in a payload is empty.
Lists of inputs and outputs share one frame: their payloads are concatenated and `sizes` cuts them.

**Anyone**
    hello           protocol, build → build, principal; first message of a connection
    ping            → nothing
    blob.put        blob, offset, total; *payload* chunk → received; the last chunk completes the blob
    blob.get        blob, offset → total; *payload* up to 1 MiB. The reader paces itself: these requests are its window
    logs.read       log, cursor, wait_s → cursor, entries [[stream, object, size], …], ended, dropped; *payload* the text

**User** (the Unix socket, or a token)
    server.status   → pid, keeper_pid, node_pid, socket, build, …
    server.stop     → nothing; ends containers too when `all`
    app.create      name, kind, key → app; idempotent under `key`
    app.attach      app → nothing; the app lives while an attached connection does
    app.stop        app → nothing; returns when its containers have gone
    app.drain       app → nothing; returns when all output written so far can be read
    image.build     steps, log → image
    function.create app, name, spec → function
    source.has      blobs → missing

**User and container**
    call.open       call, function, kind ("sync" | "map" | "spawn" | "gen"), [parent]
                    → nothing; opening a known call again joins it (after a lost connection)
    call.inputs     call, first, sizes, [blobs {index: blob}]; *payload*. Spawned inputs are durable when answered.
    call.close      call, total: no more inputs will come
    call.get        call, index, wait_s → status, size, [blob]; *payload*; or pending, with the reason
    call.ack        call, indices: outputs that the caller has and the server may forget
    call.forget     call: nobody waits any longer; what still waits or runs of a call that is not durable is cancelled
    gen.ack         call, index, piece, credit: pieces below `piece` have been consumed

  to the caller
    call.outputs    call, outputs [[index, status, size, blob | null], …]; *payload*
    call.credit     call, inputs: how many more inputs may be in flight
    call.lost       call: unknown here; open it again
    gen.piece       call, index, piece, end_of_item; *payload* at most 1 MiB

**Container** (its own socket)
    agent.hello     protocol, build, holding [[key, attempt], …] → function, environment, functions
    agent.outputs   outputs [[key, attempt, status, run_s, size, blob | null], …]; *payload*
    agent.failed    status, message; *payload* the pickled exception: start-up failed, nothing can run here
    agent.taken     keys: inputs given back unstarted
    agent.piece     key, attempt, piece, end_of_item; *payload*

  to the container
    run             inputs [[key, attempt, size, blob | null], …]; *payload*
    take_back       count: give back up to so many unstarted inputs, the last ones first
    cancel          keys
    outputs.ack     keys: the outputs may be forgotten
    piece.ack       key, piece, credit
    exit            finish what runs, then end

**Node**
    node.hello      node, build, pid, cpus, memory_bytes, containers [id, …], layers [id, …], limits (sentence) → nothing
    node.exited     container, code, signal, oom, detail
    node.output     container, entries [[stream, input, size], …]; *payload*
    build.output    build, size; *payload*
    build.done      build, image config {env, workdir}
    build.failed    build, layer, code, message

  to the node
    container.start container, spec → nothing; an error if it could not be started
    container.kill  container, reason → nothing
    image.build     build, layers [{id, step}, …] → nothing; `build.done` or `build.failed` follows
    image.cancel    build → nothing
    logs.flush      containers → nothing; all their output up to now has been sent
    node.stop       → nothing; end everything
"""

from __future__ import annotations

INLINE_BYTES_MAX = 1 << 20
"""Values up to this travel inside one frame (which holds no more); larger ones as blobs."""

USER, CONTAINER, RESTRICTED, NODE = "user", "container", "restricted", "node"
"""Principals: who speaks is decided by the socket on which he was accepted, never by what he says."""

_ANYONE = frozenset({USER, CONTAINER, RESTRICTED, NODE})
_USER = frozenset({USER})
_CALLER = frozenset({USER, CONTAINER})
_AGENT = frozenset({CONTAINER, RESTRICTED})
_NODE = frozenset({NODE})

MAY_SEND: dict[str, frozenset[str]] = {
    "hello": _ANYONE,
    "ping": _ANYONE,
    "blob.put": _ANYONE - _NODE,
    "blob.get": _ANYONE,
    "logs.read": _USER,
    "server.status": _USER,
    "server.stop": _USER,
    "app.create": _USER,
    "app.attach": _USER,
    "app.stop": _USER,
    "app.drain": _USER,
    "image.build": _USER,
    "function.create": _USER,
    "source.has": _USER,
    "call.open": _CALLER,
    "call.inputs": _CALLER,
    "call.close": _CALLER,
    "call.get": _CALLER,
    "call.ack": _CALLER,
    "call.forget": _CALLER,
    "gen.ack": _CALLER,
    "agent.hello": _AGENT,
    "agent.outputs": _AGENT,
    "agent.failed": _AGENT,
    "agent.taken": _AGENT,
    "agent.piece": _AGENT,
    "node.hello": _NODE,
    "node.exited": _NODE,
    "node.output": _NODE,
    "build.output": _NODE,
    "build.done": _NODE,
    "build.failed": _NODE,
}
"""Which principal may send which message to the server; what is not here nobody may."""
