"""Workflows: graphs of steps, each done by an agent."""
