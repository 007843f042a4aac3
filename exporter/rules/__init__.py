"""Prometheus rule files, evaluated over the families of one server; pure."""
