"""What an operator sees of a daemon: its counters, its metrics, and its log of failures, restarts and fallbacks."""
