"""Guessing passwords becomes slow; knowing one stays quick."""

import pytest

from firsthand.hub.errors import NotSignedIn, TooMany
from firsthand.hub.identity.slow_down import SlowDown
from tests.world import PASSWORD, StandingClock, World


@pytest.mark.requirement("HUB-2")
async def test_who_guesses_must_wait_and_others_need_not(world: World) -> None:
    for _ in range(5):
        with pytest.raises(NotSignedIn):
            await world.identity.sign_in("member", "a guess", address="10.0.0.1")
    with pytest.raises(TooMany) as caught:
        await world.identity.sign_in("member", PASSWORD, address="10.0.0.1")
    assert caught.value.hint is not None
    assert "Wait" in caught.value.hint
    assert (
        await world.identity.sign_in("member", PASSWORD, address="10.0.0.2")
    ).principal == world.member
    world.clock.advance(seconds=2)
    await world.identity.sign_in("member", PASSWORD, address="10.0.0.1")


def test_the_wait_grows_and_is_bounded() -> None:
    clock = StandingClock()
    slow = SlowDown(clock)
    waited = 0.0
    for _ in range(60):
        while True:
            try:
                slow.begin("somebody", "here")
                break
            except TooMany:
                clock.advance(seconds=1)
                waited += 1
    assert 2000 < waited < 60 * 15 * 60
    clock.advance(minutes=16)
    slow.begin("somebody", "here")
    slow.begin("somebody", "here")


def test_an_address_that_tries_many_logins_must_wait() -> None:
    slow = SlowDown(StandingClock())
    for number in range(30):
        slow.begin(f"login{number}", "here")
    with pytest.raises(TooMany):
        slow.begin("another", "here")
    slow.begin("another", "elsewhere")


def test_a_login_tried_from_many_addresses_must_wait() -> None:
    slow = SlowDown(StandingClock())
    for number in range(100):
        slow.begin("owner", f"10.0.0.{number}")
    with pytest.raises(TooMany):
        slow.begin("owner", "192.0.2.1")


def test_success_is_not_held_against_anyone() -> None:
    slow = SlowDown(StandingClock())
    for _ in range(500):
        slow.begin("owner", "here")
        slow.succeeded("owner", "here")
    slow.begin("owner", "here")


def test_memory_is_bounded() -> None:
    slow = SlowDown(StandingClock())
    for number in range(10_000):
        slow.begin(f"login{number}", f"address{number}")
    assert slow.remembered() <= 20_000


async def test_a_login_too_long_to_exist_is_refused_and_not_remembered(world: World) -> None:
    for number in range(40):
        with pytest.raises(NotSignedIn):
            await world.identity.sign_in("x" * 255 + str(number), "a guess", address="10.0.0.1")
    await world.identity.sign_in("member", PASSWORD, address="10.0.0.1")
