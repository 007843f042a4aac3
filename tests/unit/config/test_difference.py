"""What a reload has to do, from two configurations."""

import pytest

from exporter.config.difference import (
    Difference,
    difference,
    kept_fixed,
    renamed,
    same_login,
)
from exporter.config.model import Config
from exporter.config.server import Server

A, B = {"name": "a", "dsn": "host=a"}, {"name": "b", "dsn": "host=b"}


def config(*servers, **changes):
    return Config.model_validate({"servers": [*servers], **changes})


def test_nothing_changes_between_equal_configurations():
    assert difference(config(A, B), config(B, A)) == Difference()


def test_servers_are_told_apart_by_their_names():
    found = difference(config(A, B), config(B | {"name": "c"}, A))
    assert found == Difference(added=("c",), removed=("b",))


@pytest.mark.parametrize(
    "change",
    [
        {"dsn": "host=other"},
        {"labels": {"env": "prod"}},
        {"polling": {"interval": 5}},
        {"thresholds": {"connections_critical": 0.9}},
        {"provider_reserved": 3},
        {"probe": {"enabled": False}},
    ],
)
def test_a_server_changes_with_any_of_its_own_keys(change):
    assert difference(config(A, B), config(A | change, B)) == Difference(changed=("a",))


@pytest.mark.parametrize(
    "change",
    [
        {"polling": {"interval": 5}},
        {"thresholds": {"connections_critical": 0.9}},
        {"forecast": {"min_used_ratio": 0.5}},
    ],
)
def test_a_servers_own_keys_shield_it_from_the_files(change):
    own = {"polling": {"interval": 1}, "thresholds": {"connections_critical": 0.8}}
    shielded = B | own
    found = difference(config(A, shielded), config(A, shielded, **change))
    assert found.changed == (("a", "b") if "forecast" in change else ("a",))


KEYS = [letter * 32 for letter in "kl"]
HOOK = {"type": "slack", "webhook_url": "https://hooks.example.com/1"}
MEMBERS = {"type": "alertmanager", "urls": ["http://a:9093", "http://b:9093"]}


def pager(name, key=0, **changes):
    return {"name": name, "type": "pagerduty", "routing_key": KEYS[key], **changes}


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ([pager("a")], [pager("b")], {"a": "b"}),
        ([pager("a")], [pager("b", 1)], {}),
        ([pager("a")], [pager("b", url="https://events.eu.pagerduty.com/v2/enqueue")], {}),
        ([pager("a")], [pager("a"), pager("b")], {}),
        ([pager("a"), pager("b")], [pager("b")], {"a": "b"}),
        ([pager("a"), pager("b")], [pager("b"), pager("c")], {"a": "c"}),
        ([pager("a"), pager("b")], [pager("c"), pager("d")], {"a": "c", "b": "d"}),
        ([pager("a"), pager("b")], [pager("c")], {"a": "c", "b": "c"}),
        ([pager("a"), pager("b", 1)], [pager("c", 1), pager("d")], {"a": "d", "b": "c"}),
        ([HOOK | {"name": "a"}], [HOOK | {"name": "b"}], {"a": "b"}),
        ([HOOK | {"name": "a"}], [{"name": "b", "type": "webhook", "url": HOOK["webhook_url"]}],
         {}),
        ([MEMBERS | {"name": "a"}],
         [MEMBERS | {"name": "b", "urls": ["http://b:9093/", "http://c:9093"]}], {"a": "b"}),
    ],
)  # fmt: skip
def test_a_receiver_is_known_by_where_it_tells(old, new, names):
    assert renamed(config(A, receivers=old).receivers, config(A, receivers=new).receivers) == names


def test_a_receiver_whose_key_can_no_longer_be_read_is_gone(tmp_path):
    file = tmp_path / "key"
    file.write_text(KEYS[0])
    old = pager("a", routing_key=None, routing_key_file=str(file))
    before = config(A, receivers=[old]).receivers
    after = config(A, receivers=[pager("b")]).receivers
    assert renamed(before, after) == {"a": "b"}
    file.unlink()
    assert renamed(before, after) == {}


def test_what_is_fixed_at_the_start_is_said_and_kept():
    old, new = config(A), config(B, listen=":1", state_dir="elsewhere", install_id="other")
    assert difference(old, new).restart == ("listen", "state_dir", "install_id")
    kept = kept_fixed(old, new)
    assert difference(old, kept).restart == ()
    assert kept.servers == new.servers


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"labels": {"env": "x"}, "provider_reserved": 2, "stale_after": 1}, True),
        ({"dsn": "host=other"}, False),
    ],
)
def test_a_session_is_kept_unless_the_login_would_be_another(change, same):
    old, new = Server.model_validate(A), Server.model_validate(A | change)
    assert same_login(old, new) is same


def test_another_password_file_is_another_login(tmp_path):
    (tmp_path / "pw").write_text("x")
    new = Server.model_validate(A | {"password_file": str(tmp_path / "pw")})
    assert not same_login(Server.model_validate(A), new)


def test_poolers_are_endpoints_too():
    pooler = {"name": "a", "dsn": "host=a port=6432 dbname=pgbouncer", "server": "a"}
    without, with_one = config(A), config(A, poolers=[pooler])
    assert difference(without, with_one) == Difference(added=("pooler a",))
    assert difference(with_one, without) == Difference(removed=("pooler a",))
    changed = config(A, poolers=[pooler | {"labels": {"env": "prod"}}])
    assert difference(with_one, changed) == Difference(changed=("pooler a",))
