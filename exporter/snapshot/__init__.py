"""Frozen values of what was seen on a server, and what follows from them; pure, standard library only."""
