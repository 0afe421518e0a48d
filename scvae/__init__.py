"""Variational autoencoders for single-cell RNA-seq; every other file here is exported from a notebook in nbs/."""
__version__ = "0.1.0"

_home = {
    "load": "data", "synthetic": "data", "Preprocessor": "preprocess", "VAE": "model",
    "fit": "processes", "fit_many": "many", "SCVAE": "fitting", "load_model": "fitting", "score": "metrics", "study": "studies.catalogue", "consensus": "ensembles", "search": "tuning",
    "transfer": "mapping", "differential_expression": "expression", "compare_runs": "reports",
}
_methods = "mapping", "expression", "streaming"  # modules that give SCVAE more methods
__all__ = list(_home)


def __getattr__(name):
    "Import a name's module, or a module, on first use, so that `import scvae` is fast."
    from importlib import import_module
    from importlib.util import find_spec
    if name in _home:
        home = import_module(f"scvae.{_home[name]}")
        if _home[name] in ("fitting", "many", "processes"):
            for more in _methods: import_module(f"scvae.{more}")
        return getattr(home, name)
    try: spec = name.isidentifier() and not name.startswith("_") and find_spec(f"scvae.{name}")
    except ValueError: spec = None   # somebody's stand-in for a module
    if spec and spec.origin: return import_module(f"scvae.{name}")
    raise AttributeError(f"module 'scvae' has no attribute {name!r}")


def __dir__(): return __all__ + ["__version__"]


def _give_numba_a_folder():
    "Where scanpy's numba finds no place to keep what it compiles, it fails: name a folder of our own."
    import os, stat, tempfile
    usual = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    while not os.path.lexists(usual) and usual != os.path.dirname(usual):
        usual = os.path.dirname(usual)
    is_open = os.path.isdir(usual) and os.access(usual, os.W_OK | os.X_OK)
    if is_open or "NUMBA_CACHE_DIR" in os.environ: return
    try:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        folder = os.path.join(tempfile.gettempdir(), f"scvae-numba-{user}")
        os.makedirs(folder, 0o700, exist_ok=True)
        about = os.lstat(folder)  # what others may write to is not read: numba unpickles it
        ours = stat.S_ISDIR(about.st_mode) and about.st_uid == user and not about.st_mode & 0o022
        if user != "user" and not ours: folder = tempfile.mkdtemp(prefix="scvae-numba-")
        os.environ["NUMBA_CACHE_DIR"] = folder
    except OSError: pass  # nothing can be written anywhere: numba says so when it is needed


_give_numba_a_folder()
