"""Who may see what, which requests are refused, and what the live connection sends."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from sqlalchemy import update

from firsthand.hub.db.schema import messages
from firsthand.hub.identity import store as identity_store
from firsthand.hub.ids import ThreadId, hash_token
from firsthand.hub.threads.run import Run
from firsthand.protocol.events import Citation, CitationsChecked, TextDelta, Verdict
from tests.feature.hub.web.site import COMMIT, META, ORIGIN, Site, make_site
from tests.hub_world import MEMBER, OWNER, STRANGER, World
from tests.scripted_agent import Gate, done

_TEXT = "It is here [repo/src/a.py:2-3], and not there [repo/src/none.py:1-1]."


def _citation(path: str, lines: tuple[int, int], verdict: Verdict) -> Citation:
    start, end = lines
    return Citation(
        resource="repo",
        commit=COMMIT,
        path=path,
        start_line=start,
        end_line=end,
        url=None,
        verdict=verdict,
    )


_CITED = CitationsChecked(
    citations=[
        _citation("src/a.py", (2, 3), Verdict.VERIFIED),
        _citation("src/none.py", (1, 1), Verdict.MISSING),
    ]
)


@pytest.fixture
async def site(world: World, tmp_path: Path) -> Site:
    tree = tmp_path / "tree"
    (tree / "src").mkdir(parents=True)
    (tree / "src" / "a.py").write_text("one\ntwo = '<b>'\nthree\nfour\n")
    return await make_site(world, tree)


async def _answered(site: Site, question: str = "Where is it?") -> Run:
    site.world.agent.script = [META, TextDelta(delta=_TEXT), _CITED, done(_TEXT)]
    run = await site.world.ask.ask(OWNER, question)
    return await site.world.ended(run)


async def test_pages_send_those_who_are_not_signed_in_to_the_door(site: Site) -> None:
    answer = await site.get("/threads/th_1?x=y")
    assert answer.status == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fthreads%2Fth_1%3Fx%3Dy"
    assert (await site.get("/sign-in")).status == 200
    assert (await site.get("/live?view=home")).status == 401
    assert (await site.post("/forms/ask", {"message": "x"})).headers["location"] == "/sign-in"


async def test_a_look_at_the_owners_link_does_not_use_it_up(site: Site) -> None:
    now = site.world.clock()
    await site.world.db.write(
        lambda conn: identity_store.add_link(conn, hash_token("link"), now, timedelta(hours=1))
    )
    for _ in range(2):
        looked = await site.head("/welcome?token=link")
        assert "set-cookie" not in looked.headers
    used = await site.get("/welcome?token=link")
    assert used.headers["location"] == "/welcome"
    assert "firsthand_session=" in used.headers["set-cookie"]
    assert (await site.get("/welcome?token=link")).status == 401


@pytest.mark.requirement("WEB-4")
async def test_an_answer_shows_its_sources_and_they_can_be_read(site: Site) -> None:
    run = await _answered(site)
    page = (await site.get(f"/threads/{run.thread_id}", OWNER)).text
    assert f'id="source-{run.id}-1"' in page
    assert page.count('class="line on"') == 2
    assert ">two</span>" in page
    assert "&lt;b&gt;" in page
    assert "missing" in page
    address = f"/read/token/src/a.py?lines=2-3&answer={run.id}"
    assert address.replace("&", "&amp;") in page
    file = await site.get(address, OWNER)
    assert file.status == 200
    assert file.text.count('class="line on"') == 2
    assert COMMIT in file.text
    assert "https://host.example/b/src/a.py#L2-L3" in file.text


@pytest.mark.requirement("HUB-3")
async def test_what_is_another_persons_does_not_exist(site: Site) -> None:
    run = await _answered(site)
    paths = [
        f"/threads/{run.thread_id}",
        f"/answers/{run.id}.md",
        f"/read/token/src/a.py?answer={run.id}",
        "/read/token/src/a.py",
        f"/live?view=thread:{run.thread_id}",
    ]
    for path in paths:
        assert (await site.get(path, STRANGER)).status == 404, path
    # Without the answer by which it may be read, a checkout is nothing even to its reader.
    assert (await site.get("/read/token/src/a.py", OWNER)).status == 404
    for operation in ("stop", "retry"):
        answer = await site.post(f"/forms/runs/{run.id}/{operation}", who=STRANGER)
        assert answer.status == 404
    asked = {"message": "Mine?", "thread": run.thread_id}
    assert (await site.post("/forms/ask", asked, STRANGER)).status == 404
    assert "Where is it?" not in (await site.get("/", MEMBER)).text


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": ORIGIN}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": ORIGIN}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
async def test_forms_are_taken_from_our_own_pages_only(
    site: Site, headers: Mapping[str, str], *, allowed: bool
) -> None:
    answer = await site.post(
        "/forms/resources/sync",
        {"name": "no such"},
        OWNER,
        {"origin": "", **headers} if "origin" in headers else headers,
    )
    assert answer.status == (404 if allowed else 403)


async def test_every_answer_carries_the_headers_that_keep_scripts_out(site: Site) -> None:
    for path in ("/", "/sign-in", "/static/app.css"):
        headers = (await site.get(path, OWNER)).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert (await site.get("/", OWNER)).headers["cache-control"] == "no-store"
    versioned = await site.get("/static/app.css?v=1", OWNER)
    assert "immutable" in versioned.headers["cache-control"]


async def test_no_page_holds_script_or_style_of_its_own(site: Site) -> None:
    run = await _answered(site)
    for path in ("/", f"/threads/{run.thread_id}", "/settings", "/sign-in"):
        page = (await site.get(path, OWNER)).text
        assert "<style" not in page
        assert " style=" not in page
        assert page.count("<script") == page.count("<script src=")
        assert " onclick=" not in page


async def test_asking_twice_with_one_form_asks_once(site: Site) -> None:
    asked = {"message": "Once?", "key": "one-key"}
    first = await site.post("/forms/ask", asked, OWNER)
    again = await site.post("/forms/ask", asked, OWNER)
    assert first.status == again.status == 303
    assert first.headers["location"] == again.headers["location"]


async def test_what_went_wrong_with_a_question_is_said_beside_it(site: Site) -> None:
    answer = await site.post("/forms/ask", {"message": "x" * 100_001}, OWNER)
    assert answer.status == 422
    assert "100000 characters" in answer.text.replace(",", "")
    assert "x" * 100_001 in answer.text


async def test_an_instance_move_that_is_not_allowed_says_why(site: Site) -> None:
    answer = await site.post("/forms/instance/stop", who=OWNER)
    assert answer.status == 409
    fragment = await site.post(
        "/forms/instance/stop",
        who=OWNER,
        headers={"sec-fetch-site": "same-origin", "hx-request": "true"},
    )
    assert fragment.status == 409
    assert fragment.text.startswith('<div class="problem">')
    assert (await site.post("/forms/instance/explode", who=OWNER)).status == 404


@pytest.mark.requirement("WEB-1", "WEB-2")
async def test_a_live_view_begins_whole_and_sends_only_what_differs(site: Site) -> None:
    gate = Gate()
    site.world.agent.script = [
        META,
        TextDelta(delta="One "),
        gate,
        TextDelta(delta="two."),
        done("One two."),
    ]
    run = await site.world.ask.ask(OWNER, "Count?")
    await site.world.until_text(run.id, "One ")
    async with site.live(f"thread:{run.thread_id}", OWNER) as events:
        assert (await events.next()).event == "firsthand:version"
        whole = await events.until("<p>One")
        for name in ("status-line", "instance", "threads", "turns"):
            assert f'<hx-partial id="{name}" hx-swap="outerMorph">' in whole.data
        gate.opened.set()
        patch = await events.until("<p>One two.")
        assert f'<hx-partial id="answer-{run.id}"' in patch.data
        assert '<hx-partial id="turns"' not in patch.data
    async with site.live(f"thread:{run.thread_id}", OWNER) as events:
        await events.until("One two.")


async def test_a_live_view_shows_a_new_turn_and_a_new_thread(site: Site) -> None:
    run = await _answered(site)
    async with (
        site.live(f"thread:{run.thread_id}", OWNER) as thread,
        site.live("home", OWNER) as home,
        site.live("home", STRANGER) as strangers,
    ):
        await thread.until("Where is it?")
        await home.until("Where is it?")
        await strangers.until('id="resources"')
        gate = Gate()
        site.world.agent.script = [META, gate, TextDelta(delta="Then."), done("Then.")]
        more = await site.world.ask.ask(OWNER, "And then?", thread_id=ThreadId(run.thread_id))
        await thread.until("And then?")
        await home.until("answering")
        gate.opened.set()
        await site.world.ended(more)
        await thread.until("<p>Then.")
        with anyio.move_on_after(0.2) as nothing:
            await strangers.next()
        assert nothing.cancelled_caught


async def test_a_live_view_does_not_read_finished_answers_again(site: Site) -> None:
    run = await _answered(site)
    gate = Gate()
    site.world.agent.script = [META, gate, TextDelta(delta="Then."), done("Then.")]
    async with site.live(f"thread:{run.thread_id}", OWNER) as thread:
        await site.world.ask.ask(OWNER, "And then?", thread_id=ThreadId(run.thread_id))
        await thread.until("And then?")
        with anyio.fail_after(20):
            await gate.reached.wait()
        # What cannot be read, and is not read, does no harm.
        unreadable = update(messages).where(messages.c.id == run.answer_id).values(parts="?")
        await site.world.db.write(lambda c: c.execute(unreadable).rowcount)
        gate.opened.set()
        await thread.until("<p>Then.")


async def test_a_live_view_ends_when_its_reader_leaves(site: Site) -> None:
    async with site.live("home", OWNER) as events:
        await events.next()
    # Leaving waits for the connection's task: were it to stay, the test would not end.
