"""Actors that go on with a record of their own, whatever ended them: how they are found again, and when forgotten."""
