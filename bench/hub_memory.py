"""What a real hub and its agent take of the host's memory: idle, and after an answer.

A real hub process with one instance: idle before anybody asks, after the model-free answer to a
question about a small repository, and its agent beside it at both times. With `--btca COMMAND`
the npm btca server, idle. Prints one JSON object; sizes are MiB. `memory.py` measures many idle
agents side by side.

Run from the root: `.venv/bin/python -m bench.hub_memory [--btca "btca serve --port {port}"]`.
"""

import argparse
import json
import tempfile
import threading
from pathlib import Path

from bench.figures import machine
from bench.memory import descendants, memory_of
from bench.npm_btca import npm_server
from tests.git_server import serve_git
from tests.hub_process import HubProcess, events_of, running_hub
from tests.repositories import Commit, make_repository

_TARGET = {"agent_resident_mib": 45}
_SOURCE = b'def follow(response):\n    """Follow redirects."""\n    return response\n'
_TRIES = 600
_PAUSE_SECONDS = 0.1
_SETTLE_SECONDS = 3


def sandbox_of(pid: int) -> str:
    """Return the folder that a sandbox's process logs to, relative to that of all sandboxes."""
    return str(Path(f"/proc/{pid}/fd/1").readlink()).rpartition("/sandboxes/")[2]


def look(hub: HubProcess) -> dict[str, object]:
    """Measure the hub, its instance's sandbox, and the one that is kept ready for the next."""
    processes = [pid for pid in descendants(hub.pid) if pid != hub.pid]
    ready = [pid for pid in processes if sandbox_of(pid).startswith("warm/")]
    whole = [pid for pid in processes if pid not in ready]
    result: dict[str, object] = {
        "hub": memory_of([hub.pid]),
        "agent": memory_of(pid for pid in whole if descendants(pid) == [pid]),
        "whole_sandbox": memory_of(whole),
    }
    if ready:
        result["kept_ready"] = memory_of(ready)
    return result


def until_running(hub: HubProcess) -> None:
    for _ in range(_TRIES):
        if hub.call("GET", "/instance/status")["state"] == "running":
            return
        threading.Event().wait(_PAUSE_SECONDS)
    raise RuntimeError("the instance is not running")


def ask(hub: HubProcess, project: str) -> None:
    body = {"message": "How are redirects followed?", "resources": [project]}
    with hub.request("POST", "/chat/stream", body) as answer:
        types = [event.event for event in events_of(answer)]
    if "done" not in types:
        raise RuntimeError(f"the answer has no end: {types}")


def measure(root: Path, btca: str | None) -> dict[str, object]:
    make_repository(root / "project", [Commit({b"src/loop.py": _SOURCE})])
    with (
        serve_git(root) as git,
        running_hub(FIRSTHAND_ALLOWED_PRIVATE_HOSTS="127.0.0.1") as hub,
    ):
        hub.sign_in()
        until_running(hub)
        # Long enough for whatever the hub does after a start.
        threading.Event().wait(_SETTLE_SECONDS)
        idle = look(hub)
        ask(hub, git.url_of("project"))
        result: dict[str, object] = {"idle": idle, "after_an_answer": look(hub)}
    if btca is not None:
        with npm_server(btca, root / "home") as npm:
            result["npm_btca_server"] = memory_of(descendants(npm.pid))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--btca", metavar="COMMAND", help="starts the npm server on {port}")
    given = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory(prefix="fh-bench-") as folder:
        result = measure(Path(folder), given.btca)
    print(json.dumps({"bench": "hub_memory", "machine": about, "target": _TARGET, **result}))


if __name__ == "__main__":
    main()
