"""The main job in the browser: add a source, ask, watch the answer come, follow its citations."""

import threading

import pytest

from tests.browser.conftest import MakePerson, Stage, add_shop, ask, shoot, wait_done
from tests.model_server import Call, Refusal, Reply, Say, Think, Wait

_ANSWER = (
    "A cart takes **20 items** at most [shop/src/cart.py:7-9]. One more raises `ValueError`"
    " [shop/src/cart.py:11-15].\n\n```python\nif len(self.items) >= self.limit:\n"
    '    raise ValueError("the cart is full")\n```\n\n| limit | error |\n|---|---|\n| 20 | yes |\n'
)


def _read() -> Reply:
    return Reply(Think("Let me look."), Call("read_file", {"path": "shop/src/cart.py"}))


@pytest.mark.requirement("WEB-5", "WEB-8")
def test_a_repository_is_added_and_the_instance_is_set_up_beside_the_question_box(
    person: MakePerson, stage: Stage
) -> None:
    somebody = person()
    page = somebody.open("/")
    assert page.locator("#message").is_visible()
    add_shop(page, stage)
    row = page.locator(".row", has_text="shop")
    assert row.locator(".commit").inner_text() == stage.commit[:7]
    assert row.locator(".ref").inner_text() == "main"
    page.wait_for_selector("#instance .word.good, #instance .word.idle")
    # What can be added, and what can be read, change with the list, and ticks are kept.
    page.fill("#source", stage.shop)
    page.fill("#name", "second")
    page.fill("#ref", "v1")
    page.click("#add button[type=submit]")
    page.locator(".scope input[value=shop]").check()
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator(".row", has_text="second").locator(".ref").wait_for()
    assert page.input_value("#source") == ""
    assert page.locator(".scope input[value=shop]").is_checked()
    page.get_by_role("button", name="Remove second").click()
    page.locator(".scope").wait_for(state="detached")
    shoot(page, "home-wide-light", full=True)


@pytest.mark.requirement("WEB-8")
def test_what_is_wrong_with_a_source_is_said_where_it_was_typed(
    person: MakePerson, stage: Stage
) -> None:
    somebody = person()
    somebody.expected.append("422")
    page = somebody.open("/")
    page.fill("#source", "ssh://git@example.org/x.git")
    page.click("#add button[type=submit]")
    problem = page.locator("#add-problem .problem")
    problem.wait_for()
    assert "https" in problem.inner_text().lower()
    assert page.input_value("#source") == "ssh://git@example.org/x.git"
    page.fill("#source", stage.git.url_of("nowhere"))
    page.click("#add button[type=submit]")
    failed = page.locator(".row", has_text="nowhere").locator(".problem")
    failed.wait_for()
    assert failed.inner_text().strip()
    assert page.locator("#add-problem .problem").count() == 0
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator(".row", has_text="nowhere").get_by_title("Remove").click()
    page.locator(".row", has_text="nowhere").wait_for(state="detached")


@pytest.mark.requirement("WEB-6", "WEB-7", "WEB-4")
def test_an_answer_streams_with_its_work_and_its_citations_open_the_lines(
    person: MakePerson, stage: Stage, gate: threading.Event
) -> None:
    page = person().open("/")
    add_shop(page, stage)
    stage.model.script(_read(), Reply(Say(_ANSWER[:90]), Wait(gate), Say(_ANSWER[90:])))
    ask(page, "How many items fit into a cart?")
    page.wait_for_selector(".answer strong:has-text('20 items')")
    assert page.locator('.answer-part[aria-busy="true"]').count() == 1
    # Half of a citation is not shown; a whole one is a chip at once.
    assert "[shop" not in page.locator(".answer").inner_text()
    page.locator(".turn-actions").get_by_text("Stop").wait_for()
    details = page.locator(".work-line > details")
    details.locator("summary").first.click()
    gate.set()
    wait_done(page)
    page.locator("#announce", has_text="The answer is complete.").wait_for(state="attached")
    # What the reader unfolded stayed unfolded while patches came in.
    assert details.evaluate("element => element.open")
    assert "shop/src/cart.py" in page.locator(".calls").inner_text()
    assert page.locator(".work .what").first.inner_text() == "Read 1 file"
    assert page.locator(".answer .cite").all_inner_texts() == ["1", "2"]
    assert page.locator(".answer pre .nb, .answer pre .k").count() > 0
    assert page.locator(".answer table td").first.inner_text() == "20"
    source = page.locator(".source").nth(1)
    assert "src/cart.py:11\N{EN DASH}15" in source.inner_text()
    assert stage.commit[:7] in source.inner_text()
    assert "read" in source.locator(".verdict.good").inner_text()
    page.locator(".answer .cite").nth(1).click()
    marked = source.locator(".line.on")
    assert marked.count() == 5
    assert "def add" in marked.first.inner_text()
    assert "lit" in (page.locator(".answer .cite").nth(1).get_attribute("class") or "")
    shoot(page, "thread-wide-light", full=True)
    source.get_by_text("Whole file").click()
    page.wait_for_selector(".file .line.on")
    assert page.locator(".file .line.on").count() == 5
    assert stage.commit[:7] in page.locator(".file-head").inner_text()
    shoot(page, "read-wide-light", full=True)


@pytest.mark.requirement("WEB-7")
def test_a_follow_up_needs_no_new_page_and_an_answer_can_be_stopped(
    person: MakePerson, stage: Stage, gate: threading.Event
) -> None:
    page = person().open("/")
    add_shop(page, stage)
    stage.model.script(Reply(Say("It holds prices.")))
    ask(page, "What does a cart hold?")
    wait_done(page)
    page.evaluate("window.isTheSamePage = true")
    stage.model.script(Reply(Say("Because "), Wait(gate), Say("never said")))
    ask(page, "And why?")
    page.wait_for_selector(".turn:nth-of-type(2) .answer:has-text('Because')")
    page.locator(".turn-actions").get_by_text("Stop").click()
    page.wait_for_selector(".problem.calm:has-text('Stopped')")
    assert page.evaluate("window.isTheSamePage") is True
    assert page.input_value("#message") == ""
    assert "Because" in page.locator(".answer").nth(1).inner_text()
    stage.model.script(Reply(Say("Because somebody pays.")))
    page.locator(".turn").nth(1).get_by_text("Ask again").first.click()
    page.wait_for_selector(".answer:has-text('somebody pays')")
    wait_done(page)
    assert page.locator(".turn").count() == 3


@pytest.mark.requirement("WEB-7")
def test_a_failed_answer_says_why_and_offers_to_ask_again(person: MakePerson, stage: Stage) -> None:
    page = person().open("/")
    add_shop(page, stage)
    gate = threading.Event()

    def refuse(_: object) -> Refusal:
        assert gate.wait(20)
        return Refusal(401, "no such key")

    stage.model.script(refuse)
    ask(page, "Does it fail?")
    page.wait_for_selector(".answer-part[aria-busy='true']", state="attached")
    gate.set()
    problem = page.locator(".answer-part .problem")
    problem.wait_for()
    assert problem.inner_text().strip()
    assert page.locator("#announce").inner_text() == ""
    shoot(page, "thread-failed-wide-light")
    stage.model.script(Reply(Say("Not now.")))
    problem.get_by_text("Ask again").click()
    page.wait_for_selector(".answer:has-text('Not now')")
    wait_done(page)


@pytest.mark.requirement("WEB-6")
def test_hostile_markup_is_inert_wherever_it_comes_from(person: MakePerson, stage: Stage) -> None:
    page = person().open("/")
    add_shop(page, stage)
    name = "src/<img src=x onerror=alert(1)>.py"
    hostile = (
        "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">\n\n"
        "[go](javascript:alert(1)) ![pixel](https://tracker.example/p.png) "
        f"[shop/{name}:1-1]\n\n```<b>\n</code></pre><script>document.title='taken'</script>\n```\n"
    )
    stage.model.script(Reply(Call("read_file", {"path": f"shop/{name}"})), Reply(Say(hostile)))
    ask(page, "<img src=x onerror=\"document.title='taken'\">")
    wait_done(page)
    page.locator(".work-line summary").first.click()
    assert page.title() != "taken"
    assert "<script>" in page.locator(".answer").inner_text()
    inside = "main img, .answer script, main [onerror], .rail img"
    assert page.locator(inside).count() == 0
    assert page.locator("a[href^='javascript:']").count() == 0
    page.reload()
    assert page.title() != "taken"
    assert page.locator(inside).count() == 0
