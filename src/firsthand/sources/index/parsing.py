"""Reads and parses the files of a tree in several processes, and survives a parser that crashes."""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from firsthand.sources.index.entries import FileEntry, describe_file
from firsthand.sources.index.scan import MAX_CODE_BYTES, read_text
from firsthand.sources.index.symbols import extract_symbols

PATIENCE = timedelta(seconds=30)
"""For how long one file may be parsed."""

Parse = Callable[[Path, str], FileEntry | None]


def parse_file(tree: Path, path: str, *, with_symbols: bool = True) -> FileEntry | None:
    """Read and parse one file; None where there is no text in it."""
    file = read_text(tree, path)
    if file is None:
        return None
    parsable = with_symbols and len(file.text) <= MAX_CODE_BYTES and file.nature != "generated"
    return describe_file(file, extract_symbols(file.path, file.text) if parsable else [])


def parse_all(
    tree: Path,
    files: list[tuple[str, int]],
    workers: int,
    *,
    parse: Parse = parse_file,
    patience: timedelta = PATIENCE,
) -> Iterator[FileEntry]:
    """Parse files (path, size) in `workers` processes; the order of the results is not fixed.

    A worker that dies or stays silent (a grammar failed on a hostile file) is replaced; the file
    that it had in hand is read again without its symbols.
    """
    running: dict[Connection, _Worker] = {}
    for share in _shares(files, workers):
        worker = _Worker.start(tree, share, parse)
        running[worker.results] = worker
    try:
        while running:
            for ready in wait(list(running), patience.total_seconds() / 4):
                assert isinstance(ready, Connection)
                worker = running[ready]
                try:
                    result = worker.receive()
                except EOFError:
                    del running[ready]
                    yield from _bury(worker, running)
                    continue
                if result is not None:
                    yield result
            for worker in running.values():
                worker.kill_if_silent(patience)
    finally:
        for worker in running.values():
            worker.process.kill()
            worker.end()


def _bury(worker: "_Worker", running: "dict[Connection, _Worker]") -> Iterator[FileEntry]:
    worker.end()
    if worker.done >= len(worker.paths):
        return
    culprit = parse_file(worker.tree, worker.paths[worker.done], with_symbols=False)
    if culprit is not None:
        yield culprit
    rest = worker.paths[worker.done + 1 :]
    if rest:
        heir = _Worker.start(worker.tree, rest, worker.parse)
        running[heir.results] = heir


def _shares(files: list[tuple[str, int]], workers: int) -> list[list[str]]:
    """Deal the files out so that each share has about the same number of bytes."""
    count = max(1, min(workers, len(files)))
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for path, size in files:
        lightest = loads.index(min(loads))
        shares[lightest].append(path)
        loads[lightest] += min(size, MAX_CODE_BYTES) + 2_000
    return [share for share in shares if share]


@dataclass
class _Worker:
    tree: Path
    paths: list[str]
    process: BaseProcess
    results: Connection
    parse: Parse
    heard_at: float
    done: int = 0

    @classmethod
    def start(cls, tree: Path, paths: list[str], parse: Parse) -> "_Worker":
        context = multiprocessing.get_context("fork")
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(
            target=_parse_share, args=(tree, paths, parse, receiving, sending), daemon=True
        )
        process.start()
        sending.close()
        assert isinstance(receiving, Connection)
        return cls(tree, paths, process, receiving, parse, time.monotonic())

    def receive(self) -> FileEntry | None:
        """Return what the next file gave; raises `EOFError` where the worker has ended."""
        result = msgspec.msgpack.decode(self.results.recv_bytes(), type=FileEntry | None)
        self.done += 1
        self.heard_at = time.monotonic()
        return result

    def kill_if_silent(self, patience: timedelta) -> None:
        """End a worker that hangs; its connection then ends, which is how its death is noticed."""
        silent = time.monotonic() - self.heard_at
        if silent > patience.total_seconds() and not self.results.poll():
            self.process.kill()

    def end(self) -> None:
        self.results.close()
        self.process.join()
        self.process.close()


def _parse_share(
    tree: Path, paths: list[str], parse: Parse, receiving: Connection, sending: Connection
) -> None:
    receiving.close()
    gc.disable()  # what is made here has no cycles, and the process ends with its share
    encode = msgspec.msgpack.Encoder().encode
    try:
        for path in paths:
            sending.send_bytes(encode(parse(tree, path)))
    except BrokenPipeError:
        os._exit(1)  # the parent has gone; nobody wants the rest
