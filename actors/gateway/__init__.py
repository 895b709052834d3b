"""The gateway: one port for WebSocket and HTTP, every connection contained.

From the socket upwards: `head` reads a request's head, `admission` judges it, `refusal` answers what is not let in,
`http` hands plain requests to Hypercorn, and `socket` serves one WebSocket on a `wire` that is ours, beneath
trio-websocket.
"""
