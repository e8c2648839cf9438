"""The real agent does its whole work inside the real sandbox."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import anyio.lowlevel
import pytest

from firsthand.hub.ids import new_run_id, new_sandbox_id
from firsthand.hub.instances.agent_client import AgentClient
from firsthand.hub.sandboxes.bubblewrap.provider import BubblewrapProvider
from firsthand.hub.sandboxes.provider import SandboxSpec, SandboxState
from firsthand.protocol.events import Done
from firsthand.protocol.questions import CheckoutRef, Dialect, ModelChoice, RunRequest
from firsthand.sources.index.build import build_index

CODE = '''\
"""Following redirects."""


def follow_redirects(response):
    """Follow the redirects of a response, at most twenty of them."""
    return response.next
'''


@pytest.fixture
async def running() -> AsyncIterator[tuple[AgentClient, CheckoutRef]]:
    with TemporaryDirectory(prefix="fh-") as folder:
        store = Path(folder, "trees")
        tree, index = store / "unguessable" / "tree", store / "unguessable" / "index"
        tree.mkdir(parents=True)
        index.mkdir()
        (tree / "redirects.py").write_text(CODE)
        build_index(tree, index)
        hub = BubblewrapProvider(Path(folder, "sandboxes"), checkouts=store)
        checkout = CheckoutRef(
            name="web",
            source="https://example.org/web",
            path=hub.path_inside(tree),
            index_path=hub.path_inside(index),
            ref="main",
            commit="c" * 40,
        )
        spec = SandboxSpec(new_sandbox_id())
        await hub.create(spec)
        await hub.start(spec.sandbox_id)
        try:
            async with AgentClient(await hub.endpoint(spec.sandbox_id)) as agent:
                with anyio.fail_after(60):
                    yield agent, checkout
        finally:
            await hub.stop(spec.sandbox_id)
            assert await hub.state(spec.sandbox_id) is SandboxState.STOPPED
            await hub.close()


async def test_the_first_question_waits_until_the_agent_listens(
    running: tuple[AgentClient, CheckoutRef],
) -> None:
    agent, _ = running
    assert (await agent.health()).ok


@pytest.mark.requirement("AGT-5")
@pytest.mark.parametrize(
    ("tool", "tool_input"),
    [
        ("list", {"path": "web"}),
        ("glob", {"pattern": "**/*.py"}),
        ("grep", {"pattern": "def follow_"}),
        ("read", {"path": "web/redirects.py"}),
        ("search", {"query": "follow redirects"}),
    ],
)
async def test_every_tool_works_inside(
    running: tuple[AgentClient, CheckoutRef], tool: str, tool_input: dict[str, str]
) -> None:
    agent, checkout = running
    assert "redirects" in await agent.call_tool(tool, [checkout], tool_input)


async def test_a_question_is_answered_from_the_checkout(
    running: tuple[AgentClient, CheckoutRef],
) -> None:
    agent, checkout = running
    request = RunRequest(
        run_id=new_run_id(),
        question="How are redirects followed?",
        checkouts=(checkout,),
        model=ModelChoice(dialect=Dialect.EXTRACTIVE, provider="firsthand", model="extractive"),
    )
    await agent.start_run(request)
    last = [event.event async for event in agent.follow(request.run_id, 0)][-1]
    assert isinstance(last, Done)
    assert "web/redirects.py" in last.text


@pytest.mark.requirement("AGT-15")
async def test_it_ends_itself_when_no_hub_speaks_to_it() -> None:
    with TemporaryDirectory(prefix="fh-") as folder:
        hub = BubblewrapProvider(Path(folder, "sandboxes"), checkouts=Path(folder, "trees"))
        spec = SandboxSpec(new_sandbox_id(), idle_limit=timedelta(seconds=0.5))
        await hub.create(spec)
        await hub.start(spec.sandbox_id)
        with anyio.fail_after(60):
            while await hub.state(spec.sandbox_id) is SandboxState.RUNNING:
                await anyio.lowlevel.checkpoint()
        assert "nobody asked anything" in await hub.read_log(spec.sandbox_id)
        await hub.close()
