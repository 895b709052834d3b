"""Who does what: agents with their slots, the queue before them, tasks, and workers that come over a WebSocket.

The `Coordinator` knows the agents and grants their slots (`board`); a `Task` is an actor that holds a slot while its
work goes on; `slots` is the side of whoever holds some.
"""
