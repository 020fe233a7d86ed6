"""Makes the Python stubs in protos/gen from the contracts: `python protos/generate.py [--check]`.

The stubs are checked in, so that nothing needs a compiler to run; --check fails when they differ from what the
contracts give, and tells what to run.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from google.rpc import status_pb2

PROTOS = Path(__file__).resolve().parent
GENERATED = PROTOS / "gen"


def generate(target: Path) -> None:
    """Writes the stubs of every contract below `target`, which must be empty or absent.

    Raises:
        subprocess.CalledProcessError: A contract does not compile; the compiler's text is on stderr.
    """
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("brickyard/**/*.proto"))
    google_rpc = Path(str(status_pb2.__file__)).parents[2]
    scripts = sysconfig.get_path("scripts")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{PROTOS}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"-I{google_rpc}",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--mypy_grpc_out=quiet:{target}",
            *sources,
        ],
        check=True,
        cwd=PROTOS,
        # protoc finds the mypy plugins on the PATH, also when the venv is not activated.
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"},
    )
    _drop_stubs_without_service(target)
    for folder in [target / "brickyard", *(path for path in (target / "brickyard").rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    (target / "brickyard" / "py.typed").touch()


def _drop_stubs_without_service(target: Path) -> None:
    """Protoc writes a gRPC module for every contract, also for those that hold messages only."""
    for module in target.rglob("*_pb2_grpc.py"):
        if "Servicer" not in module.read_text():
            module.unlink()
            module.with_suffix(".pyi").unlink(missing_ok=True)


def differences(left: Path, right: Path) -> Iterator[str]:
    """Yields the paths, relative to both, that are missing on a side or differ."""
    names = {path.relative_to(side) for side in (left, right) for path in side.rglob("*") if path.is_file()}
    for name in sorted(names):
        if "__pycache__" in name.parts:
            continue
        both = (left / name).exists() and (right / name).exists()
        if not both or not filecmp.cmp(left / name, right / name, shallow=False):
            yield str(name)


def main() -> int:
    """Writes or checks the stubs; the exit code is 1 when a check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only, change nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "gen"
        generate(fresh)
        changed = list(differences(GENERATED, fresh))
        if arguments.check and changed:
            print("stubs differ from the contracts:", *changed, sep="\n  ", file=sys.stderr)
            print("run: python protos/generate.py", file=sys.stderr)
            return 1
        if not arguments.check:
            shutil.rmtree(GENERATED, ignore_errors=True)
            shutil.copytree(fresh, GENERATED)
            print(f"{len(changed)} stub files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
