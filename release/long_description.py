"""The README as a package index shows it. hatchling loads this file alone, also from the sdist."""

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCE: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s]+)\)")


def absolute_links(text: str, base: str) -> str:
    """Return Markdown whose relative links start at `base`, because an index has no files that they could name.

    Code blocks stay as they are, as do links within the page.
    """
    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(rf"]({base}\1)", part) for part in parts[::2]]
    return "".join(parts)


class LongDescription(MetadataHookInterface):
    """Gives hatchling the README with absolute links. `links`: their base, with `{version}` in it."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `readme`, which pyproject.toml declares as dynamic."""
        base = self.config["links"].format(version=metadata["version"])
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute_links(text, base)}
