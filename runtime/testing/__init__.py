"""A test kit for actors: probes, virtual time, seeded schedules, cancellation everywhere, conservation and leak checks.

    class Greeter(Actor):
        async def receive(self, message):
            name, reply_to = message
            reply_to.tell(f"Hello, {name}")

    async def test():
        async with open_test_system() as kit:
            probe = await kit.probe()
            greeter = await kit.spawn(Spec("greeter", Greeter))
            greeter.tell(("Ada", probe.ref))
            assert await probe.expect(str) == "Hello, Ada"

    run_in_virtual_time(test)

With pytest and pytest-trio, `runtime.testing.plugin` gives the fixture `actor_system` and the option `--actor-seeds`.
README.md, beside this file, is the guide.
"""

from runtime.testing._cancellation import CancelPoint as CancelPoint
from runtime.testing._cancellation import every_cancellation as every_cancellation
from runtime.testing._checks import assert_conserved as assert_conserved
from runtime.testing._checks import assert_no_leaks as assert_no_leaks
from runtime.testing._checks import busy_threads as busy_threads
from runtime.testing._checks import kernel_tasks as kernel_tasks
from runtime.testing._checks import no_cycles as no_cycles
from runtime.testing._kit import ActorTestKit as ActorTestKit
from runtime.testing._kit import open_test_system as open_test_system
from runtime.testing._kit import settle as settle
from runtime.testing._probe import Probe as Probe
from runtime.testing._schedule import ScheduleTrace as ScheduleTrace
from runtime.testing._schedule import run_in_virtual_time as run_in_virtual_time
from runtime.testing._schedule import seeded_schedule as seeded_schedule
