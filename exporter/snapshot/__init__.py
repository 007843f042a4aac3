"""Frozen values of what was seen on a server, and what follows; pure, standard library only."""
