import pytest

from exporter.config.errors import ConfigError
from exporter.config.load import load

SECRET = "s3cr3t-do-not-tell"


class Lenient:
    def check_dsn(self, dsn):
        if dsn == "bad":
            raise ValueError("not a DSN")

    def check_login(self, credentials):
        pass

    def rule_problems(self, rules):  # noqa: ARG002  the port's signature
        return []

    def address(self, dsn):  # noqa: ARG002  the port's signature
        return "db.example.com:5433"


def server(name, dsn=f"postgresql://u:{SECRET}@h/db"):
    return f"{{name: {name}, dsn: '{dsn}'}}"


def write(folder, files):
    """Write each text under its name; the path of the configuration."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder / "main.yaml"


def problems(path, environ=None):
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, Lenient())
    assert SECRET not in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


def test_lists_are_appended_in_the_order_of_the_patterns_then_of_the_names(tmp_path):
    slack = "{name: slack, type: slack, webhook_url: 'http://x'}"
    files = {
        "main.yaml": f"include: [d/*.yaml, last.yaml, none/*.yaml]\nservers: [{server('own')}]",
        "d/b.yaml": f"servers: [{server('b')}]",
        "d/a.yaml": f"servers: [{server('a')}]\nreceivers: [{slack}]",
        "d/.hidden.yaml": "nonsense",
        "last.yaml": f"servers: [{server('last')}]\nroutes: [{{receiver: slack}}]",
    }
    config = load(write(tmp_path, files), {}, Lenient())
    assert [each.name for each in config.servers] == ["own", "a", "b", "last"]
    assert [each.name for each in config.receivers] == ["slack"]
    assert [each.receiver for each in config.routes] == ["slack"]


def test_the_main_file_may_leave_all_servers_to_the_others(tmp_path):
    files = {"main.yaml": "include: ['*.d.yaml']", "a.d.yaml": f"servers: [{server('a')}]"}
    assert load(write(tmp_path, files), {}, Lenient()).servers[0].name == "a"


def test_without_a_server_anywhere_the_configuration_is_refused(tmp_path):
    files = {"main.yaml": "include: ['*.d.yaml']", "a.d.yaml": "receivers: []"}
    assert problems(write(tmp_path, files)) == [
        "servers: name at least one server, with its dsn",
    ]


def test_problems_name_the_file_and_the_place_in_it(tmp_path):
    files = {
        "main.yaml": f"include: [d/*.yaml, gone.yaml]\nservers: [{server('own')}]",
        "d/a.yaml": f"servers: [{server('a')}, {{name: x, dsn: bad}}]\nlisten: ':1'",
        "d/b.yaml": f"servers: [{server('a')}, {{name: y, dsn: '${{NOT_SET}}'}}]",
        "d/c.yaml": "servers: {name: z}\nroutes: [{receiver: nobody}]",
        "d/d.yaml": "servers: [",
        "d/e.yaml": "- x",
    }
    found = problems(write(tmp_path, files))
    assert len(found) == len(set(found)) == 8, found
    for expected in (
        "include[1]: there is no file ",
        "d/a.yaml: listen: an included file may have servers:, poolers:, receivers:, routes: only",
        "d/a.yaml: servers[1].dsn: not a DSN",
        "d/b.yaml: servers[0].name: 'a' is already the name of d/a.yaml: servers[0]",
        "d/b.yaml: servers[1].dsn: the environment variable NOT_SET is not set",
        "d/c.yaml: servers: not a list",
        "d/d.yaml: not YAML at line ",
        "d/e.yaml: not a mapping",
    ):
        assert any(each.startswith(expected) for each in found), (expected, found)


def test_a_route_of_an_included_file_is_found_there(tmp_path):
    files = {
        "main.yaml": f"include: [a.yaml]\nservers: [{server('own')}]",
        "a.yaml": "routes: [{receiver: nobody}]",
    }
    (found,) = problems(write(tmp_path, files))
    assert found.startswith("a.yaml: routes[0].receiver: no receiver is named 'nobody'")


def test_what_is_wrong_with_the_main_files_own_lists_is_said_as_before(tmp_path):
    files = {
        "main.yaml": "include: [a.yaml]\nservers: {name: x}\nreceivers: [{name: r}]",
        "a.yaml": f"servers: [{server('a')}]\nreceivers: [{{name: s}}]",
    }
    found = problems(write(tmp_path, files))
    assert {each.partition(":")[0] for each in found} == {"servers", "receivers[0]", "a.yaml"}


@pytest.mark.parametrize("include", ["servers.d", "[1]"])
def test_include_is_a_list_of_texts(tmp_path, include):
    files = {"main.yaml": f"include: {include}\nservers: [{server('own')}]"}
    assert problems(write(tmp_path, files))[0].startswith("include")


def test_a_home_directory_that_nobody_has_is_told(tmp_path):
    files = {"main.yaml": f"include: ['~nosuch/*.yaml']\nservers: [{server('own')}]"}
    (found,) = problems(write(tmp_path, files))
    assert (
        found == "include[0]: ~nosuch/*.yaml: there is no such home directory; write the path out"
    )


def test_relative_paths_start_from_where_the_file_is_named_not_from_what_it_links_to(tmp_path):
    data = tmp_path / "..2026"
    data.mkdir()
    (tmp_path / "pw").write_text(SECRET)
    text = "servers: [{name: a, dsn: 'host=h', password_file: pw}]\ninclude: ['*.d.yaml']"
    (data / "main.yaml").write_text(text)
    (data / "b.d.yaml").write_text(f"servers: [{server('b')}]")
    for name in ("main.yaml", "b.d.yaml"):
        (tmp_path / name).symlink_to(data / name)
    config = load(tmp_path / "main.yaml", {}, Lenient())
    assert [each.name for each in config.servers] == ["a", "b"]
    assert config.servers[0].password_file == tmp_path / "pw"
