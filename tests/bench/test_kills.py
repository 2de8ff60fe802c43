from __future__ import annotations

import random
from collections import Counter

from bench.kills import SOONEST_S, plan_kills


def test_half_of_the_kills_hit_workers_and_half_the_service() -> None:
    plan = plan_kills(100, 6.0, random.Random(1))
    assert Counter(kill.target for kill in plan) == {"worker": 50, "parent": 50}
    assert Counter(kill.target for kill in plan[:50]) != {"worker": 50}, "in random order"


def test_workers_die_in_every_way_and_the_service_of_sigkill() -> None:
    plan = plan_kills(100, 6.0, random.Random(1))
    assert {kill.how for kill in plan if kill.target == "worker"} == {
        "SIGKILL",
        "SIGSEGV",
        "SIGSTOP",
    }
    assert {kill.how for kill in plan if kill.target == "parent"} == {"SIGKILL"}
    assert all((kill.held_s > 0.0) == (kill.how == "SIGSTOP") for kill in plan)


def test_kills_come_at_random_distances_around_their_mean() -> None:
    distances = [kill.after_s for kill in plan_kills(1000, 6.0, random.Random(1))]
    assert min(distances) >= SOONEST_S
    assert min(distances) < 1.0
    assert max(distances) > 11.0
    assert 5.5 < sum(distances) / len(distances) < 6.5


def test_the_same_seed_plans_the_same_kills() -> None:
    assert plan_kills(20, 3.0, random.Random(7)) == plan_kills(20, 3.0, random.Random(7))
    assert plan_kills(20, 3.0, random.Random(7)) != plan_kills(20, 3.0, random.Random(8))


def test_kills_in_no_time_still_keep_a_distance() -> None:
    assert all(kill.after_s >= SOONEST_S for kill in plan_kills(10, 0.0, random.Random(1)))
