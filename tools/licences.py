"Licences of all pinned packages, as they state them, into licences.csv."
import csv, re
from importlib.metadata import metadata
from pathlib import Path

root = Path(__file__).parents[1]


def pinned():
    "Name -> version of every line of constraints.txt."
    lines = (root/"constraints.txt").read_text().split()
    return dict(line.split("==") for line in lines)


def licence(package):
    "The licence that a package's metadata name."
    about = metadata(package)
    if said := about.get("License-Expression"): return said
    approved = "License :: OSI Approved :: "
    kinds = [c for c in about.get_all("Classifier", []) if c.startswith(approved)]
    if kinds: return "; ".join(c.removeprefix(approved) for c in kinds)
    said = (about.get("License") or "").strip()
    return re.sub(r"\s+", " ", said.splitlines()[0]) if said else "not stated"


def table():
    "A row for each package: name, version, licence."
    return [[name, version, licence(name)] for name, version in sorted(pinned().items())]


if __name__ == "__main__":
    rows = [["package", "version", "licence"], *table()]
    with open(root/"licences.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
