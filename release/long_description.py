"""The README as a package index shows it. hatchling loads only this file, also from the sdist."""

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCE: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s]+)\)")


def absolute_links(text: str, base: str) -> str:
    """Return Markdown whose relative links start at `base`.

    A package index has no files that relative links could point to. Code blocks and links within
    the page stay as they are.
    """
    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(rf"]({base}\1)", part) for part in parts[::2]]
    return "".join(parts)


class LongDescription(MetadataHookInterface):
    """Passes the README with absolute links to hatchling.

    `links`: the base of the links. It contains `{version}`.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `readme`, which pyproject.toml declares as dynamic."""
        base = self.config["links"].format(version=metadata["version"])
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute_links(text, base)}
