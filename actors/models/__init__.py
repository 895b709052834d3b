"""Talking to language models: one attempt at an answer, what its failure means, and how fast an endpoint may be asked.

Nothing here knows of actors. The gate of an endpoint, the chain of models and the call of an agent are built on top.
"""
