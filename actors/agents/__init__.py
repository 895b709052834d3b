"""Agents: what each is, what it is asked, and the actor that answers."""
