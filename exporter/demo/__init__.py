"""A product launch against an embedded Postgres, with the installed command beside it."""
