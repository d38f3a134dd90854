"""Names the release of this checkout or image."""

import tomllib
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).resolve().parents[2] / "pyproject.toml"


def own_release() -> str:
    """Return the version in pyproject.toml, which the checkout and the image contain."""
    return str(tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["version"])
