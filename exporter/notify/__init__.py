"""The only place that talks to receivers: what must be told is on disk before the first attempt."""
