"""Three engines with their own tuning and limits: memory, graphs of work, divergent drafts.

An engine is two actors under one address: the engine itself, and what takes its place when it has failed, is suspended
or has too much waiting. `fallback` says how one takes the other's place, `routing` which engine does what.
"""
