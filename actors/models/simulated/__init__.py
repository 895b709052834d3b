"""The simulated model: a small OpenAI-compatible HTTP server that answers by role, and fails when told to.

Own, on h11 and trio's streams, because its faults need the bare socket: a reset in mid-stream, a chunk cut in two, an
event that never ends. See `faults` for all that it can be told.
"""
