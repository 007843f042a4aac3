"""What counts as a change of the files: other contents, once they have settled."""

import pytest

from exporter.config.files import AGAIN_SECONDS, LOOK_SECONDS, Changes, fingerprint
from exporter.config.model import Config


@pytest.fixture
def main(tmp_path):
    path = tmp_path / "main.yaml"
    path.write_text("one")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.yaml").write_text("two")
    (tmp_path / "x.rules.yaml").write_text("three")
    return path


def print_of(path):
    rules = {"files": [str(path.parent / "x.rules.yaml")]}
    servers = [{"name": "a", "dsn": "host=h"}]
    config = Config.model_validate({"include": ["d/*.yaml"], "rules": rules, "servers": servers})
    return fingerprint(path, config)


def test_a_touch_is_no_change_and_neither_is_a_copy_in_its_place(main):
    before = print_of(main)
    main.touch()
    (main.parent / "new").write_text("one")
    (main.parent / "new").replace(main)
    assert print_of(main) == before


@pytest.mark.parametrize("name", ["main.yaml", "d/a.yaml", "x.rules.yaml", "d/new.yaml"])
def test_other_contents_are_a_change(main, name):
    before = print_of(main)
    (main.parent / name).write_text("other")
    assert print_of(main) != before


@pytest.mark.parametrize("name", ["main.yaml", "d/a.yaml", "x.rules.yaml"])
def test_a_file_that_has_gone_is_a_change(main, name):
    before = print_of(main)
    (main.parent / name).unlink()
    assert print_of(main) != before


def test_contents_that_change_places_are_a_change(main):
    before = print_of(main)
    (main.parent / "d" / "a.yaml").write_text("three")
    (main.parent / "x.rules.yaml").write_text("two")
    assert print_of(main) != before


def test_the_swap_of_a_config_maps_link_is_a_change(tmp_path, main):
    for name, text in (("..1", "two"), ("..2", "four")):
        (tmp_path / "d" / name).mkdir()
        (tmp_path / "d" / name / "a.yaml").write_text(text)
    data = tmp_path / "d" / "..data"
    data.symlink_to("..1")
    (tmp_path / "d" / "a.yaml").unlink()
    (tmp_path / "d" / "a.yaml").symlink_to("..data/a.yaml")
    before = print_of(main)
    (tmp_path / "d" / "..next").symlink_to("..2")
    (tmp_path / "d" / "..next").replace(data)
    assert print_of(main) != before


def test_a_change_counts_once_two_looks_agree_and_only_once():
    changes = Changes("a")
    looks = [changes.look(found) for found in ("a", "b", "c", "c", "c", "d", "c", "c", "a", "a")]
    assert looks == [False, False, False, True, False, False, False, False, False, True]


def test_a_change_is_looked_at_again_soon():
    changes = Changes("a")
    pauses = [changes.pause]
    for found in ("b", "b", "b"):
        changes.look(found)
        pauses.append(changes.pause)
    assert pauses == [LOOK_SECONDS, AGAIN_SECONDS, LOOK_SECONDS, LOOK_SECONDS]
