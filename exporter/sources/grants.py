"""The SQL that gives pgheadroom the rights it needs, and no more."""

from __future__ import annotations

#: One kept session and one probe, and room for logins that timed out but still hold their slot on
#: the server (docs: authentication_timeout, 60 s).
CONNECTION_LIMIT = 8


def grants_sql(role: str = "pgheadroom") -> str:
    """SQL for a superuser (or a provider's admin role) that makes `role`; runs on 13 to 18.

    Raises:
        ValueError: no role can have that name.
    """
    if not role or "\0" in role:
        raise ValueError("a role's name is at least one character, and none of them is NUL")
    name = '"' + role.replace('"', '""') + '"'
    tag = _tag(role)
    return f"""\
-- Set the password afterwards, so that it is in no log: \\password {name}
CREATE ROLE {name} LOGIN CONNECTION LIMIT {CONNECTION_LIMIT};

-- Without it the sessions of other roles show neither their state nor what they wait for.
-- Where a provider does not offer it, pg_monitor contains it.
GRANT pg_read_all_stats TO {name};

-- PostgreSQL 16 and later: lets pgheadroom log in when applications have taken all of their slots.
-- It takes effect where reserved_connections is above 0 (a change of it needs a restart).
DO {tag} BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    GRANT pg_use_reserved_connections TO {name};
  END IF;
END {tag};
"""


def _tag(role: str) -> str:
    """A dollar quote that does not end within `role`."""
    tag = "$grant$"
    while tag in role:
        tag = f"{tag[:-1]}_$"
    return tag
