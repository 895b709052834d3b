"""The actor kernel: supervised actors as trio tasks. See SEMANTICS.md for what it promises.

class Greeter(Actor):
    async def receive(self, name):
        return f"Hello, {name}"

class Root(Host):
    async def started(self):
        self.greeter = self.start_child(Spec("greeter", Greeter))

    async def receive(self, message):
        return await self.greeter.ask(message, within=1.0)

async def main():
    async with open_system(Spec("root", Root)) as system:
        print(await system.ref("/").ask("world", within=1.0))

trio.run(main)
"""

from runtime._actor import Actor as Actor
from runtime._address import Ref as Ref
from runtime._address import Target as Target
from runtime._demand import Ask as Ask
from runtime._demand import Demand as Demand
from runtime._demand import Events as Events
from runtime._demand import Inlet as Inlet
from runtime._demand import Outlet as Outlet
from runtime._demand import Subscribe as Subscribe
from runtime._errors import ActorError as ActorError
from runtime._errors import ChildFailed as ChildFailed
from runtime._errors import Dead as Dead
from runtime._errors import Full as Full
from runtime._errors import HandlerFailed as HandlerFailed
from runtime._errors import InvalidSpec as InvalidSpec
from runtime._errors import NotAccepted as NotAccepted
from runtime._errors import Refused as Refused
from runtime._errors import Restarting as Restarting
from runtime._errors import SystemFailed as SystemFailed
from runtime._errors import TimedOut as TimedOut
from runtime._errors import WaitCycle as WaitCycle
from runtime._host import Host as Host
from runtime._messages import ChildEnded as ChildEnded
from runtime._messages import ChildStarted as ChildStarted
from runtime._messages import Crashed as Crashed
from runtime._messages import DeadLetter as DeadLetter
from runtime._messages import Ended as Ended
from runtime._messages import Killed as Killed
from runtime._messages import Passivated as Passivated
from runtime._messages import Reason as Reason
from runtime._messages import Replied as Replied
from runtime._messages import Restarted as Restarted
from runtime._messages import Stopped as Stopped
from runtime._messages import TaskEnded as TaskEnded
from runtime._messages import is_failure as is_failure
from runtime._reports import ChildRestart as ChildRestart
from runtime._reports import Crash as Crash
from runtime._reports import GaveUp as GaveUp
from runtime._reports import HookFailed as HookFailed
from runtime._reports import LoopBlocked as LoopBlocked
from runtime._reports import RefusedTell as RefusedTell
from runtime._reports import Report as Report
from runtime._reports import StopOverdue as StopOverdue
from runtime._reports import Stuck as Stuck
from runtime._reports import Switched as Switched
from runtime._request import ReplyTo as ReplyTo
from runtime._spec import Mailbox as Mailbox
from runtime._spec import Overflow as Overflow
from runtime._spec import Spec as Spec
from runtime._system import System as System
from runtime._system import open_system as open_system
from runtime._tasks import ActorTask as ActorTask
from runtime._tree import Counters as Counters
from runtime._tree import Node as Node
from runtime._tree import Restarts as Restarts
from runtime._watchdog import Watchdog as Watchdog
from runtime._watchdog import watch_loop as watch_loop
