import pytest

from bench.crowd import DATABASES, QUERY, ROLES, distinct, mixed
from bench.report import BEGIN, END, Figure, markdown, table, write

FIGURES = [
    Figure.below("cost", 2.46, 2.5, "times", "1 ms to 2 ms"),
    Figure.below("memory", 75.1, 75, "MiB"),
    Figure("peer", "", "25 ms"),
]


def test_a_figure_beyond_its_limit_is_not_ok():
    assert [figure.ok for figure in FIGURES] == [True, False, None]
    assert FIGURES[0].measured == "2.5 times (1 ms to 2 ms)"


def test_the_terminal_gets_columns():
    head, *rows = table(FIGURES).splitlines()
    assert [row[head.index("ok") :] for row in rows] == ["yes", "NO", ""]


def test_the_page_is_changed_between_its_markers_only(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    write(page, markdown(FIGURES, ["a machine"]))
    text = page.read_text("utf-8")
    assert text.startswith(f"before\n{BEGIN}\n| figure |")
    assert text.endswith(f"\n- a machine\n{END}\nafter\n")
    assert "old" not in text


def test_a_page_without_markers_is_left_alone(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"{END} {BEGIN}", "utf-8")
    with pytest.raises(ValueError, match=r"performance\.md"):
        write(page, "new")
    assert page.read_text("utf-8") == f"{END} {BEGIN}"


def test_the_fleets_are_what_they_say():
    fleet = [mixed(number) for number in range(1000)]
    assert len(QUERY) == 60
    assert {client.parameters["user"] for client in fleet} == set(ROLES)
    assert {client.parameters["database"] for client in fleet} == set(DATABASES)
    assert len({client.parameters["application_name"] for client in fleet}) == 12
    unlike = [distinct(number) for number in range(1000)]
    assert len({client.address for client in unlike}) == 1000
    assert len({client.parameters["application_name"] for client in unlike}) == 1000
