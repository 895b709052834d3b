"""Supervision on top of `runtime`: strategies, budgets, backoff, dynamic children, the fallback, and pools.

    root = supervise("root", [
        ChildSpec("store", Store),
        fallback("speaker", [ChildSpec("lead", Lead), ChildSpec("understudy", Understudy)]),
    ], strategy=Strategy.ONE_FOR_ALL)

See runtime/SEMANTICS.md, chapters 13 to 15, for what is promised.
"""

from supervisors._dispatch import Resize as Resize
from supervisors._dynamic import DynamicSupervisor as DynamicSupervisor
from supervisors._dynamic import TooManyChildren as TooManyChildren
from supervisors._fallback import Elsewhere as Elsewhere
from supervisors._fallback import Fallback as Fallback
from supervisors._fallback import FallbackSpec as FallbackSpec
from supervisors._fallback import fallback as fallback
from supervisors._ledger import Ledger as Ledger
from supervisors._ledger import Outcome as Outcome
from supervisors._ledger import Policy as Policy
from supervisors._ledger import Ticket as Ticket
from supervisors._ledger import active as active
from supervisors._pool import Pool as Pool
from supervisors._pool import PoolSpec as PoolSpec
from supervisors._pool import pool as pool
from supervisors._routing import ByKey as ByKey
from supervisors._routing import Routing as Routing
from supervisors._spec import AutoShutdown as AutoShutdown
from supervisors._spec import Backoff as Backoff
from supervisors._spec import ChildSpec as ChildSpec
from supervisors._spec import Intensity as Intensity
from supervisors._spec import Restart as Restart
from supervisors._spec import Strategy as Strategy
from supervisors._supervisor import RestartLimitReached as RestartLimitReached
from supervisors._supervisor import Supervisor as Supervisor
from supervisors._supervisor import supervise as supervise
from supervisors._switch import Call as Call
from supervisors._switch import Exhausted as Exhausted
from supervisors._switch import Switch as Switch
