"""`firsthand ask`: decides who answers, shows the answer, and says how it ended."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firsthand.cli.answer import Answer
from firsthand.cli.answer_view import AnswerView, choose_view
from firsthand.cli.failures import CommandFailed, ExitCode, translated
from firsthand.cli.running import run
from firsthand.hub.presence import Presence, find_hub
from firsthand.hub.settings import Settings, load_settings
from firsthand.protocol.limits import QUESTION_CHARS, RESOURCES_PER_QUESTION
from firsthand.sources.errors import InvalidSource
from firsthand.sources.source import Source, parse_source


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said on the command line."""

    question: str
    resources: Sequence[str]
    as_json: bool
    local: bool
    model: str | None
    data_dir: Path | None


def ask(asked: Asked) -> None:
    """Answer the question. Raises `CommandFailed`."""
    _check(asked)
    with translated():
        environ = dict(os.environ)
        if asked.model is not None:
            environ["FIRSTHAND_MODEL"] = asked.model
        if asked.data_dir is not None:
            environ["FIRSTHAND_DATA_DIR"] = str(asked.data_dir)
        settings = load_settings(environ, Path.cwd())
    in_one_process = asked.local or asked.model is not None
    presence = None if in_one_process else find_hub(settings.data_dir)
    view = choose_view(as_json=asked.as_json)
    answer = _answer(asked, settings, presence, view)
    ended = answer.now
    view.end(ended.parts.citations, ended.parts.resources)
    if asked.as_json:
        sys.stdout.buffer.write(answer.as_json() + b"\n")
        sys.stdout.flush()
    if ended.failure is not None:
        raise CommandFailed(ended.failure.message, ended.failure.hint, reported=asked.as_json)


def _check(asked: Asked) -> None:
    if not asked.question.strip():
        raise CommandFailed("The question is empty.", code=ExitCode.WRONG_USE)
    if len(asked.question) > QUESTION_CHARS:
        message = f"The question has more than {QUESTION_CHARS:,} characters."
        raise CommandFailed(message, code=ExitCode.WRONG_USE)
    if len(asked.resources) > RESOURCES_PER_QUESTION:
        message = f"A question may have at most {RESOURCES_PER_QUESTION} resources."
        raise CommandFailed(message, code=ExitCode.WRONG_USE)


def _answer(
    asked: Asked, settings: Settings, presence: Presence | None, view: AnswerView
) -> Answer:
    sources, names = _sort(asked.resources)
    if presence is not None and not sources:
        from firsthand.cli.through_hub import answer_through_hub

        return run(lambda: answer_through_hub(presence, asked.question, names, view))
    if names:
        raise _no_source(asked.resources, names[0], presence)
    if not sources:
        raise CommandFailed(
            "Nothing to read: name at least one resource.",
            "For example: firsthand ask QUESTION -r pypi:httpx",
            code=ExitCode.WRONG_USE,
        )
    from firsthand.cli.one_process import answer_here

    return run(lambda: answer_here(settings, asked.question, sources, view))


def _sort(resources: Sequence[str]) -> tuple[list[Source], list[str]]:
    """Tell sources, which anyone can read, from names, which only a hub knows."""
    sources: list[Source] = []
    names: list[str] = []
    for text in resources:
        try:
            sources.append(parse_source(text, allow_local=True))
        except InvalidSource:
            names.append(text)
    return sources, names


def _no_source(resources: Sequence[str], name: str, presence: Presence | None) -> CommandFailed:
    try:
        parse_source(name, allow_local=True)
    except InvalidSource as error:
        message, hint = error.message, error.hint
    else:
        raise AssertionError("only what is no source is looked up as a name")
    if presence is not None:
        message = "Names of the hub's resources and other sources cannot be asked together."
        hint = f"Add the others to the hub first: firsthand resources add {resources[0]}"
    elif Path(name).exists():
        hint = f"For a folder, write ./{name}"
    return CommandFailed(message, hint, code=ExitCode.WRONG_USE)
