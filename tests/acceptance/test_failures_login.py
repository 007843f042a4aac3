"""Rights and passwords that are missing, wrong, or taken away while pgheadroom runs."""

from __future__ import annotations

from tests.support.postgres import left, sessions, watchers
from tests.support.receivers import HttpReceiver, eventually
from tests.support.watching import events, pagerduty, prepare, watched, watching

SCRAM = ["host all app 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"]
USABLE = 17
FULL = USABLE - 1


def test_a_privilege_revoked_during_an_incident_is_named_and_resolves_nothing(
    tmp_path, start_postgres
):
    server = prepare(start_postgres(16, max_connections=20))
    with HttpReceiver() as receiver, sessions(server, FULL, user="app"):
        watch = watching(tmp_path, [watched(server)], [pagerduty(receiver)])
        with watch.running():
            watch.wait_for_used(USABLE)
            receiver.wait_for(1)
            server.psql("revoke pg_read_all_stats from pgheadroom")
            watch.wait_for("told", lambda s: s.firing("PostgresServerUnprivileged"))
            for seen in watch.observe(1.0):
                assert not seen.up()
                assert seen.used() == USABLE
                assert seen.one("pgheadroom_poll_failure", reason="unprivileged") == 1
                assert seen.firing("PostgresConnectionsExhausted")
            (line,) = watch.logged("poll failed")
            assert "GRANT pg_read_all_stats TO" in line
            assert "GRANT pg_read_all_stats TO" in watch.page
            server.psql("grant pg_read_all_stats to pgheadroom")
            watch.wait_for_used(USABLE)
            eventually(
                lambda: events(receiver, family="reachability")[-1].action == "resolve",
                "the grant is seen",
            )
            assert [e.action for e in events(receiver, family="connections")] == ["trigger"]


def test_a_role_that_never_had_the_privilege_shows_no_count(tmp_path, start_postgres):
    server = start_postgres(18, max_connections=20)
    server.psql("create role pgheadroom login; create role app login")
    watch = watching(tmp_path, [watched(server)])
    with watch.running(), sessions(server, FULL, user="app"):
        seen = watch.observe(1.0)[-1]
        assert set(seen.failures()) == {"unprivileged"}
        assert not seen.up()
        assert not seen.all("pgheadroom_connections_used")
        server.psql("grant pg_read_all_stats to pgheadroom")
        watch.wait_for_used(USABLE)


def test_a_wrong_password_is_said_once_and_a_mended_file_is_read(tmp_path, start_postgres):
    server = prepare(start_postgres(18, hba=SCRAM, max_connections=20))
    server.psql("alter role pgheadroom password 'first'")
    file = tmp_path / "password"
    file.write_text("wrong-and-secret\n")
    watch = watching(tmp_path, [watched(server, password_file=str(file), probe={"enabled": True})])
    with watch.running(), sessions(server, 3, user="app"):
        seen = watch.wait_for("retries", lambda s: s.failures().get("auth", 0) > 3)
        assert set(seen.failures()) == {"auth"}
        assert seen.all("pgheadroom_connect_probe_success", reason="auth") == [0]
        assert len(watch.logged("poll failed")) == 1
        assert len(watch.logged("connect probe changed")) == 1
        file.write_text("first\n")
        watch.wait_for("seen", lambda s: s.up() and s.used() >= 4)
        _a_rotated_password_is_missed_by_new_logins_alone(server, watch, file)
    for secret in ("wrong-and-secret", "first", "second-one"):
        assert secret not in watch.log


def _a_rotated_password_is_missed_by_new_logins_alone(server, watch, file):
    (kept,) = watchers(server)
    before = watch.scrape().failures()
    server.psql("alter role pgheadroom password 'second-one'")
    probe = "pgheadroom_connect_probe_success"
    watch.wait_for("a refused probe", lambda s: s.all(probe, reason="auth") == [0])
    assert watch.scrape().up()
    assert watch.scrape().failures() == before
    assert watchers(server) == [kept]
    server.psql(f"select pg_terminate_backend({kept})")
    watch.wait_for("blind", lambda s: s.failures()["auth"] > before["auth"])
    file.write_text("second-one")
    seen = watch.wait_for("seen again", lambda s: s.up() and s.used() >= 4)
    assert set(seen.failures()) <= {"auth", "starting", "network"}
    assert left(server) == 1
