"""Fetches the public data sets. It needs only Python itself and can run before anything is installed."""
