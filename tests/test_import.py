"What importing the package costs and drags in."
import subprocess, sys


def python(code): return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_is_light():
    assert python("import sys, scvae; print([m for m in ('torch', 'scanpy', 'matplotlib') if m in sys.modules])") == "[]"


def test_development_tools_are_not_imported():
    code = "import pkgutil, sys, scvae\nfor m in pkgutil.iter_modules(scvae.__path__): __import__('scvae.' + m.name)\nprint([m for m in ('nbdev', 'fastcore', 'execnb', 'IPython') if m in sys.modules])"
    assert python(code) == "[]"


def test_public_names_resolve():
    code = "import scvae.studies, scvae; print(all(callable(getattr(scvae, n)) for n in scvae.__all__), hasattr(scvae, 'nonsense'))"
    assert python(code) == "True False"
