"""A small tree with every kind of thing that tools meet, and tools over it."""

import os
from pathlib import Path

import pytest

from firsthand.agent.tools.checkouts import Checkouts
from firsthand.agent.tools.search import SearchIndexes
from firsthand.agent.tools.tool import ToolContext, ToolLimits
from firsthand.agent.tools.toolset import Toolset
from firsthand.protocol.questions import CheckoutRef

CLIENT = '''"""The client."""


class Client:
    """Sends requests and follows redirects."""

    max_redirects = 20

    def follow_redirects(self, response):
        """Follow the redirects of a response, up to `max_redirects` of them."""
        for _ in range(self.max_redirects):
            response = self.next(response)
        return response
'''


def checkout(tree: Path, name: str = "demo", **rest: object) -> CheckoutRef:
    return CheckoutRef(
        name=name,
        source="https://example.org/demo",
        path=str(tree),
        ref="main",
        commit="c" * 40,
        link_template="https://example.org/demo/blob/c/{path}#L{start}-L{end}",
        **rest,  # pyright: ignore[reportArgumentType] - fields of the message, named by the test
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("the secret\n")
    tree = tmp_path / "tree"
    (tree / "src" / "deep").mkdir(parents=True)
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("redirects\n")
    (tree / ".gitignore").write_text("src/ignored.py\n")
    (tree / "README.md").write_text("# Demo\n\nFollows redirects.\n")
    (tree / "src" / "client.py").write_text(CLIENT)
    (tree / "src" / "ignored.py").write_text("redirects = 'tracked all the same'\n")
    (tree / "src" / "deep" / "latin.py").write_bytes(b"name = 'caf\xe9'  # redirects\n")
    (tree / "src" / "wide.txt").write_text("x" * 5_000 + " redirects\n")
    (tree / "src" / "image.png").write_bytes(b"\x89PNG\0\0redirects")
    (tree / "src" / "empty.py").write_text("")
    (tree / "src" / "wide16.txt").write_bytes("eins\nzwei\n".encode("utf-16"))
    (tree / "link.py").symlink_to("src/client.py")
    (tree / "up.txt").symlink_to("../outside/secret.txt")
    (tree / "absolute.txt").symlink_to(outside / "secret.txt")
    (tree / "folder").symlink_to("../outside")
    (tree / "round").symlink_to("round")
    os.mkfifo(tree / "pipe")
    return tree


@pytest.fixture
def tools(tree: Path) -> Toolset:
    return toolset(checkout(tree))


def toolset(*refs: CheckoutRef, limits: ToolLimits | None = None) -> Toolset:
    context = ToolContext(Checkouts(refs), SearchIndexes(), limits=limits or ToolLimits())
    return Toolset(context)
