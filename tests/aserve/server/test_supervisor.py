import subprocess
import sys

import pytest

from tests.marks import slow

PROGRAM = """
import logging, signal
from aserve.config.settings import Settings
from aserve.server import supervisor
from aserve.server.listener_groups import ListenerGroups
from aserve.server.shutdown_report import RemainingReports
from aserve.server.signals import Signals

def run_worker(settings, listeners, lifeline, orders):
    raise {error}

supervisor._MIN_LIFETIME_S = 600  # each start counts as failed, however slow the machine is
logging.basicConfig(format="%(message)s")
signals = Signals(frozenset({{signal.SIGTERM}}), frozenset())
signal.pthread_sigmask(signal.SIG_BLOCK, signals.handled | {{signal.SIGCHLD}})
try:
    settings = Settings(".")
    groups = ListenerGroups([[]])
    supervisor.Supervisor(settings, groups, run_worker, signals, RemainingReports(print)).run()
finally:
    print("the parent's code")
"""


@pytest.mark.parametrize(
    "error", ["RuntimeError('broken')", slow("SystemExit(0)"), slow("KeyboardInterrupt")]
)
def test_a_worker_never_runs_the_code_of_its_parent(error):
    command = [sys.executable, "-c", PROGRAM.format(error=error)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "the parent's code\n"
    assert error.partition("(")[0] in ran.stderr
