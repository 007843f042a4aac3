import pytest

from exporter.snapshot.pool import ClientGroup, Pool, PoolDatabase, PoolStats, PoolUser
from exporter.sources import pgbouncer_rows as rows
from tests.support.poolers import VERSIONS, captured


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_by_the_names_of_its_columns(version):
    pools = rows.values(Pool, captured(version, "POOLS", rows.columns(Pool)))
    app = next(pool for pool in pools if pool.key == ("app", "plain"))
    assert (app.cl_active, app.cl_waiting, app.sv_active, app.pool_mode) == (
        6,
        46,
        5,
        "transaction",
    )
    databases = rows.values(PoolDatabase, captured(version, "DATABASES"))
    found = {each.name: each for each in databases}
    assert found["app"].reserve_pool_size == 1, "reserve_pool until 1.23"
    assert found["app"].addresses == ("127.0.0.1:56016",)
    assert found["appsock"].addresses == ("/run/postgresql:56016",)
    assert (found["app"].max_client_connections is None) == (version == "1.18.0")
    stats = {each.database: each for each in rows.values(PoolStats, captured(version, "STATS"))}
    assert (stats["app"].total_wait_time or 0) > 0
    assert (stats["app"].total_server_assignment_count is None) == (version == "1.18.0")
    assert (stats["app"].served or 0) > 0
    assert rows.lists(captured(version, "LISTS"))["used_clients"] == 55
    facts = rows.facts(version, captured(version, "CONFIG"), captured(version, "USERS"), local=True)
    assert (facts.max_client_conn, facts.max_user_connections) == (100, 0)
    assert facts.users == {}, "nobody has a limit of his own"
    assert not facts.so_reuseport
    assert facts.settings.get("pool_mode", "") == "transaction"
    assert not {"auth_file", "auth_query"} & facts.settings.keys(), "only what doctor looks at"


@pytest.mark.parametrize(("version", "suspended"), [("1.24.1", {"suspended"}), ("1.26.1", set())])
def test_the_state_where_there_is_one(version, suspended):
    found = rows.state(captured(version, "STATE"))
    assert found == {"active": True, "paused": False} | dict.fromkeys(suspended, False)


def test_columns_that_are_new_missing_null_or_nonsense():
    record = {
        "database": b"caf\xe9", "user": b"app", "cl_waiting": b"7", "sv_active": None,
        "maxwait": b"soon", "invented_in_1_99": b"1",
    }  # fmt: skip
    (found,) = rows.values(Pool, [record])
    assert found == Pool("caf\\xe9", "app", cl_waiting=7)
    assert found.used is None
    assert found.wait_seconds is None
    assert rows.lists([{"list": b"pools", "items": None}, {"items": b"1"}, {}]) == {"": 1}


def test_numbers_as_numeric_columns_have_them():
    (stats,) = rows.values(PoolStats, [{"database": b"a", "total_wait_time": b"938942580.0"}])
    assert stats.total_wait_time == 938942580


def test_only_users_with_limits_of_their_own_are_kept():
    config = [
        {"key": b"max_user_connections", "value": b"7"},
        {"key": b"max_user_client_connections", "value": b"0"},
        {"key": b"so_reuseport", "value": b"1"},
    ]
    columns = ("name", "pool_size", "reserve_pool_size", "max_user_connections",
               "max_user_client_connections")  # fmt: skip
    users = [
        dict(zip(columns, values, strict=True))
        for values in (
            (b"usual", b"", b"", b"7", b"0"),
            (b"bi", b"", b"", b"5", b"0"),
            (b"batch", b"2", b"", b"7", b"0"),
        )
    ]
    facts = rows.facts("1.24.1", config, [*users, {"name": b"from 1.18"}], local=False)
    assert facts.users == {
        "bi": PoolUser("bi", None, None, 5, 0),
        "batch": PoolUser("batch", 2, None, 7, 0),
    }
    assert facts.so_reuseport


@pytest.mark.parametrize(("version", "believed"), [("1.25.2", False), ("1.26.1", True)])
def test_sizes_that_repeat_the_row_above_are_not_believed_before_1_26(version, believed):
    """What 1.24.1 answered with `postgres = pool_size=2` in [users]; stats has no size."""
    users = [
        {"name": name, "pool_size": size, "reserve_pool_size": b"        1" if size else b""}
        for name, size in ((b"app", b""), (b"postgres", b"        2"), (b"stats", b"        2"))
    ]
    found = rows.facts(version, [], users, local=True).users
    assert found["postgres"] == PoolUser("postgres", 2, 1)
    assert ("stats" in found) == believed
    assert "app" not in found


def test_clients_are_counted():
    found = rows.clients(captured("1.18.0", "CLIENTS", rows.CLIENT_COLUMNS))
    assert ClientGroup("app", "plain", "lambda-orders", "active", 1) in found
    assert sum(each.clients for each in found) == 9
