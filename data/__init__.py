"""Fetches the public data sets. Needs nothing but Python itself: it can run before anything is installed."""
