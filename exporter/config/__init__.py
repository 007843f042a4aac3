"""YAML, the environment and secret files become one frozen Config, or every error at once."""
