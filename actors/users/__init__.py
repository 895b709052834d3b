"""One actor for each active user: the order of the user's events, the log behind it, and the user's connections."""
