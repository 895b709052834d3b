"""A small MCP server over standard input and output, by hand: what stands on the other side of the library."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

TOOLS = [
    {
        "name": "shout",
        "description": "Say it louder.",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
    {"name": "die", "description": "End the process.", "inputSchema": {"type": "object"}},
    {
        "name": "hang",
        "description": "Say which process this is, in a file, and never answer.",
        "inputSchema": {"type": "object", "properties": {"file": {"type": "string"}}},
    },
]


NEVER: dict[str, Any] = {}
"""For what is not answered."""


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    match message.get("method"):
        case "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": "small", "version": "1"}
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            name, arguments = message["params"]["name"], message["params"].get("arguments") or {}
            if name == "die":
                os._exit(1)
            if name == "hang":
                Path(arguments["file"]).write_text(str(os.getpid()))
                return NEVER
            if not isinstance(arguments.get("text"), str):
                return {"content": [{"type": "text", "text": "There is no text."}], "isError": True}
            said = arguments["text"].upper() + os.environ.get("SHOUT_END", "") + os.environ.get("SHOUT_HIDDEN", "")
            return {"content": [{"type": "text", "text": said}]}
        case "ping":
            return {}
    return None


for line in sys.stdin:
    received = json.loads(line)
    if "id" in received and "method" in received:
        result = answer(received)
        if result is NEVER:
            continue
        body = {"result": result} if result is not None else {"error": {"code": -32601, "message": "unknown"}}
        print(json.dumps({"jsonrpc": "2.0", "id": received["id"], **body}), flush=True)
