"""Guessing gets slower and slower, and a stranger cannot lock anybody out with it."""

from __future__ import annotations

from api.throttle import FORGIVEN_AFTER_S, FREE_TRIES, MAX_REMEMBERED, Throttle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail_until_refused(throttle: Throttle, address: str, user: str) -> int:
    for _ in range(FREE_TRIES):
        assert throttle.admit(address, user) == 0
    return throttle.admit(address, user)


def test_a_few_slips_cost_nothing_and_then_each_doubles_the_wait() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    waits = [fail_until_refused(throttle, "192.0.2.1", "alice")]
    for _ in range(4):
        clock.now += waits[-1]
        assert throttle.admit("192.0.2.1", "alice") == 0
        waits.append(throttle.admit("192.0.2.1", "alice"))
    assert waits == [1, 2, 4, 8, 16]


def test_an_address_is_slowed_down_whatever_user_it_tries() -> None:
    throttle = Throttle(Clock())
    for number in range(FREE_TRIES):
        assert throttle.admit("192.0.2.1", f"user{number}") == 0
    assert throttle.admit("192.0.2.1", "another") > 0
    assert throttle.admit("192.0.2.2", "another") == 0


def test_a_user_waits_a_minute_at_most_however_many_addresses_guess() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    longest = 0
    for number in range(100):
        wait_s = throttle.admit(f"192.0.2.{number}", "alice")
        longest = max(longest, wait_s)
        clock.now += wait_s
    assert longest == 60


def test_addresses_of_one_ipv6_network_are_one() -> None:
    throttle = Throttle(Clock())
    for number in range(FREE_TRIES):
        assert throttle.admit(f"2001:db8::{number}", f"user{number}") == 0
    assert throttle.admit("2001:db8::ffff", "another") > 0
    assert throttle.admit("2001:db8:0:1::1", "another") == 0


def test_the_right_password_forgives_the_user_and_not_the_address() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FREE_TRIES - 1):
        throttle.admit("192.0.2.1", "alice")
    assert throttle.admit("192.0.2.1", "alice") == 0
    throttle.succeeded("192.0.2.1", "alice")
    assert throttle.admit("192.0.2.1", "bob") == 0
    assert throttle.admit("192.0.2.1", "bob") > 0, "the address has used its free tries"
    assert throttle.admit("192.0.2.2", "alice") == 0


def test_time_forgives() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    assert fail_until_refused(throttle, "192.0.2.1", "alice") > 0
    clock.now += FORGIVEN_AFTER_S + 1
    assert fail_until_refused(throttle, "192.0.2.1", "alice") == 1


def test_a_flood_of_names_does_not_fill_the_memory() -> None:
    throttle = Throttle(Clock())
    for number in range(MAX_REMEMBERED + 100):
        throttle.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"user{number}")
    assert len(throttle._tries) <= MAX_REMEMBERED
