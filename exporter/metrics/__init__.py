"""What was seen becomes Prometheus metric families; pure."""
