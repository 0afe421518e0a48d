"""Variational autoencoders for single-cell RNA-seq; every other file here is exported from a notebook in nbs/."""
__version__ = "0.1.0"

_home = {
    "load": "data", "synthetic": "data", "Preprocessor": "preprocess", "VAE": "model",
    "fit": "fitting", "fit_many": "many", "SCVAE": "fitting", "load_model": "fitting", "score": "metrics", "study": "studies.catalogue", "consensus": "ensembles", "search": "tuning",
}
__all__ = list(_home)


def __getattr__(name):
    "Import a name's module on first use, so that `import scvae` is fast."
    from importlib import import_module
    if name in _home:
        return getattr(import_module(f"scvae.{_home[name]}"), name)
    raise AttributeError(f"module 'scvae' has no attribute {name!r}")


def __dir__(): return __all__ + ["__version__"]
