"""What MkDocs does for this site besides its own: pages that are kept elsewhere, and what must hold.

The README is the home page. CONTRIBUTING and CHANGELOG are pages, and so are those of the reference. Links to files
that are no pages lead to the repository. The build ends with an error if a public name is not in the reference, or if
a page would load anything from another place.
"""

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
import reference
from reference import ROOT

KEPT_ELSEWHERE = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
LINK = re.compile(r"(\]\(|(?:src|href|srcset)=\")([^)\s\"]+)")
PATH_AS_TEXT = re.compile(r"\[(?:docs/)?(\w+\.md)\](?=\([^)]*\1)")
OURS = re.compile(
    r"https://(?:github\.com/microgradc/microgradc/(?:blob|tree|raw)|raw\.githubusercontent\.com/microgradc/microgradc)"
    r"/main/"
)
BADGE = re.compile(r"\[!\[[^]]*\]\(https?:[^)]*\)\]\([^)]*\)\n?")    # is loaded from elsewhere
PROMPTS = re.compile(r"^```python\n(?=>>> )", re.MULTILINE)
FROM_ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*src=\"?https?:[^>]*>"
    r"|<link[^>]*(?:stylesheet|icon|preconnect)[^>]*https?:[^>]*>"
)


def on_config(config):
    """Put the reference into the navigation, and take out pages that are not there."""
    config.nav = [entry for entry in map(in_navigation, config.nav) if entry]
    config.watch.append(str(ROOT / "README.md"))
    return config


def in_navigation(entry):
    """Return an entry of the navigation, or None if its page is not there."""
    if isinstance(entry, str):
        return entry if entry in KEPT_ELSEWHERE or (ROOT / "docs" / entry).exists() else None
    ((title, below),) = entry.items()
    if below == "reference":
        return {title: ["reference/index.md", *(f"reference/{page}.md" for page in reference.PAGES)]}
    if isinstance(below, str):
        return entry
    below = [found for found in map(in_navigation, below) if found]
    return {title: below} if below else None


def on_files(files, config):
    """Add the pages that are not in this folder."""
    made = {uri: (ROOT / name).read_text(encoding="utf-8") for uri, name in KEPT_ELSEWHERE.items()}
    made |= {f"reference/{page}.md": reference.page_text(page) for page in reference.PAGES}
    made["reference/index.md"] = reference.overview()
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Lead links to pages to pages, and others to the repository; mark sessions as what they are."""
    uri = page.file.src_uri
    at = posixpath.dirname(posixpath.join("docs", uri)) if uri not in KEPT_ELSEWHERE else ""

    def led(match):
        short = OURS.sub("", match[2])    # the index of packages needs whole addresses
        start = at if short == match[2] else ""
        target, _, anchor = short.partition("#")
        if ":" in target or not target or uri.startswith("reference/"):
            return match[0]
        path = posixpath.normpath(posixpath.join(start, target))
        found = next((at for at, name in KEPT_ELSEWHERE.items() if name == path), path.removeprefix("docs/"))
        if files.get_file_from_path(found) and (path.startswith("docs/") or path in KEPT_ELSEWHERE.values()):
            new = posixpath.relpath(found, posixpath.dirname(uri) or ".")
        elif (ROOT / path).exists():
            new = f"{config.repo_url}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"
        else:
            return match[0]    # which MkDocs will find fault with
        return f"{match[1]}{new}{'#' if anchor else ''}{anchor}"

    def title(match):
        path = ROOT / "docs" / match[1] if (ROOT / "docs" / match[1]).exists() else ROOT / match[1]
        return f"[{path.read_text(encoding='utf-8').partition(chr(10))[0].removeprefix('# ')}]"

    page.meta["hide"] = {"index.md": ["navigation"], "gallery.md": ["toc"]}.get(uri, [])
    text = LINK.sub(led, PATH_AS_TEXT.sub(title, markdown))
    return PROMPTS.sub("```pycon\n", BADGE.sub("", text))


def on_post_page(output, page, config):
    if found := FROM_ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} loads something from another place: {found[0]}")
    return output


def on_post_build(config):
    """Every public name has its heading in the reference."""
    site = Path(config.site_dir)
    written = "".join(path.read_text(encoding="utf-8") for path in site.glob("reference/*.html"))
    anchors = set(re.findall(r'id="?(microgradc[\w.]*)', written))
    missing = [name for names in reference.contents().values() for name in names if name not in anchors]
    if missing:
        raise PluginError(f"not in the reference: {', '.join(missing)}")
