"""The order of the notebooks and what each one exports, read off their numbers.

The sidebar, previous and next, the reading paths and the tests take it from here."""
import json, re
from configparser import ConfigParser
from functools import cache
from pathlib import Path

root = Path(__file__).resolve().parents[1]
settings = ConfigParser(delimiters=["="])
settings.read(root/"settings.ini", encoding="utf-8")
cfg = settings["DEFAULT"]
published = cfg.getboolean("published")  # until then the addresses are placeholders: no links
repository = f"https://github.com/{cfg['user']}/{cfg['repo']}"
site_address = f"{cfg['doc_host']}{cfg['doc_baseurl']}/" * published
PARTS = {  # first and last number, and what one reads it for
    "Learn": (0, 9, "What a VAE of single cells is, from counts to scores"),
    "Use": (10, 29, "Your own cells: fit, plot, correct batches, report, from Python or a shell"),
    "Study": (30, 49, "What beta, genes and clusterers do, in recorded runs"),
    "Under the hood": (80, 89, "Reading files, checking counts, fast kernels"),
    "Contribute": (90, 99, "Change a notebook; add a dataset, a likelihood, a schedule"),
}


def number(stem): return int(stem.split("_")[0])


def notebooks():
    "The names of the numbered notebooks, in reading order."
    return sorted((p.stem for p in (root/"nbs").glob("[0-9]*_*.ipynb")), key=number)


def parts():
    "Part -> its notebooks."
    return {part: [s for s in notebooks() if first <= number(s) <= last]
            for part, (first, last, _) in PARTS.items()}


@cache
def read(stem): return json.loads((root/f"nbs/{stem}.ipynb").read_text(encoding="utf-8"))


def codes(stem):
    "The sources of a notebook's code cells."
    return ["".join(c["source"]) for c in read(stem)["cells"] if c["cell_type"] == "code"]


def title(stem):
    "The first heading of a notebook."
    return re.match(r"# (.+)", "".join(read(stem)["cells"][0]["source"]))[1]


def exports(stem):
    "Whether a notebook has cells that become a module."
    return any(re.search(r"^#\|\s*exports?\b", code, re.M) for code in codes(stem))


def module(stem):
    "The module that a notebook of this name exports."
    name = stem.split("_", 1)[1]
    return f"scvae.studies.{name}" if 30 <= number(stem) < 50 else f"scvae.{name}"


@cache
def modules():
    "Module -> its notebook, in reading order."
    return {module(s): s for s in notebooks() if exports(s)}


def reading_paths():
    "The parts and their notebooks as a list in Markdown."
    link = lambda stem: f"[{title(stem)}]({stem}.ipynb)"
    rows = [f"- **{part}**. {PARTS[part][2]}: {', '.join(map(link, stems))}."
            for part, stems in parts().items() if stems]
    return "\n".join(rows)
