"""The daemon over HTTP: probes, metrics, the live tree, the console's files. PROTOCOL.md, "HTTP", is the contract.

`build_app(sources)` makes an ASGI application that knows of the daemon what its `Sources` tell. There is one module for
each group of routes; each has a function `routes(sources)`, and `application` lists them.
"""

from understudy.http.application import build_app as build_app
from understudy.http.callers import Caller as Caller
from understudy.http.callers import in_development as in_development
from understudy.http.failures import RequestRefused as RequestRefused
from understudy.http.sources import Check as Check
from understudy.http.sources import Phase as Phase
from understudy.http.sources import Sources as Sources
