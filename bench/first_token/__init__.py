"""What a person waits for: the first token of a run, and each change of an agent's status."""
