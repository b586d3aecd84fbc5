"""Generates `src/sayso/v1`, the messages of the API, from the proto files of the repository."""

import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
TARGET = HERE / "src" / "sayso" / "v1"


def main() -> None:
    """Generates the code, or leaves it as it is if the proto files are not there, as in a source distribution."""
    files = proto_files()
    if not files:
        if not (TARGET / "grant_pb2.py").exists():
            sys.exit(f"no proto files in {PROTO}, and no generated code in {TARGET}")
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(files, Path(folder))
        generated = Path(folder) / "sayso" / "v1"
        (generated / "__init__.py").write_text(
            '"""The messages and stubs of the API, generated from its proto files."""\n'
        )
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(generated, TARGET)


def proto_files() -> list[Path]:
    """Returns the proto files, or none in a source distribution."""
    return sorted((PROTO / "sayso" / "v1").glob("*.proto"))


def generate(files: list[Path], target: Path) -> None:
    """Runs protoc on the files, with the plugins for gRPC and for types."""
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    plugins = [f"--plugin=protoc-gen-{name}={plugin(f'protoc-gen-{name}')}" for name in ("mypy", "mypy_grpc")]
    arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", *plugins]
    arguments += [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    arguments += [f"--{kind}_out=quiet:{target}" for kind in ("mypy", "mypy_grpc")]
    if protoc.main([*arguments, *map(str, files)]) != 0:
        sys.exit("protoc failed")


def plugin(name: str) -> str:
    """Returns the path of a plugin, which is installed beside this Python or, in a build, on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or sys.exit(f"{name} is missing; install mypy-protobuf")


if __name__ == "__main__":
    main()
