"""`pgheadroom check` of a server and the PgBouncer in front of it."""

from exporter.check import CRITICAL, OK, WARNING, check, worst
from exporter.config.model import Config
from tests.support.pgbouncer import leads_to, looped

SUITE = "trixie"


def configured(server, pooler, **changes):
    """One server, and one pooler in front of it."""
    return Config.model_validate(
        {
            "servers": [{"name": "prod", "dsn": server.dsn()}],
            "poolers": [{"name": "pgb", "server": "prod", "dsn": pooler.dsn()} | changes],
        }
    )


@looped
async def test_a_pooler_is_judged_beside_its_server(postgres16, start_pgbouncer):
    lines = {"app": leads_to(postgres16, pool_size=2)}
    pooler = start_pgbouncer(SUITE, lines, {"pool_mode": "session"})
    config = configured(
        postgres16, pooler, probe={"credentials": {"dsn": pooler.dsn("app", "postgres")}}
    )
    server, quiet = await check(config)
    assert (server.name, quiet.name, quiet.server) == ("prod", "pgb", "prod")
    assert (quiet.code, quiet.findings) == (OK, ())
    assert quiet.probe.startswith("a new client connects")
    with pooler.clients(2) as clients:
        for client in clients:
            client.execute("select 1")
        _, full = await check(configured(postgres16, pooler))
    assert [each.alertname for each in full.findings] == ["PoolSaturated"]
    assert (full.code, full.situation.arithmetic.split(",")[0]) == (
        WARNING,
        "pool app/postgres: 2 of 2 server connections",
    )


@looped
async def test_pools_that_could_use_up_the_server_are_told_of_the_server(
    postgres16, start_pgbouncer
):
    pooler = start_pgbouncer(SUITE, {"app": leads_to(postgres16, pool_size=500)})
    server, _ = await check(configured(postgres16, pooler))
    assert "PoolsOversubscribed" in "".join(each.alertname for each in server.findings)


@looped
async def test_a_pooler_that_is_not_there_is_said_and_the_server_is_judged(postgres16):
    gone = {"dsn": "host=127.0.0.1 port=1 user=stats dbname=pgbouncer"}
    config = Config.model_validate(
        {
            "servers": [{"name": "prod", "dsn": postgres16.dsn()}],
            "poolers": [{"name": "pgb", "server": "prod"} | gone],
        }
    )
    server, pooler = checked = await check(config)
    assert server.code == OK
    assert pooler.situation.failure
    assert worst(checked) in {CRITICAL, 3}
