"""What a commit must pass: `nox` runs all of it.

The classifiers in pyproject.toml say which interpreters are supported. Each is looked for on the
PATH and among pyenv's versions. One that is not found is named at the start and in the summary at
the end, and its tests are skipped.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.parallel = os.cpu_count()
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PROJECT)
DIST = Path("dist")
KERNEL = "src/nestling/_kernel/*"
FROM_HERE = {"PYTHONPATH": str(Path.cwd())}  # for the tests as programs


def runs(python: Path | str, version: str) -> bool:
    """Tell whether `python` runs and is of that version: a pyenv shim may exist and do neither."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        result = subprocess.run(
            [python, "-c", program], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0 and result.stdout.strip() == version


def pyenv_pythons(version: str) -> list[Path]:
    """Return pyenv's interpreters of that version, the newest patch first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    patches = [
        int(match[1])
        for folder in root.glob(f"versions/{version}.*")
        if (match := re.fullmatch(re.escape(version) + r"\.(\d+)", folder.name))
    ]
    return [
        root / "versions" / f"{version}.{patch}" / "bin" / "python"
        for patch in sorted(patches, reverse=True)
    ]


def find(version: str) -> str | None:
    """Return an interpreter of that version that runs, or None."""
    on_path = shutil.which(f"python{version}")
    candidates = [on_path, sys.executable, *pyenv_pythons(version)]
    return next((str(python) for python in candidates if python and runs(python, version)), None)


INTERPRETERS = {version: find(version) for version in SUPPORTED}
FOUND = [version for version, python in INTERPRETERS.items() if python]
MISSING = [version for version in SUPPORTED if version not in FOUND]
TOOLS = FOUND[-1] if FOUND else None  # what lint, types and the rest run on
MEASURED = sorted({*FOUND[:1], *FOUND[-1:]})  # lines for one version are for the oldest or newest

# nox searches the PATH alone, and asks a shim that fails where it comes first.
os.environ["PATH"] = os.pathsep.join(
    [
        *(
            str(Path(python).parent)
            for version, python in INTERPRETERS.items()
            if python and python != shutil.which(f"python{version}")
        ),
        os.environ["PATH"],
    ]
)


def install(session: nox.Session, *groups: str, project: bool = False) -> None:
    """Install the dependency groups, and the project as its users get it: from the built wheel."""
    requirements = nox.project.dependency_groups(PROJECT, *groups)
    if not project:
        session.install(*requirements)
        return
    (wheel,) = DIST.glob("*.whl")
    session.install(*requirements, f"{wheel}[examples]")
    # An environment that is used again has the same version of it with other code.
    session.install("--force-reinstall", "--no-deps", str(wheel))


@nox.session(venv_backend="none")
def interpreters(session: nox.Session) -> None:
    """Say which supported interpreters this machine has, and which it has not."""
    for version in FOUND:
        session.log(f"Python {version}: {INTERPRETERS[version]}")
    for version in MISSING:
        session.warn(f"Python {version} is supported but NOT FOUND here: NOT TESTED")
    if not FOUND:
        session.error(f"none of the supported interpreters was found: {', '.join(SUPPORTED)}")


@nox.session(python=TOOLS, allow_parallel=True)
def build(session: nox.Session) -> None:
    """Build the source distribution, and the wheel from it."""
    install(session, "build")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST), silent=True)


@nox.session(python=TOOLS, allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check the style, the format and the news fragments."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session(python=TOOLS, allow_parallel=True)
def imports(session: nox.Session) -> None:
    """Check that the rings import inwards only."""
    install(session, "imports")
    session.run("lint-imports", env={"PYTHONPATH": "src"})


@nox.session(python=TOOLS, requires=["build"], allow_parallel=True)
def types(session: nox.Session) -> None:
    """Check the types for the oldest and the newest Python, and that all public ones are there."""
    install(session, "types", project=True)
    for version in (SUPPORTED[0], SUPPORTED[-1]):
        session.run("mypy", "--python-version", version)
        session.run("pyright", "--pythonversion", version)
    session.run("pyright", "--ignoreexternal", "--verifytypes", "nestling")


@nox.session(python=SUPPORTED, requires=["build"], allow_parallel=True)
def tests(session: nox.Session) -> None:
    """Run the tests; on the oldest and the newest Python with a look at what they cover."""
    install(session, "test", project=True)
    if session.python not in MEASURED:
        session.run("pytest", *session.posargs)
        return
    data = f".coverage.{session.python}"
    for leftover in Path().glob(f"{data}.*"):
        leftover.unlink()
    command = ("coverage", "run", "-m", "pytest", *session.posargs)
    session.run(*command, env={"COVERAGE_FILE": data})


@nox.session(python=FOUND[0] if FOUND else None, requires=["build"], allow_parallel=True)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions of the dependencies that pyproject.toml allows."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    texts = itertools.chain(PROJECT["project"]["dependencies"], *extras)
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text(
        "".join(
            f"{requirement.name}=={bound.version}\n"
            for requirement in map(Requirement, texts)
            for bound in requirement.specifier
            if bound.operator == ">="
        )
    )
    session.env["PIP_CONSTRAINT"] = str(constraints)
    install(session, "test", project=True)
    session.run("pytest", *session.posargs)


@nox.session(python=TOOLS, requires=["build"], allow_parallel=True)
def reliability(session: nox.Session) -> None:
    """Try what no single test shows, and print how much of it was tried."""
    install(session, "test", project=True)
    session.run("python", "-m", "tests.reliability", env=FROM_HERE)


@nox.session(python=TOOLS, requires=["build"], allow_parallel=True)
def growth(session: nox.Session) -> None:
    """Run everything 100,000 times in turn, and 100,000 leaves at once: nothing may grow."""
    install(session, "test", project=True)
    session.run("python", "-m", "tests.growth", env=FROM_HERE)


@nox.session(python=TOOLS, requires=["build"], allow_parallel=True)
def breakages(session: nox.Session) -> None:
    """Break the kernel in many ways, and see that the tests notice each; `prove` tries all."""
    install(session, "test", project=True)
    session.run("python", "-m", "tests.breakages", "--every", "4", env=FROM_HERE)


@nox.session(python=TOOLS, requires=["build"], default=False)
def prove(session: nox.Session) -> None:
    """Try far more than `reliability` and `breakages` do: it takes hours."""
    install(session, "test", project=True)
    searched = ("tests/supervise/test_graph_state.py", "tests/testing/test_model.py")
    session.run("pytest", *searched, env={"NESTLING_SEARCH": "5000"})
    session.run("python", "-m", "tests.reliability", "--long", env=FROM_HERE)
    session.run("python", "-m", "tests.breakages", env=FROM_HERE)


@nox.session(
    python=TOOLS, requires=[f"tests-{version}" for version in MEASURED], allow_parallel=True
)
def coverage(session: nox.Session) -> None:
    """Check that the tests cover each line and branch of the kernel."""
    install(session, "coverage")
    session.run("coverage", "combine", silent=True)
    session.run("coverage", "report")
    session.run("coverage", "report", f"--include={KERNEL}", "--fail-under=100")


@nox.session(python=TOOLS, requires=["build"], default=False)
def benchmark(session: nox.Session) -> None:
    """Measure against hand-written trio; arguments after `--` go to the benchmarks."""
    install(session, project=True)
    session.run("python", "-m", "benchmarks", *session.posargs)
