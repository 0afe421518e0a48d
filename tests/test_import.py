"What importing the package costs and drags in."
import re, subprocess, sys
import pytest


def python(code):
    "What a new Python prints."
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_import_is_light():
    heavy = "[m for m in ('torch', 'scanpy', 'matplotlib') if m in sys.modules]"
    assert python(f"import sys, scvae; print({heavy})") == "[]"


COMMAND = """
import sys
from scvae.cli import app
try: app(sys.argv[1:])
finally: print("torch" in sys.modules)
"""


@pytest.mark.parametrize("line", ["fit --help", "encode --help", "fit none.h5ad", "data none.loom",
                                  "encode RUN none.h5ad -o new.h5ad", "fit a.h5ad none.h5ad"])
def test_help_and_mistyped_names_do_not_wait_for_torch(tmp_path, line):
    (tmp_path/"a.h5ad").write_bytes(b"")
    done = subprocess.run([sys.executable, "-c", COMMAND, *line.split()], capture_output=True,
                          text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert "--help" in line or re.search(r"there is no file \S*none\.\w+: check", done.stderr)


ALL = """
import importlib, pkgutil, sys, scvae
for m in pkgutil.walk_packages(scvae.__path__, "scvae."):
    if not m.name.endswith("__main__"): importlib.import_module(m.name)
"""


def test_development_tools_are_not_imported():
    tools = "[m for m in ('nbdev', 'fastcore', 'execnb', 'IPython') if m in sys.modules]"
    assert python(f"{ALL}print({tools})") == "[]"


def test_public_names_resolve():
    known = "all(callable(getattr(scvae, n)) for n in scvae.__all__), hasattr(scvae, 'nonsense')"
    assert python(f"import scvae.studies, scvae; print({known})") == "True False"
    modules = "scvae.batches.harmony, scvae.reports, scvae.studies"
    assert "scvae.reports" in python(f"import scvae; print({modules})")
    odd = "{hasattr(scvae, n) for n in ('_counts', 'a.b', 'no such', '', 'templates')}"
    assert python(f"import scvae; print({odd})") == "{False}"


UNEXPLAINED = ALL + """
import inspect
for name, module in sorted(sys.modules.items()):
    if not name.startswith("scvae.") or not hasattr(module, "__all__"): continue
    if name == "scvae.cli": continue   # its options say what they are to the shell
    for n in module.__all__:
        f = getattr(module, n)
        if not inspect.isfunction(inspect.unwrap(f)) or f.__module__ != name: continue
        if not inspect.signature(f).parameters: continue
        if "Parameters" not in (f.__doc__ or ""): print(name, n)
"""


def test_help_explains_the_parameters_of_every_public_function():
    assert python(UNEXPLAINED) == ""


@pytest.mark.slow
def test_a_model_has_the_methods_of_later_notebooks():
    for name in "fit", "fit_many", "load_model", "SCVAE":
        code = f"import scvae; scvae.{name}; from scvae.fitting import SCVAE; print(SCVAE.map)"
        assert "function SCVAE.map" in python(code)


def test_help_explains_every_option_of_fit():
    code = ("import inspect, scvae\nfor n in inspect.signature(scvae.fit).parameters:\n"
            "    assert f'\\n{n}' in scvae.fit.__doc__, n\nprint(scvae.SCVAE.encode.__doc__)")
    assert "layer : default None" in python(code)
