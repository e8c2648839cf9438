"""Feeds: a reader hears of every change, however slow it is, and publishing never waits."""

import threading

import anyio
from anyio.lowlevel import checkpoint

from firsthand.hub.feeds import Feeds
from firsthand.hub.feeds.topics import project_topic, run_topic, thread_topic
from firsthand.hub.ids import ProjectId, RunId, ThreadId

RUN, THREAD = run_topic(RunId("ru_1")), thread_topic(ThreadId("th_1"))
PROJECT = project_topic(ProjectId("pr_1"))


async def test_changes_before_looking_are_heard_once_and_together() -> None:
    feeds = Feeds()
    async with feeds.subscribe([RUN, THREAD]) as reader:
        for _ in range(1000):
            feeds.publish([RUN])
        feeds.publish([THREAD, PROJECT])
        with anyio.fail_after(5):
            assert await reader.changed() == {RUN, THREAD}
        feeds.publish([THREAD])
        with anyio.fail_after(5):
            assert await reader.changed() == {THREAD}


async def test_a_waiting_reader_wakes() -> None:
    feeds = Feeds()
    heard: list[frozenset[str]] = []

    async with feeds.subscribe([RUN]) as reader, anyio.create_task_group() as group:

        async def listen() -> None:
            heard.append(frozenset(await reader.changed()))

        group.start_soon(listen)
        await checkpoint()
        feeds.publish([RUN])
    assert heard == [{RUN}]


async def test_all_readers_of_a_topic_hear_and_others_do_not() -> None:
    feeds = Feeds()
    async with (
        feeds.subscribe([RUN]) as one,
        feeds.subscribe([RUN]) as two,
        feeds.subscribe([PROJECT]) as other,
    ):
        feeds.publish([RUN])
        with anyio.fail_after(5):
            assert await one.changed() == await two.changed() == {RUN}
        with anyio.move_on_after(0) as waited:
            await other.changed()
        assert waited.cancelled_caught


async def test_a_change_between_two_looks_is_not_lost_when_the_wait_is_cancelled() -> None:
    feeds = Feeds()
    async with feeds.subscribe([RUN]) as reader:
        with anyio.move_on_after(0):
            await reader.changed()
        feeds.publish([RUN])
        with anyio.fail_after(5):
            assert await reader.changed() == {RUN}


async def test_another_thread_may_publish() -> None:
    feeds = Feeds()
    async with feeds.subscribe([RUN]) as reader:
        thread = threading.Thread(target=feeds.publish, args=([RUN],))
        thread.start()
        with anyio.fail_after(5):
            assert await reader.changed() == {RUN}
        thread.join()


def test_a_reader_whose_loop_has_ended_does_not_hurt_the_publisher() -> None:
    feeds = Feeds()

    async def leave_without_unsubscribing() -> object:
        subscribed = feeds.subscribe([RUN])
        await subscribed.__aenter__()
        return subscribed

    kept = anyio.run(leave_without_unsubscribing)
    feeds.publish([RUN])
    del kept


async def test_nothing_is_kept_of_readers_that_left() -> None:
    feeds = Feeds()
    async with feeds.subscribe([RUN, THREAD]), feeds.subscribe([RUN]):
        assert feeds.topics() == {RUN, THREAD}
    assert feeds.topics() == frozenset()
