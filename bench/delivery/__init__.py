"""The daemon under load: idle connections, pushes, reconnect storms, commits; beside bare WebSocket servers.

Needs Linux: processor time and memory of the servers are read from /proc, and the clients wait with epoll.
"""
