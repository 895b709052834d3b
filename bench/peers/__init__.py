"""The peers of the benchmarks: one program each, in a virtual environment of its own.

`python -m bench.peers` (or `make bench-peers`) makes the environments.
"""
