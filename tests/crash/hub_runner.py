"""A hub in a process of its own, wired as the real one, with a model that plays a script.

`python -m tests.crash.hub_runner FOLDER MODEL`: reads one JSON command a line and
writes one JSON object a line. The real `firsthand serve` has no scripted model, hence this.
"""

import asyncio
import json
import signal
import sys
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import msgspec

from firsthand.hub.identity import Principal
from firsthand.hub.ids import RunId
from firsthand.hub.settings import load_settings
from firsthand.hub.wiring import Hub, open_hub
from firsthand.protocol.questions import Dialect, ModelChoice


def say(**what: Any) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)


async def _owner(hub: Hub, folder: Path) -> Principal:
    kept = folder / "session"
    if not kept.exists():
        kept.write_text(await hub.identity.use_owner_link(await hub.identity.new_owner_link()))
    return await hub.identity.by_session(kept.read_text())


async def _obey(hub: Hub, owner: Principal, command: dict[str, Any]) -> None:
    if "ask" in command:
        run = await hub.api.ask.ask(owner, command["ask"], resources=[command["resource"]])
        say(run=run.id)
        return
    if "instance" in command:
        instance = await hub.api.instances.status(owner)
        say(state=instance.state, generation=instance.generation)
        return
    run_id = RunId(command["follow"])
    async with aclosing(hub.api.journal.follow(owner, run_id, command["after"])) as events:
        async for numbered in events:
            say(run=run_id, number=numbered.number, event=numbered.event)
    say(run=run_id, ended=(await hub.api.journal.run(owner, run_id)).state)


async def main(folder: Path, model: str) -> None:
    environment = {
        "FIRSTHAND_DATA_DIR": str(folder),
        # The git server of the tests is there.
        "FIRSTHAND_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
        "HOME": str(folder),
    }
    choice = ModelChoice(dialect=Dialect.SCRIPTED, provider="scripted", model=model)
    settings = load_settings(environment, folder)
    async with open_hub(settings, public_url="http://127.0.0.1", model=choice) as hub:
        owner = await _owner(hub, folder)
        say(ready=True)
        async with asyncio.TaskGroup() as group:
            while line := await asyncio.to_thread(sys.stdin.readline):
                group.create_task(_obey(hub, owner, json.loads(line)))


async def until_told() -> None:
    """Run until the end of the input or SIGTERM, both of which end the hub in order."""
    work = asyncio.create_task(main(Path(sys.argv[1]), sys.argv[2]))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    with suppress(asyncio.CancelledError):
        await work


if __name__ == "__main__":
    asyncio.run(until_told())
