"""Several processes, on one host or several: starting them, watching them, ending them all when one goes missing."""
