"""Rule results and time become alerts, incidents and notifications; pure."""
