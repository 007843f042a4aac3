import pytest

from exporter.config.errors import ConfigError
from exporter.config.load import load

TEXT = """
servers:
  - {name: prod, dsn: postgresql://pgheadroom@10.0.0.5/postgres}
poolers:
  - {name: pgb-1, server: prod, dsn: "host=/run/pgb user=stats", thresholds: {pool_used: null}}
  - {name: alone, dsn: postgresql://stats@10.0.0.7:6432/pgbouncer, polling: {interval: 5s}}
"""


class Lenient:
    def check_dsn(self, dsn):
        pass

    def check_login(self, credentials):
        pass

    def rule_problems(self, rules):  # noqa: ARG002  the port's signature
        return ()

    def address(self, dsn):  # noqa: ARG002  the port's signature
        return "db.example.com:5433"


def loaded(tmp_path, text):
    path = tmp_path / "pgheadroom.yaml"
    path.write_text(text)
    return load(path, {}, Lenient())


def problems(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    return [str(problem) for problem in caught.value.problems]


def test_a_pooler_has_polling_and_thresholds_of_its_own(tmp_path):
    config = loaded(tmp_path, TEXT)
    first, alone = config.poolers
    assert (first.server, alone.server) == ("prod", None)
    assert "pool_used" not in config.pooler_thresholds_of(first)
    assert config.pooler_thresholds_of(alone)["pool_used"] == 0.9
    assert config.polling_of(alone).interval == 5
    assert config.polling_of(first).interval == 2
    assert not first.clients


def test_a_pooler_of_no_server_and_one_named_like_a_server_are_refused(tmp_path):
    text = TEXT.replace("server: prod", "server: prd").replace("name: alone", "name: prod")
    assert problems(tmp_path, text) == [
        "poolers[0].server: no server is named 'prd'; there are: prod",
        (
            "poolers[1].name: 'prod' is the name of a server; choose another, or say server: prod"
            " if it stands in front of it"
        ),
    ]


def test_a_pooler_is_not_named_as_probes_through_none_are(tmp_path):
    (problem,) = problems(tmp_path, TEXT.replace("name: alone", "name: direct"))
    assert problem.startswith("poolers[1].name: 'direct' is the `via` of probes")


def test_two_poolers_of_one_name_are_refused(tmp_path):
    text = TEXT.replace("name: alone", "name: pgb-1")
    assert problems(tmp_path, text) == [
        "poolers[1].name: 'pgb-1' is already the name of poolers[0]; names must differ"
    ]


def test_the_environment_names_a_pooler_too():
    environ = {
        "DATABASE_URL": "postgresql://pgheadroom@db.example.com/postgres",
        "PGBOUNCER_URL": "postgresql://stats@db.example.com:6432/pgbouncer",
    }
    (pooler,) = load(None, environ, Lenient()).poolers
    assert (pooler.name, pooler.server) == ("pgbouncer", "db.example.com:5433")
    assert pooler.dsn.get_secret_value() == environ["PGBOUNCER_URL"]
