"""Talking to language models: one attempt at an answer, what its failure means, and how fast an endpoint may be asked.


"""
