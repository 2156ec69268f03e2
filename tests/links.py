"""Links of the documentation: each leads to a file, and to a heading where it names one; each page is reached from README.md; and what is
said to be made by `make` is a target.

    python3 tests/links.py

Prints what is wrong as FILE:LINE, and ends with 1. Addresses elsewhere are not asked.
"""

import os
import pathlib
import re
import sys
from urllib.parse import unquote

ROOT = pathlib.Path(__file__).resolve().parent.parent
START = ROOT / "README.md"
INSTALLED = ("node_modules", "target", "dist")
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ {0,3}(```|~~~)")
HEADING = re.compile(r"^ {0,3}(#{1,6}) +(.*?) *#*$")


def pages() -> list[pathlib.Path]:
    """All pages of the tree, without what is installed or built."""
    found = []
    for folder, below, files in os.walk(ROOT):
        below[:] = [name for name in below if not name.startswith(".") and name not in INSTALLED]
        found += [pathlib.Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


def prose(text: str) -> list[tuple[int, str]]:
    """Lines outside of code blocks, with their numbers."""
    fence, lines = None, []
    for number, line in enumerate(text.splitlines(), 1):
        found = FENCE.match(line)
        if found and fence in (None, found[1]):
            fence = None if fence else found[1]
        elif fence is None:
            lines.append((number, line))
    return lines


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """All of a page."""
    found: dict[str, int] = {}
    names = set()
    for _, line in prose(text):
        if heading := HEADING.match(line):
            name = anchor(heading[2])
            count = found.get(name, 0)
            found[name] = count + 1
            names.add(f"{name}-{count}" if count else name)
        names.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
    return names


def links(text: str) -> list[tuple[int, str]]:
    """Each with its line; what stands in `code` is none."""
    found = []
    for number, line in prose(text):
        found += [(number, link) for link in LINK.findall(re.sub(r"(`+)[^`]*\1(?!\()", lambda code: "`" * len(code[0]), line))]
    return found


def main() -> int:
    known = {path: path.read_text(encoding="utf-8") for path in pages()}
    wrong, leads = [], {}
    for path, text in known.items():
        leads[path] = set()
        for number, link in links(text):
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            name, _, part = unquote(link).partition("#")
            target = (path.parent / name).resolve() if name else path
            where = f"{path.relative_to(ROOT)}:{number}"
            if name.startswith("/") or not target.is_relative_to(ROOT):
                wrong.append(f"{where}: '{link}' leads out of the repository")
            elif not target.exists():
                wrong.append(f"{where}: '{link}' leads nowhere")
            elif part and target.suffix == ".md" and part not in anchors(target.read_text(encoding="utf-8")):
                wrong.append(f"{where}: '{link}': {target.relative_to(ROOT)} has no such heading")
            leads[path].add(target / "README.md" if target.is_dir() else target)
    reached, ahead = set(), [START]
    while ahead:
        path = ahead.pop()
        if path not in reached:
            reached.add(path)
            ahead += [target for target in leads.get(path, ()) if target in known]
    wrong += [f"{path.relative_to(ROOT)}: nothing that begins at README.md leads here" for path in known if path not in reached]
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path, text in known.items():
        asked = re.findall(r"^(?:[A-Z_]+=\S+ )*make ([a-z][a-z-]*)|`make ([a-z][a-z-]*)", text, re.MULTILINE)
        wrong += [f"{path.relative_to(ROOT)}: the Makefile has no '{name}'" for name in sorted({one or other for one, other in asked} - targets)]
    # The index names each by itself.
    wrong += [f"{path.relative_to(ROOT)}: README.md does not name it" for path in known if path.parts[-2] in ("docs", "guides") and path not in leads[START]]
    print("\n".join(wrong) if wrong else f"{len(known)} pages, {sum(map(len, leads.values()))} links")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
