"""Execute notebooks, store their outputs, and note in them which code made these.

python tools/execute.py                      all notebooks
python tools/execute.py 02_model index       some
python tools/execute.py --stamp-only NAME    its outputs are known to be of its present code"""
import argparse, ast, hashlib, json, os, re, resource, subprocess, sys
from pathlib import Path
from chapters import codes, notebooks, root


def plain(node):
    "Syntax as nested lists that do not depend on layout, nor on Python's version."
    if isinstance(node, list): return [plain(n) for n in node]
    if not isinstance(node, ast.AST): return repr(node)
    fields = [(k, plain(v)) for k, v in ast.iter_fields(node) if v is not None and v != []]
    return [type(node).__name__, fields]


def fingerprint(sources):
    "SHA-256 of what the code cells say; magics are left out, comments and layout do not count."
    python = [re.sub(r"^(\s*)[%!].*$", r"\1pass", s, flags=re.M) for s in sources if s[:2] != "%%"]
    return hashlib.sha256(json.dumps([plain(ast.parse(s)) for s in python]).encode()).hexdigest()


def stamp(name):
    "What a notebook's metadata say if its outputs were made by its present code."
    from scvae.train import ENGINE
    return {"code": fingerprint(codes(name)), "engine": ENGINE}


def execute(nb):
    "Run all cells but those that say `#| eval: false`; an error is raised."
    from nbclient import NotebookClient
    skipped = [c for c in nb.cells if re.search(r"^#\|\s*eval:\s*false", c.source, re.M)]
    for cell in skipped: cell.cell_type = "raw"
    os.environ["MATPLOTLIBRC"] = str(root/"scvae/templates/scvae.mplstyle")  # one style for all
    place = {"metadata": {"path": str(root/"nbs")}}
    NotebookClient(nb, timeout=None, kernel_name="python3", resources=place).execute()
    for cell in skipped: cell.cell_type = "code"


def seconds():
    "What the kernels have worked so far, on all cores together."
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def refresh(name, stamp_only):
    "One notebook, from its code to its file."
    import nbformat
    path = root/f"nbs/{name}.ipynb"
    nb, before = nbformat.read(path, 4), seconds()
    if not stamp_only: execute(nb)
    nb.metadata.pop("widgets", None)  # the state of progress bars, which nobody sees
    nb.metadata["scvae"] = stamp(name)
    nbformat.write(nb, path)
    clean = Path(sys.executable).with_name("nbdev_clean")
    subprocess.run([clean, "--fname", path], cwd=root, check=True)
    worked = f"executed, {seconds() - before:.0f} s of work"
    print(name, "stamped" if stamp_only else worked, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks: 02_model or nbs/02_model.ipynb")
    parser.add_argument("--stamp-only", action="store_true", help="execute nothing")
    options = parser.parse_args()
    for chosen in options.names or [*notebooks(), "index"]:
        refresh(Path(chosen).stem, options.stamp_only)
