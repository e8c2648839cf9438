"""A hub's process that starts one sandbox, says so, and waits to be killed."""

import asyncio
import sys
from pathlib import Path

from firsthand.hub.ids import SandboxId
from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.provider import SandboxSpec


async def main() -> None:
    data, sandbox_id, stand_in = sys.argv[1:]
    hub = BubblewrapProvider(
        Path(data, "sandboxes"),
        checkouts=Path(data, "trees"),
        agent_command=[sys.executable, "-I", "-B", stand_in],
        readable=[Path(stand_in)],
    )
    spec = SandboxSpec(SandboxId(sandbox_id))
    await hub.create(spec)
    await hub.start(spec.sandbox_id)
    print("started", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
