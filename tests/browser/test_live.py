"""Every open page shows the same, and catches up by itself whatever happened meanwhile."""

import threading

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import MakePerson, Stage, add_shop, ask, wait_done
from tests.model_server import Reply, Say, Wait

_WORDS = "One two three four five six seven eight nine ten. "


def _answer(page: Page) -> str:
    return page.locator(".answer").last.inner_text()


@pytest.mark.requirement("WEB-1", "WEB-2")
def test_tabs_and_browsers_show_the_same_and_a_reload_in_the_middle_loses_nothing(
    person: MakePerson, stage: Stage, gate: threading.Event
) -> None:
    somebody, elsewhere = person(), person()
    page = somebody.open("/")
    add_shop(page, stage)
    stage.model.script(Reply(Say(_WORDS * 3), Wait(gate), Say("The end.")))
    ask(page, "Can you count?")
    path = page.url.removeprefix(stage.hub.url)
    tab, browser = somebody.open(path), elsewhere.open(path)
    for view in (page, tab, browser):
        view.wait_for_function("document.querySelector('.answer').innerText.trim().length >= 140")
    assert _answer(page) == _answer(tab) == _answer(browser)
    tab.reload()
    assert len(_answer(tab).strip()) >= 140
    gate.set()
    for view in (page, tab, browser):
        view.wait_for_selector(".answer:has-text('The end.')")
        wait_done(view)
    whole = (_WORDS * 3 + "The end.").strip()
    assert [_answer(view).strip() for view in (page, tab, browser)] == [whole] * 3


def test_the_list_of_threads_and_the_sources_are_current_in_every_tab(
    person: MakePerson, stage: Stage
) -> None:
    somebody = person()
    page = somebody.open("/")
    add_shop(page, stage)
    other = somebody.open("/")
    stage.model.script(Reply(Say("Yes.")))
    ask(page, "Is this seen elsewhere?")
    other.wait_for_selector(".threads a:has-text('Is this seen elsewhere?')")
    wait_done(page)


@pytest.mark.requirement("WEB-3")
def test_an_open_tab_survives_a_killed_hub_and_sees_the_answer_end(
    person: MakePerson, stage: Stage, gate: threading.Event
) -> None:
    somebody = person()
    # What a browser says when nobody answers.
    somebody.expected += [
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED",
        "ERR_CONNECTION_RESET",
    ]
    somebody.expected += ["network error", "Failed to fetch", "ERR_EMPTY_RESPONSE"]
    page = somebody.open("/")
    add_shop(page, stage)
    stage.model.script(Reply(Say("Before. "), Wait(gate), Say("lost")))
    ask(page, "Does it survive?")
    page.wait_for_selector(".answer:has-text('Before.')")
    page.evaluate("window.isTheSamePage = true")
    page.fill("#message", "a thought that is not sent yet")
    stage.hub.kill()
    page.wait_for_selector("#connection:not([hidden])")
    stage.model.script(Reply(Say("After.")))
    stage.hub.start()
    page.wait_for_selector("#connection", state="hidden")
    page.wait_for_selector(".answer:has-text('After.')", timeout=60_000)
    wait_done(page)
    assert page.evaluate("window.isTheSamePage") is True
    assert page.input_value("#message") == "a thought that is not sent yet"
    assert _answer(page).split() == ["Before.", "After."]
