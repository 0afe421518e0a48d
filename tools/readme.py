"""Write README.md from nbs/index.ipynb and CONTRIBUTING.md from nbs/90_contributing.ipynb.

Prose as it is, shown code and its printed output in fences. (nbdev_readme would need Quarto.)"""
import re
from chapters import read, root

PAGES = {"README.md": "index", "CONTRIBUTING.md": "90_contributing"}


def shown(output):
    "What a cell printed or displayed, as Markdown."
    data = output.get("data", {})
    if "text/markdown" in data: return "".join(data["text/markdown"]).strip()
    text = output.get("text") or data.get("text/plain", "")
    return "```\n" + "".join(text).rstrip() + "\n```"


def code(cell):
    "A code cell and its outputs as Markdown; nothing where it is hidden."
    source = "".join(cell["source"])
    if re.match(r"#\|\s*hide\b", source): return []
    hidden = re.match(r"#\|\s*echo:\s*false", source)
    source = re.sub(r"\A(?:#\|.*\n)+", "", source)
    return [f"```python\n{source}\n```"] * (not hidden) + [shown(o) for o in cell["outputs"]]


def readme_text(notebook="index.ipynb"):
    "The README that index.ipynb stands for, or the page of another notebook."
    cells = read(notebook.removesuffix(".ipynb"))["cells"]
    prose = lambda c: ["".join(c["source"])] if c["cell_type"] == "markdown" else code(c)
    parts = [f"<!-- Made from nbs/{notebook} by `make readme`: edit that file. -->"]
    text = "\n\n".join(parts + [p for c in cells for p in prose(c)]) + "\n"
    local = r"\]\((?!https?:|#)([^)]+\.(?:ipynb|png|svg))\)"
    return re.sub(local, r"](nbs/\1)", text).replace("](../", "](")


if __name__ == "__main__":
    for page, stem in PAGES.items():
        (root/page).write_text(readme_text(f"{stem}.ipynb"), encoding="utf-8")
