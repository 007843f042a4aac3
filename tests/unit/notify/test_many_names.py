"""Five thousand applications of long names: what is told stays small, and the sums stay exact."""

import json

from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.incidents import Incident, Told
from exporter.alerting.message import Sender, compose
from exporter.alerting.notification import Severity, Transition
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.notify.pagerduty import encoded, event
from exporter.notify.slack_message import payload
from exporter.snapshot.slots import Limits
from tests.support.states import group, snapshot, state

NAMES = 5_000
CROWD = tuple(
    group(1 + number % 3, application_name=f"{number:05d}-{'<!channel>`x`' * 4}", usename="u" * 63)
    for number in range(NAMES)
)
SERVER = state(snapshot=snapshot(*CROWD, limits=Limits(10_000, 3)))


def page():
    alert = Alert("High", {"severity": "critical"}, AlertState.FIRING, 990.0, 990.0, 0.9)
    incident = Incident("prod", "connections", 990.0, Severity.CRITICAL, (alert,))
    told = Told("pager", Transition.OPENED, Severity.CRITICAL, incident)
    return compose(told, SERVER, None, Sender(), 1000.0)


def test_a_page_with_five_thousand_names_fits_into_both_vendors_limits():
    notification = page()
    assert len(notification.headline) <= 80
    slack = payload(notification, addresses=True)
    assert len(slack["blocks"]) <= 50
    assert len(json.dumps(slack)) < 10_000
    assert "<!channel>" not in json.dumps(slack)
    sent = encoded(event(notification, "k" * 32, "trigger", addresses=True))
    assert len(sent) < 20_000


def test_the_series_stay_capped_and_their_sum_exact():
    families = server_families(SERVER, Caps(), 1000.0)
    (who,) = [each for each in families if each.name == "pgheadroom_connections"]
    assert len(who.samples) <= 201
    assert sum(sample.value for sample in who.samples) == SERVER.snapshot.used
