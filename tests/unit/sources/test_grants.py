"""The SQL that makes the role; tests/integration runs it."""

from __future__ import annotations

import pytest

from exporter.sources.grants import grants_sql


def test_names_the_limit_and_the_privileges() -> None:
    sql = grants_sql()
    assert 'CREATE ROLE "pgheadroom" LOGIN CONNECTION LIMIT 8;' in sql
    assert 'GRANT pg_read_all_stats TO "pgheadroom";' in sql
    assert 'GRANT pg_use_reserved_connections TO "pgheadroom";' in sql


def test_a_quote_in_the_name_is_doubled() -> None:
    assert 'CREATE ROLE "a""b" LOGIN' in grants_sql('a"b')


def test_a_name_cannot_end_the_block() -> None:
    assert "DO $grant_$ BEGIN" in grants_sql("a$grant$b")


@pytest.mark.parametrize("role", ["", "a\0b"])
def test_what_cannot_be_a_name_is_refused(role: str) -> None:
    with pytest.raises(ValueError, match="at least one character"):
        grants_sql(role)
