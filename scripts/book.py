#!/usr/bin/env python3
"""Lays out the pages of the documentation for mdBook below target/book-src, and checks every link.

    scripts/book.py [LONGSHORE]    the program whose commands the page of commands shows

Pages stay where they are in the repository, so that their links work in both places. Files that a page links to, such as
a schema, become files of the site. A link to a folder becomes text. Two pages are generated: the commands, and the
messages as schemas/asyncapi.yaml describes them.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from posixpath import normpath

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "target/book-src"
LINK = re.compile(r"(?<!\!)\[([^\]]*)\]\(([^)\s]+)\)")


def anchors(text):
    """The anchors of a page's headings, as mdBook and GitHub make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", without_code(text), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
        found.add(words.replace(" ", "-"))
    return found


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def commands(program):
    """The page of commands: what --help says."""
    listing = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^  ([a-z-]+) {2,}\S", listing.split("Commands:")[1].split("\n\n")[0], re.MULTILINE)
    yield f"# Commands\n\nThe program prints all of this itself.\n\n```text\n{listing.rstrip()}\n```\n"
    for name in names:
        if name != "help":
            text = subprocess.run([program, name, "--help"], capture_output=True, text=True, check=True).stdout
            yield f"## {name}\n\n```text\n{text.rstrip()}\n```\n"


def messages():
    """The page of messages: the asyncapi document, and the schemas beside it."""
    text = (ROOT / "schemas/asyncapi.yaml").read_text()
    schemas = "\n".join(f"- [{path.name}](../schemas/{path.name})" for path in sorted((ROOT / "schemas").glob("*.json")))
    return (
        "# Exchanges, queues and messages\n\nThe schemas of all messages, generated from the program's types:\n\n"
        f"{schemas}\n\n[asyncapi.yaml](../schemas/asyncapi.yaml) says which of them goes where:\n\n```yaml\n{text}```\n"
    )


def main():
    summary = (ROOT / "docs/SUMMARY.md").read_text()
    pages = [target for _, target in LINK.findall(summary)]
    pages += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
    program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/debug/longshore")
    texts = {"docs/commands.md": "\n".join(commands(program)), "docs/messages.md": messages()}
    for page in pages:
        if page not in texts:
            texts[page] = (ROOT / page).read_text()
    unlisted = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - set(texts) - {"docs/SUMMARY.md"}
    problems = [f"docs/SUMMARY.md does not list {page}" for page in sorted(unlisted)]

    shutil.rmtree(PLACE, ignore_errors=True)
    for page, text in texts.items():

        def linked(match, page=page):
            label, link = match.groups()
            if re.match(r"[a-z]+:", link):
                return match[0]
            path, _, anchor = link.partition("#")
            target = normpath(f"{page}/../{path}") if path else page
            if (ROOT / target).is_dir():
                if f"{target}/README.md" in texts:
                    return f"[{label}]({path}/README.md)"
                return f"{label} (`{target}`)"
            if target not in texts and not (ROOT / target).is_file():
                problems.append(f"{page}: {link} leads nowhere")
            elif target not in texts:
                (PLACE / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / target, PLACE / target)
            elif anchor and anchor not in anchors(texts[target]):
                problems.append(f"{page}: {link} names no heading of {target}")
            return match[0]

        pieces = re.split(r"(```.*?```)", text, flags=re.DOTALL)
        done = "".join(piece if piece.startswith("```") else LINK.sub(linked, piece) for piece in pieces)
        (PLACE / page).parent.mkdir(parents=True, exist_ok=True)
        (PLACE / page).write_text(done)
    rejected = "".join(
        f"  - [{texts[page].splitlines()[0].lstrip('# ')}]({page})\n" for page in pages
        if page.startswith("docs/decisions/") and page != "docs/decisions/README.md"
    )
    line = "- [Designs that were rejected](docs/decisions/README.md)\n"
    (PLACE / "SUMMARY.md").write_text(summary.replace(line, line + rejected))
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
