"""HTTP: reads what is stored, never polls."""
