"""How the pages look and can be used: light and dark, wide and narrow, by keyboard, without script.

The pictures go to `test-output/browser/` for people to look at.
"""

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import (
    PHONE,
    WIDE,
    MakePerson,
    Stage,
    add_shop,
    ask,
    shoot,
    wait_done,
)
from tests.model_server import Call, Reply, Say

_LONG = (
    "A cart takes **20 items** [shop/src/cart.py:7-9].\n\n"
    "```python\n"
    + "x = 'a line that is far longer than any phone is wide, so it must scroll' " * 3
    + "\n```\n\n"
    + "Some more words to read, and to scroll past. " * 60
    + "\n\nA word_"
    + "without_an_end_" * 20
    + " [shop/src/cart.py:11-15]."
)
# Ratio of contrast by WCAG 2.2, of every element that has text of its own.
_CONTRAST = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = rgba(getComputedStyle(one).backgroundColor);
      if (color[3] > 250) return color;
    }
    return rgba('Canvas');
  };
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const seen = element.checkVisibility({checkOpacity: true});
    if (!own || !seen || element.closest('.sr, [aria-hidden=true]')) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const text = element.textContent.trim().slice(0, 30);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.className} ${text}`);
  }
  return poor;
}
"""


def _is_as_wide_as_its_window(page: Page) -> bool:
    return bool(
        page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    )


@pytest.mark.requirement("WEB-9")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("size", "width"), [(WIDE, "wide"), (PHONE, "phone")])
def test_pages_fit_and_can_be_read(
    person: MakePerson, stage: Stage, scheme: str, size: tuple[int, int], width: str
) -> None:
    somebody = person(size, scheme=scheme)
    page = somebody.open("/")
    add_shop(page, stage)
    name = f"{width}-{scheme}"
    assert page.evaluate(_CONTRAST) == []
    assert _is_as_wide_as_its_window(page)
    shoot(page, f"look-home-{name}", full=True)
    stage.model.script(
        Reply(Call("read_file", {"path": "shop/src/cart.py"})), Reply(Say(_LONG, piece=400))
    )
    ask(page, f"How many items fit, {name}?")
    wait_done(page)
    assert page.evaluate(_CONTRAST) == []
    assert _is_as_wide_as_its_window(page)
    shoot(page, f"look-thread-{name}")
    page.locator(".cite:visible").first.click()
    page.locator(".source .line.on:visible").first.wait_for()
    shoot(page, f"look-source-{name}")
    assert page.evaluate(_CONTRAST) == []
    for path, label in (("/settings", "settings"), ("/welcome", "welcome")):
        page.goto(stage.hub.url + path)
        assert page.evaluate(_CONTRAST) == []
        assert _is_as_wide_as_its_window(page)
        shoot(page, f"look-{label}-{name}")


@pytest.mark.requirement("WEB-9")
def test_a_question_is_asked_and_a_source_opened_by_keyboard_alone(
    person: MakePerson, stage: Stage
) -> None:
    page = person().open("/")
    add_shop(page, stage)
    page.locator("main").focus()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "message"
    stage.model.script(
        Reply(Call("read_file", {"path": "shop/src/cart.py"})),
        Reply(Say("Twenty [shop/src/cart.py:7-9].")),
    )
    page.keyboard.type("By keyboard?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".turn")
    wait_done(page)
    page.locator(".answer .cite").focus()
    page.keyboard.press("Enter")
    page.locator(".source .line.on").first.wait_for(state="visible")
    assert page.evaluate("document.activeElement.classList.contains('source')")


@pytest.mark.requirement("WEB-9")
def test_on_a_phone_the_threads_are_a_drawer_and_the_box_stays_at_the_bottom(
    person: MakePerson, stage: Stage
) -> None:
    page = person(PHONE).open("/")
    add_shop(page, stage)
    stage.model.script(Reply(Say(_LONG, piece=400)))
    ask(page, "Is there room?")
    wait_done(page)
    page.evaluate("scrollTo(0, 0)")
    box = page.locator(".dock").bounding_box()
    assert box is not None
    assert round(box["y"] + box["height"]) == PHONE[1]
    assert not page.locator("#rail").is_visible()
    page.get_by_role("button", name="Threads").click()
    page.locator("#rail").get_by_text("Is there room?").wait_for()
    shoot(page, "drawer-phone-light")
    page.keyboard.press("Escape")
    page.locator("#rail").wait_for(state="hidden")


def test_without_script_pages_show_their_content_and_forms_work(
    person: MakePerson, stage: Stage
) -> None:
    add_shop(person().open("/"), stage)
    somebody = person(script=False)
    somebody.expected.append("422")
    page = somebody.open("/")
    stage.model.script(
        Reply(Call("read_file", {"path": "shop/src/cart.py"})),
        Reply(Say("Twenty [shop/src/cart.py:7-9].")),
    )
    page.fill("#message", "Without script?")
    page.click("#ask button[type=submit]")
    assert "/threads/" in page.url
    page.reload()
    while page.locator('[aria-busy="true"]').count():
        page.reload()
    assert "Twenty" in page.locator(".answer").inner_text()
    page.locator(".source summary").click()
    assert page.locator(".source .line.on").count() == 3
    page.goto(stage.hub.url + "/")
    page.fill("#source", "ssh://git@example.org/x.git")
    page.click("#add button[type=submit]")
    assert page.locator("#add-problem .problem").is_visible()
    assert page.input_value("#source") == "ssh://git@example.org/x.git"


def test_somebody_who_is_not_signed_in_comes_back_to_the_page_they_wanted(
    person: MakePerson, stage: Stage
) -> None:
    owner = person().open("/settings")
    owner.fill("#login", "olive")
    if owner.locator("#current").count():
        owner.fill("#current", "a rather long password")
    owner.fill("#password", "a rather long password")
    owner.get_by_role("button", name="Save").click()
    owner.wait_for_selector(".problem.good")
    visitor = person()
    visitor.expected.append("401")
    visitor.context.clear_cookies()
    page = visitor.open("/settings")
    assert "/sign-in" in page.url
    shoot(page, "sign-in-wide-light")
    page.fill("#login", "olive")
    page.fill("#password", "not the password")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".problem")
    assert page.input_value("#login") == "olive"
    page.fill("#password", "a rather long password")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/settings")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")


def test_what_does_not_exist_says_so_with_a_way_back(person: MakePerson, stage: Stage) -> None:
    visitor = person()
    visitor.expected.append("404")
    page = visitor.open("/threads/th_nothing")
    assert page.locator(".code-number").inner_text() == "404"
    shoot(page, "not-found-wide-light")
    page = visitor.open("/nowhere/at/all")
    assert page.locator(".code-number").inner_text() == "404"
    page = visitor.open("/read/0123456789abcdef/x.py")
    assert page.locator(".code-number").inner_text() == "404"
    page.get_by_text("Back to your questions").click()
    page.wait_for_selector("#message")
