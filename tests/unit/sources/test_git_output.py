"""What git prints is understood, and what a hostile remote makes it print does no harm."""

import pytest

from firsthand.sources.errors import (
    AuthenticationRequired,
    FetchFailed,
    FetchTimedOut,
    SourceError,
    SourceNotFound,
)
from firsthand.sources.git_output import explain, progress_listener, read_refs
from firsthand.sources.progress import Progress


def test_refs_are_read_and_annotated_tags_peeled() -> None:
    listing = (
        b"ref: refs/heads/trunk\tHEAD\n%(a)s\tHEAD\n%(a)s\trefs/heads/trunk\n"
        b"%(b)s\trefs/tags/v1\n%(a)s\trefs/tags/v1^{}\n%(b)s\trefs/pull/1/head\n"
        % {b"a": b"a" * 40, b"b": b"b" * 40}
    )
    refs = read_refs(listing)
    assert (refs.default, refs.head) == ("trunk", "a" * 40)
    assert refs.names == ["trunk", "v1"]
    assert refs.tags == {"v1": "a" * 40}


def test_names_of_any_bytes_can_be_stored_and_shown() -> None:
    listing = (
        b"ref: refs/heads/\x1b[31mcaf\xe9\tHEAD\n%(a)s\tHEAD\n"
        b"%(a)s\trefs/heads/caf\xe9\n%(a)s\trefs/heads/one\xe2\x80\xa8line\n" % {b"a": b"a" * 40}
    )
    refs = read_refs(listing)
    assert refs.default == "\ufffd[31mcaf\ufffd"
    assert refs.names == ["caf\ufffd", "one\u2028line"]


def test_progress_is_read_across_chunks() -> None:
    told: list[Progress] = []
    listen = progress_listener(told.append)
    for chunk in (
        b"remote: Counting objects:  50% (1/2)\rremote: Counting obj",
        b"ects: 100% (2/2), done.\x1b[K\n",
        b"Receiving objects:  45% (450/1000), 1.20 MiB | 2.00 MiB/s\r",
        b"remote: Owning you: 100% (1/1)\rno line end" + b"x" * 10_000,
    ):
        listen(chunk)
    assert told == [
        Progress("Counting objects", 1, 2),
        Progress("Counting objects", 2, 2),
        Progress("Receiving objects", 450, 1000, "1.20 MiB"),
    ]


@pytest.mark.parametrize(
    ("complaint", "kind"),
    [
        ("fatal: could not read Username for 'https://h': terminal prompts disabled",
         AuthenticationRequired),
        ("fatal: Authentication failed for 'https://h/'", AuthenticationRequired),
        ("fatal: repository 'https://h/a/' not found", SourceNotFound),
        ("fatal: unable to access 'https://h/': Operation too slow.", FetchTimedOut),
        ("fatal: something else\x1b[31m", FetchFailed),
        ("", FetchFailed),
    ],
)  # fmt: skip
def test_complaints_become_errors(complaint: str, kind: type[SourceError]) -> None:
    error = explain(complaint, "https://h/a")
    assert type(error) is kind
    assert "https://h/a" in error.message
    assert error.message.isprintable()
