"""pgheadroom pages before Postgres runs out of connections, and says who is eating them."""

from importlib.metadata import version

__version__ = version("pgheadroom")
