"""Answers a question without a hub: sources, agent and model all in this process."""

import os
import uuid
from collections.abc import Sequence

import anyio

from firsthand.agent.local import ModelEndpoint, answer_locally
from firsthand.cli.answer import Answer
from firsthand.cli.answer_view import AnswerView
from firsthand.hub.settings import ModelSettings, Settings
from firsthand.protocol.events import NumberedEvent
from firsthand.protocol.questions import CheckoutRef, ModelChoice, RunRequest
from firsthand.sources.progress import Progress
from firsthand.sources.source import Source
from firsthand.sources.store import Checkout, SourceStore


async def answer_here(
    settings: Settings, question: str, sources: Sequence[Source], view: AnswerView
) -> Answer:
    """Fetch the sources, run the agent, and return the whole answer. Raises `SourceError`."""
    store = SourceStore(
        settings.data_dir / "sources", allowed_private_hosts=settings.allowed_private_hosts
    )
    checkouts = await _fetch(store, sources, view)
    answer = Answer(question, view)

    def take(numbered: NumberedEvent) -> None:
        answer.take(numbered.event)

    request = RunRequest(
        run_id=f"local-{uuid.uuid4().hex}",
        question=question,
        checkouts=tuple(_refs(checkouts)),
        model=ModelChoice(
            dialect=settings.model.dialect,
            provider=settings.model.provider,
            model=settings.model.model,
        ),
    )
    await answer_locally(request, model_endpoint=_endpoint(settings.model), emit=take)
    return answer


async def _fetch(store: SourceStore, sources: Sequence[Source], view: AnswerView) -> list[Checkout]:
    found: dict[int, Checkout] = {}

    async def fetch(place: int, source: Source) -> None:
        def show(progress: Progress) -> None:
            view.progress(f"{source}: {_in_words(progress)}")

        found[place] = await store.checkout(source, progress=show)

    async with anyio.create_task_group() as tasks:
        for place, source in enumerate(sources):
            tasks.start_soon(fetch, place, source)
    return [found[place] for place in range(len(sources))]


def _in_words(progress: Progress) -> str:
    count = ""
    if progress.done is not None and progress.total:
        count = f" {100 * progress.done // progress.total} %"
    elif progress.done is not None:
        count = f" {progress.done:,}"
    return f"{progress.step}{count}{f' ({progress.detail})' if progress.detail else ''}"


def _refs(checkouts: Sequence[Checkout]) -> list[CheckoutRef]:
    names: set[str] = set()
    refs: list[CheckoutRef] = []
    for checkout in checkouts:
        name = _unused(checkout.source.suggested_name, names)
        names.add(name)
        refs.append(
            CheckoutRef(
                name=name,
                source=str(checkout.source),
                path=os.fspath(checkout.tree),
                index_path=None if checkout.index is None else os.fspath(checkout.index),
                ref=checkout.ref,
                commit=checkout.commit,
                committed_at=checkout.committed_at,
                fetched_at=checkout.fetched_at,
                link_template=checkout.link_template,
            )
        )
    return refs


def _unused(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _endpoint(model: ModelSettings) -> ModelEndpoint | None:
    if model.base_url is None:
        return None
    return ModelEndpoint(base_url=model.base_url, api_key=model.api_key)
