"""A real gateway and a simulated exchange for the tests of an adapter.

    with fairlead.testing.Stack() as stack:
        async with fairlead.connect(stack.address) as gateway:
            async with gateway.websocket(stack.exchange.ws + "/numbered?rate=100") as session:
                stack.exchange.fault("drop")

With pytest, `pytest_plugins = ["fairlead.testing.plugin"]` in the top conftest.py gives the fixtures fairlead_stack,
fairlead_exchange and fairlead_gateway; only that module imports pytest.

The binaries are those that the environment variables FAIRLEAD_BINARY and FAIRLEAD_EXCHANGE name, else `fairlead` and
`exchange` on PATH, else those in build/release of the checkout that this package lies in.
"""

from fairlead.testing.exchange import SimulatedExchange
from fairlead.testing.process import StackError
from fairlead.testing.stack import Stack

__all__ = ["SimulatedExchange", "Stack", "StackError"]
