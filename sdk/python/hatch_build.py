"""Makes the protobuf code from `proto/` while the package is built: nothing generated is in the repository."""

import pathlib
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SCHEMA = "tidegate/v1/gateway.proto"


class Generate(BuildHookInterface[Any]):
    """The schema lies beside the package in a source distribution, and two folders up in the repository."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        generate(pathlib.Path(self.root))


def generate(root: pathlib.Path) -> None:
    """Writes the modules of the schema, and their types."""
    import grpc_tools.protoc

    places = [root / "proto", root.parents[1] / "proto"]
    proto = next((place for place in places if (place / SCHEMA).is_file()), None)
    if proto is None:
        raise SystemExit(f"{SCHEMA} lies in none of: {', '.join(map(str, places))}")
    out = root / "src" / "tidegate_sdk" / "_generated"
    out.mkdir(exist_ok=True)
    # protobuf's own messages, such as Struct.
    included = pathlib.Path(grpc_tools.protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{proto}", f"-I{included}", f"--python_out={out}", f"--pyi_out={out}", SCHEMA]
    if grpc_tools.protoc.main(arguments) != 0:
        raise SystemExit(f"protoc could not compile {proto / SCHEMA}")


if __name__ == "__main__":
    generate(pathlib.Path(__file__).resolve().parent)
