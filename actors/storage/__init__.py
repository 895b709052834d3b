"""What outlives the daemon: each user's log, the kept replies and the key-value state. No SQL outside this folder.

`interface` says what any storage promises, `database` keeps the promise with SQLite; both are synchronous. The journal
is the actor that calls them, one call at a time, from a worker thread.
"""
