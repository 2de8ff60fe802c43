"""Who asks, and what is theirs to change."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from access.identity import LOCAL, Identity, identity_of, is_administrator
from core.settings import Settings


def test_the_identity_is_read_from_the_requests_state() -> None:
    alice = Identity("user:alice", "user:alice")
    assert identity_of(SimpleNamespace(state=SimpleNamespace(identity=alice))) is alice


@pytest.mark.parametrize(
    "request_",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(state=None),
        SimpleNamespace(state=SimpleNamespace()),
        SimpleNamespace(state=SimpleNamespace(identity=None)),
        SimpleNamespace(state=SimpleNamespace(identity="user:alice")),
    ],
)
def test_a_request_that_passed_no_check_is_nobodys(request_: object) -> None:
    with pytest.raises(LookupError):
        identity_of(request_)


def test_a_job_is_its_owners_and_on_ones_own_machine_everything_is() -> None:
    alice = Identity("user:alice", "ip:192.0.2.1")
    assert alice.may_change("user:alice")
    assert not alice.may_change("user:bob")
    assert not alice.may_change("local")
    assert LOCAL.may_change("user:bob")


@pytest.mark.parametrize(
    ("owner", "may"),
    [
        ("local", True),
        ("user:alice", True),
        ("key:deploy", True),
        ("user:bob", False),
        ("key:alice", False),
        ("visitor:alice", False),
    ],
)
def test_administrators_are_the_local_user_and_those_of_the_setting(owner: str, may: bool) -> None:
    settings = Settings(admins=("alice", "key:deploy"))
    assert is_administrator(Identity(owner, "ip:192.0.2.1"), settings) is may
