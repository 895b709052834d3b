"""The wire protocol, version 1: what a client and the daemon say to each other.

Pure values and functions; nothing here knows of sockets, actors or storage. `codes` and `event_types` hold the tables
as data, `commands` and `decode` what comes in, `events` and the modules of constructors beside it what goes out.
"""
