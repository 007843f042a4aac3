"""What a matcher's text means, held against Alertmanager's own reading of it."""

import json
import subprocess

import pytest

from exporter.cli.silence import matcher
from exporter.config.alerting import Matcher
from tests.support.parts import program

AS_ALERTMANAGER = [
    (r'server=~"db\d+"', "db12", True),
    (r'server=~"db\d+"', "dbd", False),
    (r'server=~"prod\.example\.com"', "prod.example.com", True),
    (r'server=~"prod\.example\.com"', "prod-example-com", False),
    (r'server=~"prod\\.example\\.com"', "prod.example.com", True),
    (r'server=~"prod\\.example\\.com"', "prod-example-com", False),
    (r'server="a\tb"', r"a\\tb", True),
    (r'server="a\\b"', r"a\\b", True),
    (r'server="a\nb"', r"a\nb", True),
    (r'server="a\"b"', r"a\"b", True),
    (r'server!~"db\d+"', "db12", False),
    (r"server=~db\d+", "db12", True),
    (r"server=prod\.example", r"prod\\.example", True),
    (r"server=a\\b", r"a\\b", True),
    (r"server=a\"b", r"a\"b", True),
    ("server=a\\", r"a\\", True),
    ("server= a b ", "a b", True),
]


@pytest.fixture(scope="module")
def amtool():
    return program("amtool", "prometheus-alertmanager")


@pytest.mark.parametrize(("text", "quoted", "expected"), AS_ALERTMANAGER)
def test_a_text_matches_what_it_matches_in_alertmanager(tmp_path, amtool, text, quoted, expected):
    """The label's value is written with its escapes, since amtool reads them in it too."""
    value = json.loads(f'"{quoted}"')
    assert Matcher.model_validate(matcher(text)).matches({"server": value}) is expected
    route = {"receiver": "no", "routes": [{"receiver": "yes", "matchers": [text]}]}
    file = tmp_path / "alertmanager.yml"
    file.write_text(json.dumps({"route": route, "receivers": [{"name": "no"}, {"name": "yes"}]}))
    command = [amtool, "config", "routes", "test", f"--config.file={file}", f'server="{quoted}"']
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == ("yes" if expected else "no")


@pytest.mark.parametrize("value", ["db\\d+", 'a"b', "a\\", "a\nb", "\\n", ""])
def test_what_is_written_is_read_again(value):
    made = Matcher(label="a", operator="=", value=value)
    assert Matcher.model_validate(made.text) == made
    assert "\n" not in made.text
