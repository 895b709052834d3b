"""Agents at work: the way of a model's words to the client, an outage, batches, a flood, 200 cancellations at once.

Needs Linux, as `delivery` does.
"""
