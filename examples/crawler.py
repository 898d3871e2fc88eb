"""Two workers share what is to be done, a Queue, and what has been done, a Dict: no page is visited twice.

modicum run examples/crawler.py
"""

import queue

import modicum

app = modicum.App("crawler")

LINKS = {"/": ["/news", "/about"], "/news": ["/", "/about", "/archive"], "/about": ["/"], "/archive": ["/news"]}


@app.function(max_containers=2)
def crawl(todo: modicum.Queue, found: modicum.Dict) -> int:
    """Visit pages until none has come for a moment; return how many these were."""
    visited = 0
    while True:
        try:
            page = todo.get(timeout=1)
        except queue.Empty:
            return visited
        visited += 1
        for link in LINKS[page]:
            if found.put(link, page, skip_if_exists=True):  # True for exactly one of all who find it
                todo.put(link)


@app.local_entrypoint()
def main() -> None:
    """Begin with one page, and tell from where each was found."""
    with modicum.Queue.ephemeral() as todo, modicum.Dict.ephemeral() as found:
        found["/"] = None
        todo.put("/")
        visits = [call.get() for call in [crawl.spawn(todo, found) for _ in range(2)]]
        print(f"{sum(visits)} visits of {found.len()} pages")
        print("found:", ", ".join(sorted(f"{page} on {source}" for page, source in found.items() if source)))
