"""Sandboxes that were started before anybody asked for one.

A member is a real sandbox that belongs to nobody and holds nothing. It is handed to a sandbox
that starts, by renaming its folders, and never handed back. A pool belongs to one hub: what a
killed hub left is ended by the next, because its agents may run an older program.
"""

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import filterfalse
from pathlib import Path

import anyio.to_thread

from firsthand.hub.ids import SandboxId, new_sandbox_id
from firsthand.hub.sandboxes.bubblewrap.home import Home
from firsthand.hub.sandboxes.provider import SandboxFailed, SandboxSpec

# Who has just been given a member is served first; the next member can wait.
_REFILL_AFTER_SECONDS = 0.3
_READY_WITHIN_SECONDS = 30
_DRAFT = "."

Launch = Callable[[Home, SandboxSpec], None]


class WarmPool:
    """Up to `size` started sandboxes below `folder`, alike to the last `wanted` specification."""

    def __init__(self, folder: Path, size: int, launch: Launch) -> None:
        self._all_pools = folder
        self._folder = self._new_folder()
        self._size = size
        self._launch = launch
        self._template: SandboxSpec | None = None
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False

    def claim(self, spec: SandboxSpec, home: Home) -> bool:
        """Make a member the running incarnation of `home`; tell whether there was one.

        Whatever moment the hub is killed at, `Home.end_half_claimed` clears what is left.
        """
        if self._template is None or not _alike(spec, self._template):
            return False
        for member in self._members():
            with contextlib.suppress(FileNotFoundError):
                member.folder.rename(home.claim.folder)
                if home.claim.incarnation.can_answer():
                    home.adopt_claim()
                    return True
                # Its processes are gone, or going.
                shutil.rmtree(home.claim.folder)
        return False

    def keep_filled(self, spec: SandboxSpec | None = None) -> None:
        """Replace in the background what is missing; `spec` says what is wanted from now on."""
        if spec is not None and self._template is not None and not _alike(spec, self._template):
            # The members are no longer what is wanted; they are ended like any other hub's.
            self._folder = self._new_folder()
        self._template = spec or self._template
        busy = self._refilling is not None and not self._refilling.done()
        if self._size > 0 and self._template is not None and not busy and not self._closed:
            self._refilling = asyncio.create_task(self._refill(self._template))

    @property
    def is_idle(self) -> bool:
        """Tell whether it waits to be told what is wanted."""
        return self._size > 0 and self._template is None

    async def close(self) -> None:
        """End all members."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.wait([self._refilling])
        await self._end(self._folder)

    def _new_folder(self) -> Path:
        return self._all_pools / secrets.token_hex(4)

    async def _refill(self, template: SandboxSpec) -> None:
        await asyncio.sleep(_REFILL_AFTER_SECONDS)
        # A pool is an extra: where it fails, sandboxes start without it and say what is wrong.
        with contextlib.suppress(SandboxFailed, OSError, TimeoutError):
            for folder in _folders(self._all_pools):
                if folder != self._folder:
                    await self._end(folder)
            for unusable in [*self._drafts(), *filterfalse(_can_answer, self._members())]:
                await _discard(unusable)
            for _ in range(self._size - len(self._members())):
                await self._add(template)

    async def _add(self, template: SandboxSpec) -> None:
        """Start one, and make it a member once it answers: until then its folder may not move."""
        name = new_sandbox_id()
        draft = Home(self._folder / f"{_DRAFT}{name}")
        await anyio.to_thread.run_sync(self._launch, draft, replace(template, sandbox_id=name))
        async with asyncio.timeout(_READY_WITHIN_SECONDS):
            await _until_it_answers(draft.incarnation.socket_path)
        draft.folder.rename(self._folder / name)

    def _members(self) -> list[Home]:
        return [Home(f) for f in _folders(self._folder) if not f.name.startswith(_DRAFT)]

    def _drafts(self) -> list[Home]:
        return [Home(f) for f in _folders(self._folder) if f.name.startswith(_DRAFT)]

    async def _end(self, pool: Path) -> None:
        for folder in _folders(pool):
            await _discard(Home(folder))
        shutil.rmtree(pool, ignore_errors=True)


async def _discard(home: Home) -> None:
    await home.incarnation.end()
    shutil.rmtree(home.folder, ignore_errors=True)


async def _until_it_answers(path: Path) -> None:
    """Ask anything over HTTP and wait for the first byte. Raises `OSError` if it ends instead."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        if not await reader.read(1):
            raise ConnectionResetError
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _can_answer(home: Home) -> bool:
    return home.incarnation.can_answer()


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(parent.iterdir())
    except FileNotFoundError:
        return []


def _alike(one: SandboxSpec, other: SandboxSpec) -> bool:
    nobody = SandboxId("")
    return replace(one, sandbox_id=nobody) == replace(other, sandbox_id=nobody)
