"""Every message: what it carries, who may send it.

Fields are JSON unless marked *payload*. `→` is what the answer carries. An input is named by its *key*, `CALL:INDEX`
(`fc-…:0`); a value that is larger than `INLINE_BYTES_MAX` travels as a blob and its place in a payload is empty.
Lists of inputs and outputs share one frame: their payloads are concatenated and `sizes` cuts them. What is *plain*
comes from code that may be hostile: its reader makes values of built-in types of it, and nothing else.

**Anyone**
    hello           protocol, build → protocol, build, principal, a user's also runtime; a connection's first message
    ping            → nothing
    blob.put        blob, offset, total; *payload* chunk → received; the last chunk completes the blob. A value's is
                    named `bl-…`; a file's content or a set's manifest `sha-…` (`filesets.py`), from users only
    blob.get        blob, offset → total; *payload* up to 1 MiB. The reader paces itself: these requests are its window.
                    Containers read values only
    blob.free       blob: a value that its reader has and nobody else wants

**User** (the Unix socket, or a token)
    server.status   → pid, keeper_pid, node_pid, socket, build, …
    server.stop     all → nothing; `all` ends the containers too
    app.create      name, key, detached, tags, [draft], [told: its user knows what the engine has to say] → app;
                    idempotent under `key`. A draft is only built for: its functions are callable once it is published
    app.attach      app → nothing; the app lives while an attached connection does
    app.leave       app → nothing; a detached app is left to itself: it ends when nothing of it waits or runs
    app.stop        app → nothing; returns when its containers have gone and its output can be read to the end
    logs.read       log, cursor, wait_s, [where] → cursor, entries [[stream, object, size, time, function, input], …],
                    ended; *payload* the text. `where` chooses: streams, functions, container, call, search (lines),
                    since, until (seconds since the epoch). `object` is what wrote it, a container as a rule
    logs.tail       log, cursor or null (the end), lines, [where] → the same: the last lines of the part before there
    logs.find       of (an app's name or id, a container's, a function's) → log, app, functions {id: name}, running
    app.publish     draft, name or app, tag, strategy ("rolling" | "recreate"), key, by, client → app, name, version,
                    changed, functions {name: id}, schedules, logged: how far its log is. The draft's functions and
                    tags take the place of those of the deployed app of that name, made if there is none, or of a
                    running app: all at once, or none if it fails. Without a difference nothing is changed. Idempotent
                    under `key`
    app.rollback    app (name or id), [version], strategy, by, client → as app.publish: an earlier version, by default
                    the one before, is published again
    app.rollover    app (name or id), strategy, by, client → as app.publish: the present version, in new containers
    app.history     app (name or id) → app, name, versions [{version, deployed_at, deployed_by, client, strategy,
                    origin, tag, functions [name, …]}, …]
    app.info        app (name or id) → as app.lookup, and created_at, created_by, deployed_at, deployed_by, ended_at,
                    tag
    app.tag         app, tags → nothing; they take the place of those that it has
    billing.report  since, until (seconds since the epoch), resolution ("h" | "d", UTC), tags (names, "*": all) → rows
                    [{app, app_name, start, tags, resources {resource: {seconds, used, cost}}}, …]: what apps used in
                    whole hours or days; `seconds` of a core, a MiB or a GPU are charged for, in dollars (text)
    billing.rates   → rates {resource or GPU type: dollars by the hour of a core, a GiB, a GPU (text)}
    app.list        → apps [{id, name, state, version, created_at, ended_at, functions, containers}, …]
    app.waiting     apps → waiting [{app, function, inputs, why}, …]: functions whose inputs have no container yet
    schedule.list   apps, or function (ids) → schedules [{id, function, app, schedule, next_at, skipped: how often it
                    was due since its last run and not run, last {call, created_at, finished_at, state} | null}, …]
    schedule.run    app (name or id), [function: its name, if more than one has a schedule] → app, function, call
    container.list  → containers [{id, app, app_name, function, state, running, since, started_at}, …]
    container.ended limit, [app] → containers [{id, app, app_name, function, function_name, node, started_at,
                    ended_at, reason, detail, exit_code, signal}, …], the newest first
    container.stop  container, graceful → nothing; it ends soon: after what it runs now if `graceful`
    image.build     app, steps, [ignore_cache] → image, log [app, cursor]; the output goes to the app's log
    image.list      → images [{id, layers, bytes, in_use}, …], and layers, bytes: of all, those of files included
    image.prune     dry_run → images, layers, bytes: how much no running app uses; it is removed, unless `dry_run`
    function.create app, name, image, files (ids of sets, the lowest first), options, spec, [code (blob)]; *payload*
                    the serialized function, unless it is that blob, which is taken → function, remarks (texts for its
                    user); idempotent
    function.variants function, limit (0: all, the newest first) → function, variants [{id, settings, parameters,
                    runners}, …]. Here and above `APP/FUNCTION` may stand for a function's id
    files.missing   sets → sets that are not complete here
    files.lacking   set, whose manifest is here → nothing; *payload* a byte for each of its files: 1 if its content is
                    not here. Once all are, the set is complete
    files.put       files [[sha256, size], …]; *payload* → wrong [place, …]: those that are not what their hash says

**User and container**, as callers
    app.lookup      app (the name of a deployed one, or an id), [create: users only] → app, name, state, version, tags,
                    functions {name: id}
    function.lookup app (name or id), name, [version], or function (its id) → function, app, name, spec, options,
                    [method]. A class is named `Model.*`; `Model.f` finds it too, and that method. With a version: the
                    function as it was in that one, and stays
    call.inputs     call, function, kind ("sync" | "map" | "spawn" | "gen"), first, sizes, [blobs {place: blob}],
                    [method: of a class], [parent: the key of the input that makes this call],
                    [pieces: how many of a generator's the caller has]; *payload*.
                    Opens the call at its first frame. Sending the same inputs again, after a lost connection, joins
                    those that are known and resumes the answers on this connection. As a request (spawn) it is
                    answered once the inputs are durable.
    call.get        call, index, [count: 1], wait_s → outputs [[index, status, size, blob | null, (plain)], …];
                    *payload*: those that are there of up to `count` spawned inputs from `index` on, without a gap; the
                    first is waited for. If there is none, why it waits
    call.ready      calls, wait_s → ready: the calls whose first input has an output, or is not known; one is waited for
    call.info       call → function, name (of the function), app, method, inputs (how many), created_at
    call.cancel     call, [terminate_containers] → nothing; each input without an output gets `TERMINATED`, what runs is
                    cancelled. Their containers are killed if that is asked for
    call.graph      call → inputs [[key, parent, status | null, container | null, function, module], …], truncated: all
                    inputs that are known of the calls above and below
    call.list       function, [variants: theirs too], count, [since], [until] → calls [{call, index, method, created_at,
                    finished_at, container, run_s, state, why}, …], the newest first, or those of a time, the oldest
                    first; pending: how many spawned inputs have no output, why: those that wait do
    call.forget     call: nobody waits any longer; what still waits or runs of a call that is not durable is cancelled
    call.ack        call, pieces: pieces of a generator below this one have been consumed, which is the credit for more
    function.bind   function, options (those that replace its own), [parameters (base64) of a class] → function, spec,
                    options, remarks: the variant with these settings, which has containers of its own. A variant's
                    variant is one of the same function; the same settings give the same variant
    function.configure function, settings {min_containers, max_containers, buffer_containers, scaledown_window}, those
                    that change, null for what holds without a word → settings, overrides; until it is defined anew
    function.stats  function → backlog, runners, running, headroom, why (the backlog waits)
    secret.create   *payload* JSON {name: value} → secret; the same again is the same. It goes when no function that
                    there is, nor any version that is kept, has it in its `secrets`
    function.history function, since, until, [all_variants] → function, variants (how many), of its inputs succeeded,
                    failed, timed_out, running, run_s [[percentage, seconds], …]; of its containers total, started,
                    errors, creating, startup_s
    function.info   function → function, name, app, app_name, parent, image, options, spec
    object.create   kind ("dict" | "queue"), [name], [fail_if_exists], by → as object.lookup. Without a name it is
                    ephemeral: it lives while a connection holds it
    object.lookup   kind, name or id → id, name, created_at, created_by
    object.list     kind, count, [before], [sizes: of queues] → objects [as above, partitions, items], the newest first
    object.delete   kind, id → nothing
    object.hold     kind, id → nothing, once it has gone; the connection holds it until then
    dict.get        dict; *payload* the key → found, [blob]; *payload* the value, unless it is that blob
    dict.contains   dict; *payload* the key → found
    dict.update     dict, request, [again], entries [[key size, value size, blob | null], …], [skip: those that are
                    there], [packed: the blob that stands for the payload, freed]; *payload* → created
    dict.pop        dict, request, [again]; *payload* the key → as dict.get; its reader frees a blob
    dict.len        dict → len
    dict.clear      dict, request, [again] → nothing
    dict.contents   dict, after ("" or `next` of the last answer), values → entries [[key size, value size, blob], …],
                    next (null: these were the last); *payload*
    queue.put       queue, partition (null: the one without a name), request, [again], sizes, ttl_s, wait_s (null: for
                    ever), [packed]; *payload* → nothing: all are stored. `resource_exhausted` if there is no room
    queue.get       queue, partition, request, [again], count, wait_s → sizes: what is there of up to `count` items, as
                    much as an answer holds; *payload*. It comes back to the queue if it is not received
    queue.received  request: its items have arrived, and are gone from the queue
    queue.leave     request: whoever asked waits no longer, and has not received anything
    queue.len       queue, partition, [total] → len
    queue.clear     queue, partition, request, [again], [all] → nothing
    queue.next      queue, partition, after (a number), wait_s → items [[number, size], …] behind it; *payload*

  A `request` is a name that who asks makes up. Asked again, with `again`, it is answered as before, and done once.

  to the caller
    call.outputs    call, outputs [[index, status, size, blob | null, (plain)], …], log [app, cursor];
                    *payload*. Whoever shows the app's output shows it up to that cursor before the caller goes on.
    call.failed     call, code, message: none of its inputs can be taken
    call.piece      call, piece, end (of an item), [plain]; *payload* at most 1 MiB

**Container** (its own socket; a restricted one may send no more than this, hello, ping, blob.put and, for what its
inputs name, blob.get)
    agent.hello     build, holding [[key, attempt], …], loaded → function (its spec, and concurrency, batching and
                    single_use of its options), restricted, parameters (base64, of a class that has some), functions
                    {name: {id, module, qualname}}, app, logs_errors, interactive: the kind of terminal (TERM) that
                    it may use, null if none, code: the size of the serialized function; *payload* its first part
    agent.code      offset → nothing; *payload* a further part of it
    agent.loaded    the function's module is imported and what is to be entered is: no input comes before
    agent.outputs   seq, outputs [[key, attempt, status, run_s, size, blob | null], …], [printed]; *payload*
    agent.failed    status, why: its summary; *payload* the exception: start-up failed, nothing can run here
    agent.taken     keys: inputs given back unstarted
    agent.piece     key, piece, end; *payload*

  to the container
    run             inputs [[key, attempt, size, blob | null, (method)], …]; *payload*
    take_back       count: give back up to so many unstarted inputs, the last ones first
    cancel          keys
    outputs.ack     seq: output frames up to this one may be forgotten
    piece.ack       key, pieces: pieces below this one may be forgotten, which is the credit for more
    piece.resend    key, pieces: send the pieces from this one on again; their reader has come back
    exit            [now]: finish what runs, or, with `now`, cancel it; run exit handlers; end

**Node**
    node.hello      node, build, pid, cpus, memory_bytes, gpus [{id, type, memory_mib, index}, …], containers [{id,
                    function, started_at, restricted, plain, devices}, …], builds under way [id, …], layers [id, …],
                    runtime, limits, network, gpus_note (sentences) → nothing
    node.exited     container, code, signal, oom, detail, usage
    node.usage      containers {id: usage}; every few seconds. A usage is what a meter says that only grows: seconds,
                    cpu_s and memory_mib_s (null where they are not counted), memory_peak_bytes, the `request` of
                    its container's spec, and oom: why the kernel has killed a process of it, or null
    node.output     container, entries [[stream, input, size], …]; *payload*
    build.output    build, size; *payload*
    build.done      build, config {env, workdir, entrypoint, …}
    build.failed    build, layer, code, message
    files.get       files [sha256, …] that make up one frame → sizes; *payload*

  to the node
    container.start container, spec → nothing; an error if it could not be started. The spec's `devices` are the ids of
                    GPUs that the node has told
    container.kill  container, reason → known: whether there is such a container; its exit follows
    image.build     build, layers [{id, step, configured, agent, variables}, …], configured → nothing; `build.done` or
                    `build.failed` follows. `configured`: the steps that make no layer, of the image, and those before
                    a layer; `agent`: the build of our code that steps run; `variables`: of a step's secrets
    image.cancel    build → nothing
    layers.list     → layers [[id, bytes], …]
    layers.prune    keep [id, …] → removed [[id, bytes], …]; what containers and builds use stays, too
    logs.flush      containers → nothing; all their output up to now has been sent

**Terminals**: a *session* joins a user to a process in a container, or to a function there that speaks with him. Its
id, `ex-…`, is made by who begins it. Each direction has a window (`terminals.py`), which `exec.ack` opens again
  user
    exec.start      exec, container, argv, tty: null | {rows, cols, term}, [env], [cwd] → nothing once it is executed;
                    its end follows, and so does a failure that shows later
    exec.attach     app, tty → nothing: this connection takes the interactions of the app's functions, one at a time
    exec.input      exec, [eof]; *payload* at most 64 KiB
    exec.resize     exec, rows, cols
    exec.signal     exec, signal: to all processes of the command's session
    exec.ack        exec, bytes: so much of the output has been shown
  agent
    agent.interact  exec, [input: its key] → tty, once it is this function's turn; on a connection of its own
  node and agent
    exec.output     exec, stream ("stdout" | "stderr"; with a terminal the first only); *payload* at most 64 KiB
    exec.ended      exec, code, [signal], [detail], [gone: with its container]
    exec.ack        exec, bytes: so much of the input has been taken
  to the user
    exec.opened     exec, container, function, input, log [app, cursor]: an interaction begins, once output is shown
    exec.output, exec.ended, exec.ack as above; `code` is 128 + the signal where that has ended it
  to the node (with `container`) and the agent
    exec.start (node), exec.input, exec.resize, exec.signal, exec.ack as above
    exec.ended      exec: the user is not there any longer
"""

from __future__ import annotations

INLINE_BYTES_MAX = 1 << 20
"""Values up to this travel inside one frame (which holds no more); larger ones as blobs."""

SERIALIZED_BYTES_MAX = 16 << 20
"""No function that is sent without its module is larger, as with Modal."""

NO_ARGUMENTS = b"\x80\x05\x95\x06\x00\x00\x00\x00\x00\x00\x00)}\x94\x86\x94."
"""The payload of an input without arguments; the server, which makes some, pickles nothing."""

VALUE_BYTES_MAX = 64 << 30
"""No value is larger."""

DICT_KEY_BYTES_MAX = 256 << 10
DICT_VALUE_BYTES_MAX = 100 << 20
DICT_UPDATE_MAX = 10_000
"""What a dict takes: bytes of a key and of a value, and entries in one request."""

QUEUE_ITEM_BYTES_MAX = 1 << 20
"""No item of a queue is larger."""

CPUS_MIN, CPUS_MAX = 0.001, 4096
MEMORY_MIB_MAX = 64 << 20
"""What a function may ask for. No machine has more, and kernels and the core count thousandths of a core."""

DISK_MIB_MAX = 3 << 20
"""3 TiB, as with Modal."""

VARIABLE_BYTES_MAX = (128 << 10) - 2
"""The kernel passes no longer `NAME=VALUE` to a program."""

SECRET_BYTES_MAX = 512 << 10
"""What a secret may have in all: a container's variables, those of its image included, have about a MiB."""

PACK_BYTES_MAX = 100 << 20
"""What one request carries beside values that are blobs themselves."""

SUCCESS, GENERATOR_DONE, EXCEPTION = "ok", "done", "exception"
TIMEOUT, INTERNAL, TERMINATED = "timeout", "internal", "terminated"
"""Statuses of an output. The payload is the value, the number of a generator's items, the exception, or a sentence."""

AHEAD_BYTES = 8 << 20
AHEAD_PIECES = 256
"""A generator's window: so much may be on its way to its reader, unacknowledged."""

CANNOT_START = "modicum-server: "
"""How the last line in the log of a server begins that could not start; what follows says why."""

USER, CONTAINER, RESTRICTED, NODE = "user", "container", "restricted", "node"
"""Principals: who speaks is decided by the socket on which he was accepted, never by what he says."""

HOSTILE = frozenset({CONTAINER, RESTRICTED})
"""Where the user's code speaks, too."""

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
    "blob.free": _CALLER,
    "logs.read": _USER,
    "logs.tail": _USER,
    "logs.find": _USER,
    "server.status": _USER,
    "server.stop": _USER,
    "app.create": _USER,
    "app.attach": _USER,
    "app.leave": _USER,
    "app.stop": _USER,
    "app.publish": _USER,
    "app.rollback": _USER,
    "app.rollover": _USER,
    "app.history": _USER,
    "app.info": _USER,
    "app.tag": _USER,
    "app.lookup": _CALLER,
    "function.lookup": _CALLER,
    "billing.report": _USER,
    "billing.rates": _USER,
    "app.list": _USER,
    "app.waiting": _USER,
    "schedule.list": _USER,
    "schedule.run": _USER,
    "container.list": _USER,
    "container.ended": _USER,
    "container.stop": _USER,
    "image.build": _USER,
    "image.list": _USER,
    "image.prune": _USER,
    "function.create": _USER,
    "function.variants": _USER,
    "files.missing": _USER,
    "files.lacking": _USER,
    "files.put": _USER,
    "secret.create": _CALLER,
    "call.inputs": _CALLER,
    "call.get": _CALLER,
    "call.ready": _CALLER,
    "call.info": _CALLER,
    "call.cancel": _CALLER,
    "call.graph": _CALLER,
    "call.list": _USER,
    "call.forget": _CALLER,
    "call.ack": _CALLER,
    "function.bind": _CALLER,
    "function.configure": _CALLER,
    "function.stats": _CALLER,
    "function.history": _CALLER,
    "function.info": _CALLER,
    "object.create": _CALLER,
    "object.lookup": _CALLER,
    "object.list": _CALLER,
    "object.delete": _CALLER,
    "object.hold": _CALLER,
    "dict.get": _CALLER,
    "dict.contains": _CALLER,
    "dict.update": _CALLER,
    "dict.pop": _CALLER,
    "dict.len": _CALLER,
    "dict.clear": _CALLER,
    "dict.contents": _CALLER,
    "queue.put": _CALLER,
    "queue.get": _CALLER,
    "queue.received": _CALLER,
    "queue.leave": _CALLER,
    "queue.len": _CALLER,
    "queue.clear": _CALLER,
    "queue.next": _CALLER,
    "agent.hello": _AGENT,
    "agent.code": _AGENT,
    "agent.loaded": _AGENT,
    "agent.outputs": _AGENT,
    "agent.failed": _AGENT,
    "agent.taken": _AGENT,
    "agent.piece": _AGENT,
    "agent.interact": _AGENT,
    "exec.start": _USER,
    "exec.attach": _USER,
    "exec.input": _USER,
    "exec.resize": _USER,
    "exec.signal": _USER,
    "exec.ack": _USER | _AGENT | _NODE,
    "exec.output": _AGENT | _NODE,
    "exec.ended": _AGENT | _NODE,
    "files.get": _NODE,
    "node.hello": _NODE,
    "node.exited": _NODE,
    "node.output": _NODE,
    "node.usage": _NODE,
    "build.output": _NODE,
    "build.done": _NODE,
    "build.failed": _NODE,
}
"""Which principal may send which message to the server; what is not here nobody may."""
