"""A real hub with a scripted model and a git server, and Debian's Chromium looking at it.

Everything lives as long as one module: Playwright's synchronous interface keeps an event loop in
the thread while it runs, which asynchronous tests of other folders must not meet.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.git_server import GitServer, serve_git
from tests.hub_process import HubProcess, running_hub
from tests.model_server import ModelServer
from tests.repositories import Commit, make_repository

KEY = "sk-the-real-key"
SHOTS = Path(__file__).parents[2] / "test-output" / "browser"
WIDE = (1440, 900)
PHONE = (390, 844)
PATIENCE = 20_000

CART = b'''"""What somebody wants to buy."""


class Cart:
    """Items and their sum."""

    def __init__(self, limit: int = 20) -> None:
        self.items: list[int] = []
        self.limit = limit

    def add(self, price: int) -> None:
        """Add an item, unless the cart is full."""
        if len(self.items) >= self.limit:
            raise ValueError("the cart is full")
        self.items.append(price)
'''
HOSTILE_NAME = b"src/<img src=x onerror=alert(1)>.py"

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Stage:
    """The parts. `shop` is the URL of a repository that is already among the owner's sources."""

    hub: HubProcess
    model: ModelServer
    git: GitServer
    shop: str
    commit: str
    cookie: str


@dataclass
class Person:
    """Somebody signed in, with their own browser; opens pages and notes what went wrong in them."""

    stage: Stage
    context: BrowserContext
    complaints: list[str] = field(default_factory=list[str])
    # Messages that a test brings about on purpose.
    expected: list[str] = field(default_factory=list[str])

    def open(self, path: str = "/") -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        page.goto(self.stage.hub.url + path)
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def left(self) -> list[str]:
        return [text for text in self.complaints if not any(part in text for part in self.expected)]


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    root = tmp_path_factory.mktemp("git")
    files = {
        b"src/cart.py": CART,
        b"README.md": b"# Shop\n",
        b"logo.bin": b"\x00\x01\x02" * 100,
        HOSTILE_NAME: b"print('harmless')\n",
    }
    made = make_repository(root / "shop", [Commit(files, tags=("v1",))])
    with ExitStack() as stack:
        git = stack.enter_context(serve_git(root))
        model = stack.enter_context(ModelServer(key=KEY))
        hub = stack.enter_context(
            running_hub(
                FIRSTHAND_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
                OPENAI_API_KEY=KEY,
                OPENAI_BASE_URL=model.base_url,
                FIRSTHAND_MODEL="openai/test-model",
            )
        )
        cookie = hub.sign_in().partition("=")[2]
        yield Stage(hub, model, git, git.url_of("shop"), made.commits[-1], cookie)


MakePerson = Callable[..., Person]


@pytest.fixture
def person(browser: Browser, stage: Stage) -> Generator[MakePerson]:
    """Make people; at the end of a test no page of theirs may have complained."""
    people: list[Person] = []

    def make(size: tuple[int, int] = WIDE, *, scheme: str = "light", script: bool = True) -> Person:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        context.add_cookies(
            [{"name": "firsthand_session", "value": stage.cookie, "url": stage.hub.url}]
        )
        people.append(Person(stage, context))
        return people[-1]

    yield make
    for one in people:
        one.context.close()
    assert [text for one in people for text in one.left()] == []


@pytest.fixture
def gate() -> Generator[threading.Event]:
    """Where a scripted answer waits; opened at the end whatever happens."""
    event = threading.Event()
    yield event
    event.set()


def add_shop(page: Page, stage: Stage) -> None:
    """Add the shop to the sources, if it is not there, and wait until it is fetched."""
    page.goto(stage.hub.url + "/")
    if page.locator(".row-title", has_text="shop").count() == 0:
        page.fill("#source", stage.shop)
        page.click("#add button[type=submit]")
    page.wait_for_selector(".row .commit")


def ask(page: Page, question: str) -> None:
    """Ask in the page and wait until the question stands there."""
    page.fill("#message", question)
    page.press("#message", "Enter")
    page.wait_for_selector(f".question:has-text({question!r})")


def wait_done(page: Page) -> None:
    """Wait until no answer of the page is under way."""
    page.wait_for_selector('.answer-part[aria-busy="false"]')
    page.wait_for_function("!document.querySelector('.answer-part[aria-busy=\"true\"]')")


def shoot(page: Page, name: str, *, full: bool = False) -> None:
    """Keep a picture for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=full)
