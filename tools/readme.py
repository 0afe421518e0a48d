"Write README.md from nbs/index.ipynb and CONTRIBUTING.md from nbs/21_contributing.ipynb: prose as it is, shown code and its printed output in fences. (nbdev_readme would need Quarto.)"
import json, re
from pathlib import Path

root = Path(__file__).resolve().parents[1]


def code(cell):
    "A code cell and what it printed or displayed as Markdown; nothing where it is hidden."
    source = "".join(cell["source"])
    if re.match(r"#\|\s*hide\b", source): return []
    source = re.sub(r"\A(?:#\|(?!\s*echo).*\n)+", "", source)
    shown = re.match(r"#\|\s*echo:\s*false", source)
    parts = [] if shown else [f"```python\n{source}\n```"]
    for out in cell["outputs"]:
        data = out.get("data", {})
        if "text/markdown" in data: parts.append("".join(data["text/markdown"]).strip())
        elif out["output_type"] == "stream" or "text/plain" in data:
            parts.append("```\n" + "".join(out.get("text") or data["text/plain"]).rstrip() + "\n```")
    return parts


def readme_text(notebook="index.ipynb"):
    "The README that index.ipynb stands for, or the page of another notebook."
    cells = json.loads((root/"nbs"/notebook).read_text(encoding="utf-8"))["cells"]
    parts = [p for c in cells for p in (["".join(c["source"])] if c["cell_type"] == "markdown" else code(c))]
    text = f"<!-- Made from nbs/{notebook} by `make readme`: edit that file. -->\n\n" + "\n\n".join(parts) + "\n"
    return re.sub(r"\]\((?!https?:|#)([^)]+\.(?:ipynb|png|svg))\)", r"](nbs/\1)", text).replace("](../", "](")


if __name__ == "__main__":
    (root/"README.md").write_text(readme_text(), encoding="utf-8")
    (root/"CONTRIBUTING.md").write_text(readme_text("21_contributing.ipynb"), encoding="utf-8")
