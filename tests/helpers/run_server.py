"""A server of runs: starting Python and importing PyTorch takes far longer than the runs of these tests do.

One process imports everything and forks a process for each command; what that one does is the command line's ``main``,
or a script.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["PATIENCE", "RunServer", "is_alive", "wait_for"]

PATIENCE = 600.0  # seconds: only what hangs takes as long, however busy the machine is

_SERVER = """
import json, os, resource, runpy, sys
import torch
torch.set_num_threads(1)
from robustvit.cli.main import main
import robustvit.evaluation.evaluate
import robustvit.training.finetune
import robustvit.training.run
import robustvit.masks.make
import robustvit.masks.sources
import robustvit.models.recipes
robustvit.models.recipes.DEFAULT_RECIPE = None  # as in conftest.py
# what they import only once it is needed
import jinja2, jsonargparse, PIL.Image, robustvit.common.devices
PIL.Image.init()

def run(job, rank):
    os.setpgid(0, 0)
    sys.stdin.close()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{job[name]}{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    for name, value in job["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.chdir(job["cwd"])
    if job["processes"] > 1:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(job["processes"]), "LOCAL_RANK": str(rank),
                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": job["port"]}
        os.environ["LOCAL_WORLD_SIZE"] = os.environ["WORLD_SIZE"]
    code = 99
    try:
        if job["script"]:
            sys.argv = [job["script"], *job["arguments"]]
            runpy.run_path(job["script"], run_name="__main__")
            code = 0
        else:
            code = main(job["arguments"])
        if job["processes"] > 1 and code == 0:
            from accelerate.state import PartialState
            with open(f"{job['counted']}{rank}", "w") as file:
                file.write(str(PartialState().num_processes))
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    children = []
    for rank in range(job["processes"]):
        children.append(os.fork())
        if not children[-1]:
            run(job, rank)
    print(json.dumps(children), flush=True)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""


class RunServer:
    """Runs one command at a time, in one process or in several that know of each other as torchrun's do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.process.stdout.readline()  # what is timed must not hold the imports
        self.running: list[int] = []

    def start(self, arguments, processes: int = 1, script=None, cwd=None, **limits: int) -> list[int]:
        """Numbers of the processes that run a command, or a script, each the first of a group of its own."""
        job = {"arguments": [str(word) for word in arguments], "processes": processes, "limits": limits}
        job |= {name: str(self.folder / name) for name in ("stdout", "stderr", "counted")}
        job |= {"port": str(_free_port()), "script": script and str(script), "cwd": str(cwd or Path.cwd())}
        if self.running:  # a test failed before it waited for its own
            for number in self.running:
                kill(number)
            self.wait()
        for old in self.folder.iterdir():
            old.unlink()
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        self.running = json.loads(self.process.stdout.readline())
        return self.running

    def wait(self) -> list[int]:
        """Exit codes, once all are done."""
        self.running = []
        return json.loads(self.process.stdout.readline())

    def run(self, arguments, processes: int = 1, **more) -> int:
        """Exit code of a command, the greatest of several; the rest as in ``start``."""
        self.start(arguments, processes, **more)
        return max(self.wait())

    def interrupt(
        self, arguments, there: Callable[[], bool], stop: Callable[[list[int]], object], out: Path, processes: int = 1
    ) -> list[int]:
        """Exit codes of a run that is stopped once something is there; one that was done before that starts again.

        Args:
            stop: Gets the numbers of the processes.
            out: Folder of the run; removed before the run starts again.
        """
        for again in range(10):
            if again:
                shutil.rmtree(out)
            running = self.start(arguments, processes)
            assert wait_for(there, running[0]), self.said()
            with suppress(ProcessLookupError):
                stop(running)
            codes = self.wait()
            if any(codes):
                break
        return codes

    def counted(self) -> list[int]:
        """How many there were, as each process of the last command saw it."""
        return [int(place.read_text()) for place in sorted(self.folder.glob("counted*"))]

    def printed(self, rank: int = 0) -> str:
        """What the last command wrote on the standard output."""
        return (self.folder / f"stdout{rank}").read_text()

    def said(self, rank: int = 0) -> str:
        """What the last command wrote on the error stream, without the lines that tell of epochs."""
        lines = (self.folder / f"stderr{rank}").read_text().splitlines()
        return "\n".join(line for line in lines if not line.startswith("epoch "))

    def close(self) -> None:
        """End the server."""
        self.process.stdin.close()
        self.process.wait(PATIENCE)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def is_alive(number: int) -> bool:
    """Whether a process still runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(there, number: int, seconds: float = PATIENCE) -> bool:
    """Wait until something has come to be, or a process has ended; whether it has come to be."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not there():
        if not is_alive(number):
            break
        time.sleep(0.001)
    return bool(there())


def kill(number: int) -> None:
    """SIGKILL, if there is still something to kill."""
    if is_alive(number):
        os.kill(number, signal.SIGKILL)
