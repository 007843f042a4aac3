"""Short ways to say what a server looks like."""

from __future__ import annotations

from exporter.snapshot.activity import Activity, BackendGroup
from exporter.snapshot.server import (
    Failure,
    Probe,
    Reason,
    ServerFacts,
    ServerState,
    Snapshot,
)
from exporter.snapshot.slots import Limits

LIMITS = Limits(max_connections=100, superuser_reserved_connections=3)


def group(backends=1, application_name="web", state="idle", **changes):
    values = {
        "datname": "shop",
        "usename": "app",
        "application_name": application_name,
        "client_addr": "",
        "state": state,
        "wait_event_type": "Client" if state == "idle" else "",
        "wait_event": "ClientRead" if state == "idle" else "",
        "backend_type": "client backend",
        "backends": backends,
    }
    return BackendGroup(**(values | changes))


def snapshot(*groups, taken_at=1000.0, limits=LIMITS, **facts):
    return Snapshot(
        taken_at=taken_at,
        poll_seconds=0.002,
        activity=Activity(at=taken_at, groups=groups),
        facts=ServerFacts("18.4", 180004, "primary", limits, **facts),
    )


def state(*groups, server="prod", taken_at=1000.0, **changes):
    shot = snapshot(*groups, taken_at=taken_at)
    return ServerState(server, **({"snapshot": shot} | changes))


def refused(via="direct", at=1000.0, reason=Reason.REFUSED):
    return {via: Probe(via, at, 0.01, reason, "sorry, too many clients already")}


def failure(reason=Reason.NETWORK):
    return Failure(reason, "connection refused", "check the port")
