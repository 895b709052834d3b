"""Talking to language models: attempts and what their failures mean, gates and fallback chains, the simulated model."""
