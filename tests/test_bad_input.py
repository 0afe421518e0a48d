"""Whatever can be wrong with the input ends in one sentence that says what to do.

Whatever holds counts, in whatever form, gives the same latents."""

import contextlib, gzip, json, os, shutil, subprocess, sys, tempfile, warnings
from functools import partial
from pathlib import Path
import anndata as ad, h5py, numpy as np, pandas as pd, pytest, scanpy as sc
from scipy import sparse
import scvae, scvae.train
from scvae.counts import NoCounts, counts_of

QUICK = dict(n_top_genes=30, n_latent=2, hidden=(8,), epochs=2, progress=False)


def cells(n=130):
    "A few cells of three types."
    adata = scvae.synthetic(130, 40, n_types=3, random_state=0)[:n].copy()
    del adata.varm, adata.uns["scvae"]
    return adata


def with_X(X):
    a = cells()
    return ad.AnnData(X, a.obs, a.var)


def changed(change):
    a = cells()
    change(a)
    return a


def edit(i, j, value):
    X = cells().X.toarray()
    X[i, j] = value
    return with_X(X)


def logged(a):
    sc.pp.normalize_total(a)
    sc.pp.log1p(a)


def scaled(a):
    logged(a)
    sc.pp.scale(a)


@pytest.fixture(scope="module")
def vae():
    return scvae.fit(cells(), **QUICK)


@pytest.fixture(scope="module")
def plain(vae):
    "The latents that every form of the same counts should have."
    return vae.encode(cells())


# ---------------------------------------------------------------- the same counts in other forms


def wide(X):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def doubled(X):
    "Each count stored as two entries."
    X = X.tocoo()
    first = np.floor(X.data / 2)
    indptr = np.concatenate([[0], np.cumsum(2 * np.bincount(X.row, minlength=X.shape[0]))])
    order = np.argsort(np.tile(X.row, 2), kind="stable")
    return sparse.csr_matrix(
        (np.concatenate([first, X.data - first])[order], np.tile(X.col, 2)[order], indptr), X.shape
    )


def backwards(X):
    "Indices in falling order."
    parts = [slice(a, b) for a, b in zip(X.indptr, X.indptr[1:])]
    return sparse.csr_matrix(
        (
            np.concatenate([X.data[p][::-1] for p in parts]),
            np.concatenate([X.indices[p][::-1] for p in parts]),
            X.indptr,
        ),
        X.shape,
    )


def zeros(X):
    X = X.toarray()
    X[X == 0] = -1
    X = sparse.csr_matrix(X)
    X.data[X.data < 0] = 0
    return X


def dask(X, chunk=50):
    return pytest.importorskip("dask.array").from_array(
        X, chunks=(chunk, X.shape[1]), asarray=False
    )


FORMS = {
    "csc": lambda X: X.tocsc(),
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "dense": lambda X: X.toarray(),
    "fortran": lambda X: np.asfortranarray(X.toarray()),
    "float64": lambda X: X.astype(float),
    "float16": lambda X: X.toarray().astype(np.float16),
    "longdouble": lambda X: X.toarray().astype(np.longdouble),
    "int64": lambda X: X.astype(np.int64),
    "uint16": lambda X: X.astype(np.uint16),
    "int16 csc": lambda X: X.tocsc().astype(np.int16),
    "uint64": lambda X: X.astype(np.uint64),
    "object": lambda X: X.toarray().astype(object),
    "64-bit indices": wide,
    "64-bit indices, csc": lambda X: wide(X.tocsc()),
    "two entries a count": doubled,
    "unsorted": backwards,
    "explicit zeros": zeros,
    "dask": lambda X: dask(X.toarray()),
    "dask, one block": lambda X: dask(X.toarray(), 130),
    "dask of csr": dask,
    "read only": lambda X: (lambda D: (D.setflags(write=False), D)[1])(X.toarray()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_counts_gives_the_same_latents(form, vae, plain):
    adata = with_X(FORMS[form](cells().X))
    before = type(adata.X), adata.X.dtype
    np.testing.assert_array_equal(vae.encode(adata), plain)
    scvae.fit(adata, **QUICK)
    np.testing.assert_array_equal(adata.obsm["X_scvae"], plain)
    assert (type(adata.X), adata.X.dtype) == before  # the user's matrix is left as it is
    adata.layers["mine"], adata.X = adata.X, None
    scvae.fit(adata, layer="mine", key_added="again", **QUICK)
    np.testing.assert_array_equal(adata.obsm["again"], plain)


@pytest.mark.parametrize(
    "matrix", [lambda X: X, lambda X: X.tocsc(), lambda X: X.toarray()], ids=["csr", "csc", "dense"]
)
def test_a_matrix_that_stays_on_disk(matrix, vae, plain, tmp_path):
    with_X(matrix(cells().X)).write_h5ad(tmp_path / "x.h5ad")
    adata = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    scvae.fit(adata, **QUICK)
    assert adata.isbacked
    np.testing.assert_array_equal(adata.obsm["X_scvae"], plain)
    np.testing.assert_array_equal(vae.encode(adata), plain)
    np.testing.assert_allclose(vae.encode(adata[20:50]), plain[20:50], atol=1e-5)
    adata.file.close()


def test_views_are_fitted_like_copies():
    whole = scvae.synthetic(200, 50, n_types=3, random_state=0)
    pick = np.random.default_rng(0).permutation(200)[:130]
    view = whole[pick][:, 10:]
    copy = view.copy()
    with warnings.catch_warnings(action="ignore"):  # anndata says that the view becomes a copy
        for a in (view, copy):
            scvae.fit(a, **QUICK)
    np.testing.assert_array_equal(view.obsm["X_scvae"], copy.obsm["X_scvae"])


def test_genes_without_counts_and_genes_of_one_name(vae, plain):
    twice = changed(lambda a: setattr(a, "var_names", ["same", "same", *a.var_names[2:]]))
    with pytest.warns(UserWarning, match="genes of the same name.*'same'.*var_names_make_unique"):
        of_twice = scvae.fit(twice, **QUICK)
    np.testing.assert_array_equal(twice.obsm["X_scvae"], plain)
    np.testing.assert_array_equal(of_twice.encode(twice), plain)
    unique = twice.copy()
    unique.var_names_make_unique()
    with pytest.raises(ValueError, match="fitted on genes of the same name.*'same'.*fit again"):
        of_twice.encode(unique)
    a, blank = cells(), sparse.csr_matrix((130, 5), dtype=np.float32)
    more = ad.AnnData(
        sparse.hstack([a.X, blank], "csr"), a.obs, pd.DataFrame(index=[*a.var_names, *"vwxyz"])
    )
    assert not set("vwxyz") & set(scvae.fit(more, **QUICK).genes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scvae.fit(more, **QUICK | dict(n_top_genes=None))
    assert np.isfinite(more.obsm["X_scvae"]).all()


# ---------------------------------------------------------------- what is no count matrix


def fit(adata, **options):
    return scvae.fit(adata, **QUICK | options)


BAD = [  # what, cells, call, error, what its sentence says
    (
        "half",
        lambda: edit(2, 3, 0.5),
        fit,
        ValueError,
        ["not whole numbers, such as 0.5", "adata.X", "fractions", "round_counts=True"],
    ),
    ("negative", lambda: edit(2, 3, -1), fit, ValueError, ["negative values, down to -1"]),
    ("nan", lambda: edit(2, 3, np.nan), fit, ValueError, ["NaN"]),
    ("inf", lambda: edit(2, 3, np.inf), fit, ValueError, ["infinite"]),
    ("nan in csc", lambda: with_X(edit(2, 3, np.nan).X.T.copy().T), fit, ValueError, ["NaN"]),
    (
        "logged",
        lambda: changed(logged),
        fit,
        ValueError,
        ["looks log-normalised", "not whole numbers"],
    ),
    (
        "logged, note lost",
        lambda: changed(lambda a: (logged(a), a.uns.clear())),
        fit,
        ValueError,
        ["looks log-normalised"],
    ),
    (
        "log(1 + count)",
        lambda: changed(lambda a: setattr(a, "X", a.X.log1p())),
        fit,
        ValueError,
        ["looks log-normalised"],
    ),
    (
        "logged, counts in a layer",
        lambda: changed(lambda a: (a.layers.update(raw_counts=a.X.copy()), logged(a))),
        fit,
        ValueError,
        ["layer='raw_counts'"],
    ),
    (
        "logged, counts in raw",
        lambda: changed(lambda a: (setattr(a, "raw", a.copy()), logged(a))),
        fit,
        ValueError,
        ["adata.raw holds counts: pass layer='raw'"],
    ),
    (
        "logged, logged in raw",
        lambda: changed(lambda a: (logged(a), setattr(a, "raw", a))),
        fit,
        ValueError,
        ["looks log-normalised", "before normalisation"],
    ),
    (
        "normalised only",
        lambda: changed(sc.pp.normalize_total),
        fit,
        ValueError,
        ["looks normalised", "all cells have the same total"],
    ),
    ("scaled", lambda: changed(scaled), fit, ValueError, ["negative values", "looks scaled"]),
    (
        "bad layer",
        lambda: changed(lambda a: a.layers.update(l=a.X.log1p())),
        lambda a: fit(a, layer="l"),
        ValueError,
        ["adata.layers['l'] holds", "adata.X holds counts: leave layer= out"],
    ),
    (
        "words",
        lambda: with_X(np.full((130, 40), "many", object)),
        fit,
        ValueError,
        ["not numbers", "'many'"],
    ),
    ("None", lambda: with_X(np.full((130, 40), None, object)), fit, ValueError, ["NaN"]),
    ("complex", lambda: with_X(cells().X.astype(complex)), fit, ValueError, ["not numbers"]),
    ("no X", lambda: changed(lambda a: setattr(a, "X", None)), fit, ValueError, ["no X"]),
    (
        "no X, layer",
        lambda: changed(lambda a: (a.layers.update(counts=a.X), setattr(a, "X", None))),
        fit,
        ValueError,
        ["no X", "layer='counts'"],
    ),
    (
        "empty cells",
        lambda: edit([2, 5], slice(None), 0),
        fit,
        ValueError,
        ["2 of 130 cells have no counts", "filter_cells"],
    ),
    ("no cells", lambda: cells()[:0].copy(), fit, ValueError, ["0 cells"]),
    ("no genes", lambda: cells()[:, :0].copy(), fit, ValueError, ["0 genes"]),
    (
        "one gene",
        lambda: edit(slice(None), 0, 1)[:, :1].copy(),
        fit,
        ValueError,
        ["1 gene", "at least 2"],
    ),
    ("one cell", lambda: cells(1), fit, ValueError, ["1 cell", "at least 2"]),
    ("a matrix", lambda: cells().X, fit, TypeError, ["AnnData", "csr_matrix"]),
    ("a path", lambda: "my.h5ad", fit, FileNotFoundError, ["there is no file my.h5ad"]),
    ("no files", lambda: [], fit, ValueError, ["no file was given"]),
    ("several in memory", lambda: [cells(), cells()], fit, TypeError, ["anndata.concat"]),
    ("layer", cells, lambda a: fit(a, layer="raw"), KeyError, ["no layer 'raw'"]),
    (
        "batch_key",
        cells,
        lambda a: fit(a, batch_key="donor"),
        KeyError,
        ["no column 'donor'", "type, subtype, batch"],
    ),
    (
        "batch NaN",
        lambda: changed(lambda a: a.obs.loc.__setitem__((a.obs_names[:3], "batch"), None)),
        lambda a: fit(a, batch_key="batch"),
        ValueError,
        ["no value in 3 of 130 cells"],
    ),
    ("option", cells, lambda a: fit(a, epoch=3), TypeError, ["epoch", "epochs"]),
    ("likelihood", cells, lambda a: fit(a, likelihood="normal"), ValueError, ["'gaussian'"]),
    ("norm", cells, lambda a: fit(a, norm="instance"), ValueError, ["'batch'"]),
    ("n_latent", cells, lambda a: fit(a, n_latent=0), ValueError, ["n_latent"]),
    ("hidden", cells, lambda a: fit(a, hidden=(8, 0)), ValueError, ["hidden"]),
    ("n_top_genes", cells, lambda a: fit(a, n_top_genes=0), ValueError, ["n_top_genes is 0"]),
    (
        "one top gene",
        cells,
        lambda a: fit(a, n_top_genes=1),
        ValueError,
        ["n_top_genes", "at least 2"],
    ),
    ("epochs", cells, lambda a: fit(a, epochs=0), ValueError, ["epochs"]),
    ("all held out", cells, lambda a: fit(a, held_out=0.999), ValueError, ["held_out"]),
    ("device", cells, lambda a: fit(a, device="cuda:7"), ValueError, ["device", "'cpu'"]),
    ("precision", cells, lambda a: fit(a, precision="half"), ValueError, ["'bfloat16'"]),
]


def refuses(error, said, call, *args):
    "Check that a call ends in one of our sentences."
    with warnings.catch_warnings(action="ignore"), pytest.raises(error) as caught:
        call(*args)
    text = str(caught.value.args[0]) if isinstance(caught.value, KeyError) else str(caught.value)
    for fragment in said:
        assert fragment in text, text
    assert "\n" not in text and "Traceback" not in text
    frames = [str(f.path) for f in caught.traceback]
    assert Path(frames[-1]).parent.name == "scvae", (
        f"raised in {frames[-1]}: {text}"
    )  # by us, not by a library
    return text


@pytest.mark.parametrize("make, call, error, said", [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_fit_refuses_before_it_trains(make, call, error, said, monkeypatch):
    adata = make()

    def begun(*a, **k):
        raise AssertionError("training had begun")

    monkeypatch.setattr(scvae.train, "train_epoch", begun)
    keys = list(adata.obsm) if isinstance(adata, ad.AnnData) else None
    refuses(error, said, call, adata)
    if keys is not None:
        assert list(adata.obsm) == keys and "scvae" not in adata.uns


def test_fewer_cells_than_a_batch_is_said():
    with pytest.warns(
        UserWarning, match="20 cells, fewer than a minibatch of 128.*smaller batch_size"
    ):
        fit(cells(20))


def test_a_view_of_a_file_is_refused_before_work(tmp_path, monkeypatch, vae):
    whole = cells()
    scvae.fit(whole, **QUICK)
    whole.write_h5ad(tmp_path / "x.h5ad")
    adata = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    monkeypatch.setattr(scvae.train, "train_epoch", None)
    asked = dict(groupby="type", n_samples=50)
    for call in (
        fit,
        vae.map,
        vae.components,
        scvae.plots.cluster_cells,
        scvae.plots.add_umap,
        partial(scvae.plots.plot_generated, vae),
        partial(scvae.transfer, whole, label="type", vae=vae),
        partial(vae.differential_expression, **asked),
        partial(vae.differential_expression, **asked, key_added=None),
    ):
        refuses(ValueError, ["view of a file", "to_memory()"], call, adata[:100])
    adata.file.close()


def raw_of_other_genes():
    "Cells as scanpy leaves them: all genes in raw, fewer of them, in another order, in X."
    adata = cells()
    adata.raw = adata.copy()
    return adata[:, 19::-1].copy()


def test_counts_in_raw_have_the_genes_of_raw(vae, plain):
    adata = raw_of_other_genes()
    assert np.allclose(vae.encode(adata, layer="raw"), plain, atol=1e-5)
    top_genes = partial(scvae.plots.top_genes, groupby="type", n=3)
    assert top_genes(adata, layer="raw").equals(top_genes(cells()))
    for several in dict(workers=1), dict(workers=2), dict(stacked=True):
        one, _ = scvae.fit_many(adata.copy(), 2, layer="raw", **QUICK, **several)
        assert len(one.genes) == 30 and one.prep.var_names.tolist() == cells().var_names.tolist()


@pytest.mark.parametrize("how", [{}, dict(stream=True)], ids=["in memory", "streamed"])
def test_numbers_of_numpy_are_numbers(how, tmp_path):
    numbers = dict(n_top_genes=np.int64(30), n_latent=np.int32(2), hidden=np.array([8]),
                   epochs=np.int16(1), lr=np.float32(1e-3), random_state=np.uint8(3))
    fitted = scvae.fit(cells(), progress=False, **numbers, **how)
    fitted.save(tmp_path / "model")
    prep = scvae.Preprocessor(np.int64(30), np.float32(1e4), np.float64(10)).fit(cells())
    prep.save(tmp_path / "prep.safetensors")
    again = scvae.load_model(tmp_path / "model").encode(cells())
    assert np.array_equal(again, fitted.encode(cells()))


def test_a_consensus_refuses_before_it_trains_and_can_be_written(tmp_path, monkeypatch):
    adata = cells()
    scvae.consensus(adata, seeds=2, checkpoint=tmp_path / "seeds", callback=print,
                    weight=np.ones(30), **{**QUICK, "epochs": 1})
    adata.write_h5ad(tmp_path / "x.h5ad")
    monkeypatch.setattr(scvae.train, "train_epoch", None)
    for wrong, said in (
        (dict(clusterer="louvain"), "no clusterer 'louvain'"),
        (dict(clusterer="kmeans"), "needs n_clusters"),
        (dict(clusterer="leiden_k"), "needs n_clusters"),
        (dict(method="median"), "no method 'median'"),
        (dict(n_clusters=2.5), "n_clusters is 2.5"),
    ):
        refuses(ValueError, [said], partial(scvae.consensus, seeds=2, **wrong, **QUICK), cells())


def test_a_group_of_any_name_can_be_written(vae, tmp_path):
    adata = cells()
    adata.obs["kind"] = np.where(adata.obs["type"] == "type_0", "NK/T", "B")
    vae.differential_expression(adata, "kind", n_samples=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        adata.write_h5ad(tmp_path / "x.h5ad")
    again = ad.read_h5ad(tmp_path / "x.h5ad")
    table = sc.get.rank_genes_groups_df(again, "NK/T", key="rank_genes_scvae")
    assert len(table) == len(vae.genes)


def test_missing_batches_are_no_batch():
    fitted = scvae.fit(cells(), batch_key="batch", **QUICK)
    some = changed(lambda a: a.obs.loc.__setitem__((a.obs_names[:3], "batch"), None))
    refuses(ValueError, ["no value in 3 of 130 cells"], fitted.map, some)
    refuses(ValueError, ["no value in 3 of 130 cells"], fitted.adapt, some)
    Z, batches = fitted.encode(cells()), scvae.batches
    given, kinds, said = some.obs["batch"], some.obs["type"], ["3 of 130 cells have no value"]
    for judge in batches.mixing_scores, batches.kbet, batches.batch_asw:
        refuses(ValueError, said, judge, Z, given, kinds)
    for judge in batches.lisi, batches.harmony:
        refuses(ValueError, said, judge, Z, given)


def test_genes_are_asked_for_in_any_collection(vae):
    two = vae.genes[:2].tolist()
    keys = dict.fromkeys(two)
    for asked in (two, tuple(two), np.array(two), pd.Index(two), keys, keys.keys(), iter(two)):
        assert vae.normalized_expression(cells(), gene_list=asked).columns.tolist() == two
    assert vae.normalized_expression(cells(), gene_list=set(two)).shape == (130, 2)
    assert vae.normalized_expression(cells(), gene_list=two[0]).shape == (130, 1)


BAD_CELLS = [
    ("half", lambda: edit(2, 3, 0.5), ValueError, ["not whole numbers"]),
    ("nan", lambda: edit(2, 3, np.nan), ValueError, ["NaN"]),
    ("negative", lambda: edit(2, 3, -1), ValueError, ["negative"]),
    ("logged", lambda: changed(logged), ValueError, ["looks log-normalised"]),
    (
        "empty cells",
        lambda: edit([2, 5], slice(None), 0),
        ValueError,
        ["2 of 130 cells have no counts"],
    ),
    ("no cells", lambda: cells()[:0].copy(), ValueError, ["0 cells"]),
    (
        "other genes",
        lambda: changed(lambda a: setattr(a, "var_names", [f"ENSG{i}" for i in range(40)])),
        ValueError,
        ["0 of the 30 genes", "same species"],
    ),
    (
        "fewer genes, no names",
        lambda: ad.AnnData(cells().X[:, :20]),
        ValueError,
        ["20", "40 genes"],
    ),
    (
        "twice the same gene",
        lambda: changed(lambda a: setattr(a, "var_names", [a.var_names[0], *a.var_names[:39]])),
        ValueError,
        ["var_names_make_unique"],
    ),
    (
        "none of its genes",
        lambda: changed(
            lambda a: (
                a.X.__setitem__((4, slice(20)), 0),
                a.X.__setitem__((4, slice(20, 40)), 0),
                a.X.__setitem__((4, 0), 3),
                setattr(a, "var_names", ["other", *a.var_names[1:]]),
            )
        ),
        ValueError,
        ["1 of 130 cells have no counts in the model's genes", "leave these cells out"],
    ),
    ("a matrix", lambda: cells().X, TypeError, ["AnnData"]),
]


@pytest.mark.parametrize(
    "make, error, said", [b[1:] for b in BAD_CELLS], ids=[b[0] for b in BAD_CELLS]
)
@pytest.mark.parametrize("method", ["encode", "reconstruction_error", "normalized_expression"])
def test_a_model_refuses_cells(method, make, error, said, vae):
    with warnings.catch_warnings(action="ignore"):
        refuses(error, said, getattr(vae, method), make())


def of_fitted(vae):
    "Cells that were fitted, of two batches, with types."
    adata = cells()
    adata.obsm["X_scvae"] = vae.encode(adata)
    return adata


ENTRIES = {
    "fit_many": lambda vae, x: scvae.fit_many(x, 2),
    "consensus": lambda vae, x: scvae.consensus(x),
    "score": lambda vae, x: scvae.score(x),
    "describe": lambda vae, x: scvae.data.describe(x),
    "transfer to": lambda vae, x: scvae.transfer(of_fitted(vae), x, "type"),
    "transfer from": lambda vae, x: scvae.transfer(x, of_fitted(vae), "type"),
    "map": lambda vae, x: vae.map(x),
    "map beside": lambda vae, x: vae.map(of_fitted(vae), reference=x),
    "adapt": lambda vae, x: vae.adapt(x),
    "components": lambda vae, x: vae.components(x),
    "differential_expression": lambda vae, x: vae.differential_expression(x, "type"),
    "normalized_expression": lambda vae, x: vae.normalized_expression(x),
    "generate_like": lambda vae, x: vae.generate_like(x, 3),
    "cluster_cells": lambda vae, x: scvae.plots.cluster_cells(x),
    "plot_cells": lambda vae, x: scvae.plots.plot_cells(x),
    "plot_generated": lambda vae, x: scvae.plots.plot_generated(vae, x),
    "top_genes": lambda vae, x: scvae.plots.top_genes(x, "type"),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_no_anndata_is_told_so(entry, vae):
    for x in ("my.h5ad", None, cells().to_df(), cells().X, [cells()]):
        if entry == "map beside" and x is None: continue  # there it means: beside none
        with pytest.raises(TypeError, match="AnnData, not") as found: ENTRIES[entry](vae, x)
        assert isinstance(x, str) is ("scvae.load('my.h5ad')" in str(found.value)), found.value


NAMES = {  # takes the name of a column of obs, or of a place in obsm
    "score": lambda a, vae, x: scvae.score(a, label=[x]),
    "score use_rep": lambda a, vae, x: scvae.score(a, "type", use_rep=x),
    "describe": lambda a, vae, x: scvae.data.describe(a, label=x),
    "transfer": lambda a, vae, x: scvae.transfer(a, a.copy(), x),
    "transfer use_rep": lambda a, vae, x: scvae.transfer(a, a.copy(), "type", use_rep=x),
    "differential_expression": lambda a, vae, x: vae.differential_expression(a, x),
    "consensus": lambda a, vae, x: scvae.consensus(a, use_rep=[x, "X_scvae"]),
    "cluster_cells": lambda a, vae, x: scvae.plots.cluster_cells(a, use_rep=x),
    "plot_sizes": lambda a, vae, x: scvae.plots.plot_sizes(a, x),
    "top_genes": lambda a, vae, x: scvae.plots.top_genes(a, x),
    "fit": lambda a, vae, x: scvae.fit(a, batch_key=[x], **QUICK),
}


@pytest.mark.parametrize("taker", NAMES)
def test_what_is_no_name_is_named(taker, vae):
    for x in (3, True, "absent", ["type"]):
        refuses((KeyError, ValueError), [repr(x)], NAMES[taker], of_fitted(vae), vae, x)


@pytest.mark.parametrize("resolution", [-1, float("nan"), float("inf"), "1", None])
def test_no_resolution_is_refused_before_work(resolution, vae, monkeypatch):
    monkeypatch.setattr("scvae.ensembles.fit", None)
    for call in (scvae.plots.cluster_cells, scvae.consensus):
        refuses(ValueError, ["resolution is"], partial(call, resolution=resolution), of_fitted(vae))


# ---------------------------------------------------------------- matrices that point outside


HOSTILE = """if True:
    import warnings, anndata as ad, numpy as np, scvae
    from scipy import sparse
    from scvae.counts import count_matrix, counts_of, data_sha256, holds_counts, what_holds
    from scvae.preprocess import Preprocessor, log_normalise
    from scvae.train import Cells
    warnings.simplefilter("ignore")
    options = dict(n_top_genes=30, n_latent=2, hidden=(8,), epochs=1, progress=False)
    plain = scvae.synthetic(130, 40, n_types=3, random_state=0)
    vae = scvae.fit(plain.copy(), **options)

    def broken(array, position, value, form="csr", wide=False):
        X = plain.X.asformat(form).copy()
        if wide: X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
        getattr(X, array)[position] = value
        return X

    def other(array, change):
        X = plain.X.copy()
        setattr(X, array, change(getattr(X, array)))
        return X

    kinds = {
        "negative": broken("indices", 9, -1), "past": broken("indices", 9, 40),
        "far past": broken("indices", 9, 2**31 - 1), "last": broken("indices", -1, 10**6),
        "least": broken("indices", 9, -2**31), "csc": broken("indices", 9, 130, "csc"),
        "64 bits": broken("indices", 9, 2**40, wide=True),
        "64 bits, negative": broken("indices", 9, -2**62, wide=True),
        "decreasing": broken("indptr", 5, 10**6), "negative pointer": broken("indptr", 5, -7),
        "first": broken("indptr", 0, 3), "end": broken("indptr", -1, 10**9),
        "csc end": broken("indptr", -1, 10**9, "csc"), "short": other("indptr", lambda x: x[:-1]),
        "few indices": other("indices", lambda x: x[:-5]),
        "few data": other("data", lambda x: x[:9]),
        "floats": other("indices", lambda x: x.astype(float)),
        "overflow": other("indptr", lambda x: x - (np.arange(131) > 9) * np.int32(2**30)),
        "unsigned": other("indices", lambda x: (x - 1).astype(np.uint32)),
    }
    calls = {
        "fit": lambda a: scvae.fit(a, **options), "encode": vae.encode, "counts_of": counts_of,
        "error": vae.reconstruction_error, "auto": lambda a: counts_of(a, "auto"),
        "sha": data_sha256, "matrix": lambda a: count_matrix(a.X),
        "prep": lambda a: Preprocessor().fit(a.X), "transform": lambda a: vae.prep.transform(a.X),
        "log": lambda a: log_normalise(a.X), "cells": lambda a: Cells(a.X, vae.prep, vae.net),
    }
    for kind, X in kinds.items():
        cells = ad.AnnData(plain.X.copy(), plain.obs, plain.var, layers={"x": plain.X.copy()})
        cells._X, cells.layers._data["x"] = X, X  # as a reader leaves it that looks at nothing
        for call in calls:
            try: calls[call](cells)
            except ValueError as e: said = str(e)
            else: said = "nothing"
            print(kind, "|", call, "|", said, flush=True)
        assert not holds_counts(X) and what_holds(cells)["x"] == "is damaged", kind
        try: counts_of(cells, "x")
        except ValueError as e: assert "adata.layers['x'] is a damaged" in str(e), e
    print("alive")"""


def test_no_matrix_kills_python():
    "In another process, which would die of a segmentation fault."
    run = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True)
    *lines, last = ["", *run.stdout.splitlines()]
    assert last == "alive", (run.returncode, lines[-1:], run.stderr[-2000:])
    assert len(lines) > 200
    assert not [line for line in lines[1:] if "damaged" not in line]


def test_a_damaged_matrix_on_disk_or_in_blocks(tmp_path, vae):
    import dask.array as da

    for form in ("csr", "csc"):
        with_X(cells().X.asformat(form)).write_h5ad(tmp_path / "x.h5ad")
        with h5py.File(tmp_path / "x.h5ad", "r+") as f:
            f["X/indices"][7] = -3
        refuses(ValueError, ["x.h5ad", "X/indices holds -3"], scvae.load, tmp_path / "x.h5ad")
        backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
        refuses(ValueError, ["damaged sparse matrix", "-3"], fit, backed)
        backed.file.close()
    X = cells().X
    X.indices[7] = 99
    blocks = da.from_array(cells().X, chunks=(50, 40), asarray=False).map_blocks(lambda _: X)
    with pytest.raises(ValueError, match="damaged sparse matrix"):
        vae.encode(with_X(blocks))


# ---------------------------------------------------------------- counts that are elsewhere


def fractions(a, share=0.1):
    "Counts as alevin or RSEM give them: some reads are divided among genes."
    X, dice = a.X.toarray(), np.random.default_rng(0)
    moved = X * dice.choice([0, 0.5, 1 / 3, 0.21], X.shape, p=[1 - share, *3 * [share / 3]])
    return sparse.csr_matrix((X - moved + np.roll(moved, 1, 1)).astype(np.float32))


def soup(a, share=0.1):
    "Counts as SoupX corrects them: the expected soup is taken away."
    X = np.random.default_rng(0).binomial(a.X.toarray().astype(int), 0.03).astype(float)
    profile = X.sum(0) / X.sum()
    return sparse.csr_matrix(np.clip(X - share * X.sum(1, keepdims=True) * profile, 0, None))


def noise(a):
    "Counts after a normalisation was undone in floating point."
    dice = np.random.default_rng(0)
    return a.X.toarray() * (1 + dice.normal(0, 1e-6, a.shape)) + dice.normal(0, 1e-9, a.shape)


def only(X, **layers):
    a = cells()
    return ad.AnnData(X(a), a.obs, a.var, layers={name: make(a) for name, make in layers.items()})


def log(a):
    return a.X.log1p()


def cpm(a):
    return sc.pp.normalize_total(a, target_sum=1e6, inplace=False)["X"]


def centred(a):
    return log(a).toarray() - 1


def as_is(a):
    return a.X


def with_raw(adata, make):
    adata.raw = only(make)
    return adata


PLACES = [  # what there is, the arguments that are advised (None: none), words of the sentence
    ("layer", lambda: only(log, mine=as_is), {"layer": "mine"}, ["layers['mine'] holds counts"]),
    ("raw", lambda: with_raw(only(centred), as_is), {"layer": "raw"}, ["adata.raw holds counts"]),
    ("scaled, logged raw", lambda: with_raw(only(centred), log), {}, ["raw looks log-normalised"]),
    ("nowhere", lambda: only(cpm, a=log, b=centred), {},
     ["looks normalised: all cells have the same total", "layers['a'] looks log-normalised",
      "layers['b'] looks scaled", "before normalisation"]),
    ("fractions", lambda: only(fractions), {"round": True}, ["counts with fractions"]),
    ("soup", lambda: only(soup), {"round": True}, ["counts with fractions", "SoupX"]),
    ("fractions in a layer", lambda: only(log, em=fractions), {"layer": "em", "round": True}, []),
    ("fractions, whole in raw", lambda: with_raw(only(fractions), as_is), {"layer": "raw"}, []),
    ("fault in a late row", lambda: only(log, l=late), {}, ["layers['l'] holds NaN"]),
    ("damaged layer", lambda: only(log, l=lambda a: past(a.X)), {}, ["layers['l'] is damaged"]),
]


def late(a):
    return sparse.vstack([a.X[:120], a.X[120:] * np.nan], "csr")


def past(X):
    X.indices[3] = 99
    return X


@pytest.mark.parametrize(
    "make, arguments, said", [p[1:] for p in PLACES], ids=[p[0] for p in PLACES]
)
def test_what_the_error_advises_works(make, arguments, said):
    adata = make()
    with pytest.raises(NoCounts) as caught:
        counts_of(adata)
    error = caught.value
    assert error.arguments == arguments, error
    assert all(words in str(error) for words in said) and "\n" not in str(error), error
    assert ("--" in error.in_shell()) == bool(arguments)
    if not arguments:
        with pytest.raises(NoCounts):
            counts_of(adata, "auto", round=True)
        return
    with warnings.catch_warnings(action="ignore"):
        found = counts_of(adata, **arguments)
        np.testing.assert_array_equal(found.X.data, np.rint(found.X.data))
        auto = counts_of(adata, "auto", round="round" in arguments)
    np.testing.assert_array_equal(auto.X.toarray(), found.X.toarray())


def test_noise_of_floating_point_is_no_fraction(vae, plain):
    with warnings.catch_warnings(action="error"):
        noisy = with_X(noise(cells()))
        np.testing.assert_array_equal(counts_of(noisy).X.toarray(), cells().X.toarray())
        np.testing.assert_array_equal(vae.encode(noisy), plain)
    minus = cells().X.toarray()
    minus[minus == 0] = -0.0
    np.testing.assert_array_equal(vae.encode(with_X(minus)), plain)


def test_raw_with_more_genes_is_fitted(plain):
    whole = cells()
    adata = whole[:, :10].copy()
    logged(adata)
    adata.raw = whole
    scvae.fit(adata, layer="raw", **QUICK)
    np.testing.assert_array_equal(adata.obsm["X_scvae"], plain)


# ---------------------------------------------------------------- files


@contextlib.contextmanager
def as_nobody():
    "Without the rights of root, for whom nothing is forbidden."
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def folder():
    "A folder that others may enter (those of pytest are for their owner only)."
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def whole(path):
    cells().write_h5ad(path)
    return path.read_bytes()


def put(content):
    return lambda path: path.write_bytes(content)


FILES = [  # name, what writes it, error, what the sentence says
    (
        "cut.h5ad",
        lambda p: p.write_bytes(whole(p)[:9000]),
        ValueError,
        ["cut short", "copy or download it again"],
    ),
    ("text.h5ad", put(b"cell,gene\n1,2\n"), ValueError, ["is no HDF5 file"]),
    ("empty.h5ad", put(b""), ValueError, ["is empty"]),
    (
        "zipped.h5ad",
        lambda p: p.write_bytes(gzip.compress(whole(p))),
        ValueError,
        ["gzip", "gunzip"],
    ),
    ("page.h5ad", put(b"<!DOCTYPE html><html>"), ValueError, ["web page", "download"]),
    ("page.h5", put(b"\n  <html lang='en'>"), ValueError, ["web page"]),
    (
        "lfs.h5ad",
        put(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ValueError,
        ["git-lfs", "git lfs pull"],
    ),
    (
        "other.h5ad",
        lambda p: h5py.File(p, "w").create_dataset("x", data=1).file.close(),
        ValueError,
        ["another kind of file"],
    ),
    (
        "other.h5",
        lambda p: h5py.File(p, "w").create_dataset("x", data=1).file.close(),
        ValueError,
        ["10x"],
    ),
    ("folder.h5ad", lambda p: p.mkdir(), ValueError, ["is a folder"]),
    ("tenx", lambda p: p.mkdir(), ValueError, ["matrix.mtx"]),
    (
        "half",
        lambda p: (p.mkdir(), (p / "matrix.mtx").touch(), (p / "features.tsv").touch()),
        ValueError,
        ["matrix.mtx.gz, features.tsv.gz, barcodes.tsv.gz", "gzip"],
    ),
    ("x.zarr", lambda p: p.mkdir(), ValueError, ["cannot be read as .zarr"]),
    ("absent.zarr", lambda p: None, FileNotFoundError, ["there is no file"]),
    ("absent.h5ad", lambda p: None, FileNotFoundError, ["there is no file"]),
    ("my.csv", put(b"a,b"), ValueError, [".h5ad"]),
    ("x.rds", put(b"a,b"), ValueError, [".h5ad"]),
    (
        "bare.h5ad",
        lambda p: ad.AnnData(obs=cells().obs, var=cells().var).write_h5ad(p),
        ValueError,
        ["no X"],
    ),
    (
        "words.h5ad",
        lambda p: (
            h5py.File(put(whole(p))(p) and p, "r+").__delitem__("X"),
            h5py.File(p, "r+").create_dataset("X", data=np.full((130, 40), b"a")),
        ),
        ValueError,
        ["words.h5ad"],
    ),
]


@pytest.mark.parametrize("name, write, error, said", FILES, ids=[f[0] for f in FILES])
def test_load_says_what_is_wrong_with_a_file(name, write, error, said, folder):
    write(folder / name)
    refuses(error, [name, *said], scvae.load, folder / name)


MUTATED = """if True:
    import os, random, resource, signal, sys, warnings, pathlib, h5py, scvae
    from scvae.counts import counts_of, what_holds
    warnings.simplefilter("ignore")
    whole, hurt = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    raw = whole.read_bytes()

    def mutate(dice):
        new, at = bytearray(raw), dice.randrange(len(raw))
        heap = raw.find(b"GCOL") + 16 * dice.randrange(1, 9)
        kind = dice.choice(["flip", "flips", "cut", "zeros", "heap", "words"])
        if kind == "flip": new[at] ^= 1 << dice.randrange(8)
        if kind == "flips":
            for _ in range(20): new[dice.randrange(len(new))] = dice.randrange(256)
        if kind == "cut": new = new[:at]
        if kind == "zeros": new[at:at+64] = bytes(len(new[at:at+64]))
        if kind == "heap": new[heap:heap+16] = bytes(16)
        if kind == "words": new[at:at+8] = dice.choice([b"\\xff", b"\\x7f"]) * len(new[at:at+8])
        return bytes(new)

    def use(path):
        adata = scvae.load(path)
        adata.X.sum(), adata[:5].copy(), adata[:, :3].copy(), adata.obs.describe(include="all")
        what_holds(adata), counts_of(adata, "auto")

    def in_a_child(path):
        if pid := os.fork(): return os.waitpid(pid, 0)[1]
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        signal.setitimer(signal.ITIMER_PROF, 20)
        code = 3
        try: use(path)
        except (ValueError, KeyError, OSError, MemoryError) as e:
            code = 4 if str(path) in str(e) or "adata" in str(e) else print(repr(e), flush=True)
        finally: os._exit(code or 5)

    for seed in range(int(sys.argv[3])):
        hurt.write_bytes(mutate(random.Random(seed)))
        print(seed, in_a_child(hurt) / 256, flush=True)"""


@pytest.mark.slow
def test_mutated_files_end_in_a_load_or_in_a_sentence(tmp_path, n=60):
    "Each in a process of its own: none dies, none hangs, none says what a library says."
    a = changed(lambda a: (a.layers.update(d=a.X.toarray()), setattr(a, "raw", a.copy())))
    a.write_h5ad(tmp_path / "whole.h5ad")
    names = map(str, [tmp_path / "whole.h5ad", tmp_path / "hurt.h5ad", n])
    run = subprocess.run([sys.executable, "-c", MUTATED, *names], capture_output=True, text=True)
    ends = [float(line.split()[-1]) for line in run.stdout.splitlines()]
    assert len(ends) == n, run.stdout + run.stderr
    assert set(ends) == {3, 4}, run.stdout + run.stderr  # loaded, or said


def test_numba_finds_a_folder_where_home_is_none(tmp_path):
    "scanpy cannot be imported where numba has no place for what it compiles."
    env = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    env |= dict(TMPDIR=str(tmp_path))
    code = "import scvae, os; print(os.environ.get('NUMBA_CACHE_DIR'))"
    said = [
        subprocess.check_output([sys.executable, "-c", code], text=True, env=env | {"HOME": home})
        for home in ("/dev/null/home", str(tmp_path))
    ]
    assert said[0].startswith(str(tmp_path)) and said[1] == "None\n"
    assert Path(said[0].strip()).stat().st_mode & 0o077 == 0  # numba unpickles what is in it


@pytest.mark.parametrize("at", ["cells.h5ad", "."])
def test_load_without_permission(at, folder):
    scvae.load("synthetic"), cells().write_h5ad(folder / "cells.h5ad")
    (folder / at).chmod(0)
    with as_nobody():
        refuses(
            PermissionError,
            ["cells.h5ad", "may not be read by this user"],
            scvae.load,
            folder / "cells.h5ad",
        )
    (folder / at).chmod(0o755)


def test_a_note_of_somebody_else_in_uns(tmp_path):
    adata = changed(lambda a: a.uns.update(scvae="odd", _scvi_uuid="x"))
    adata.write_h5ad(tmp_path / "x.h5ad")
    for a in (adata, scvae.load(tmp_path / "x.h5ad")):
        fit(a)
        assert "fit" in a.uns["scvae"]


def test_load_of_an_unknown_name():
    refuses(ValueError, ["no dataset 'zeisel5k'", "zeisel4k"], scvae.load, "zeisel5k")
    refuses(ValueError, ["no dataset ''"], scvae.load, "")
    refuses(TypeError, ["AnnData"], scvae.load, cells())


# ---------------------------------------------------------------- models on disk


def rewrite(name, change):
    return lambda m: (m / name).write_bytes(change((m / name).read_bytes()))


def flip(at):
    return lambda raw: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 or len(raw) :]


def later(m):
    said = json.loads((m / "model.json").read_text())
    (m / "model.json").write_text(json.dumps(said | {"format": said["format"] + 1, "scvae": "9.1"}))


MODELS = [
    (
        "no weights",
        lambda m: (m / "model.safetensors").unlink(),
        FileNotFoundError,
        ["no model.safetensors", "not a whole model"],
    ),
    ("no settings", lambda m: (m / "model.json").unlink(), FileNotFoundError, ["no model.json"]),
    ("nothing", shutil.rmtree, FileNotFoundError, ["model.json"]),
    (
        "weights altered",
        rewrite("model.safetensors", flip(-1)),
        ValueError,
        ["model.safetensors", "changed since it was saved"],
    ),
    (
        "weights altered, first byte",
        rewrite("model.safetensors", flip(0)),
        ValueError,
        ["model.safetensors"],
    ),
    ("weights cut", rewrite("model.safetensors", lambda raw: raw[:-7]), ValueError, ["cut short"]),
    ("weights empty", rewrite("model.safetensors", lambda raw: b""), ValueError, ["cut short"]),
    (
        "settings altered",
        rewrite("model.json", lambda raw: raw.replace(b'"n_latent": 2', b'"n_latent": 3')),
        ValueError,
        ["was altered"],
    ),
    ("settings cut", rewrite("model.json", lambda raw: raw[:-9]), ValueError, ["cut short"]),
    (
        "settings no text",
        rewrite("model.json", lambda raw: b"\xff\xfe" + raw),
        ValueError,
        ["not what scvae saved"],
    ),
    (
        "settings a list",
        rewrite("model.json", lambda raw: b"[1]"),
        ValueError,
        ["not what scvae saved"],
    ),
    (
        "format a word",
        rewrite("model.json", lambda raw: raw.replace(b'"format": 1', b'"format": "one"')),
        ValueError,
        ["not what scvae saved"],
    ),
    ("later version", later, ValueError, ["saved by scvae 9.1", "upgrade"]),
    (
        "weights of another",
        lambda m: (
            scvae.fit(cells(), **QUICK, random_state=1).save(m.with_name("other")),
            shutil.copy(m.with_name("other") / "model.safetensors", m),
        ),
        ValueError,
        ["another model"],
    ),
]


@pytest.mark.parametrize("spoil, error, said", [m[1:] for m in MODELS], ids=[m[0] for m in MODELS])
def test_load_model_notices(spoil, error, said, vae, tmp_path):
    vae.save(tmp_path / "model")
    spoil(tmp_path / "model")
    refuses(error, said, scvae.load_model, tmp_path / "model")


def test_load_model_of_a_file_and_without_permission(vae, folder):
    vae.save(folder / "model")
    refuses(
        FileNotFoundError, ["give the folder"], scvae.load_model, folder / "model" / "model.json"
    )
    (folder / "model" / "model.json").chmod(0)
    with as_nobody():
        refuses(
            PermissionError,
            ["model.json", "may not be read by this user"],
            scvae.load_model,
            folder / "model",
        )
    refuses(ValueError, ["'cpu'"], lambda: scvae.load_model(folder / "model", device="cuda:7"))


def left(folder):
    return sorted(p.name for p in folder.rglob("*"))


@pytest.mark.parametrize(
    "where", ["os.replace", "pathlib.Path.write_text", "pathlib.Path.write_bytes"]
)
@pytest.mark.parametrize("before", [False, True], ids=["new", "overwrite"])
def test_a_full_disk_leaves_what_was_there(where, before, vae, plain, tmp_path, monkeypatch):
    if before:
        vae.save(tmp_path / "model")
    was = left(tmp_path)

    def full(*a, **k):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(where, full)
        refuses(
            OSError,
            ["model", "could not be written", "No space left on device", "free some space"],
            lambda: vae.save(tmp_path / "model", overwrite=True),
        )
    assert left(tmp_path) == was
    if before:
        np.testing.assert_array_equal(
            scvae.load_model(tmp_path / "model", device="cpu").encode(cells()), plain
        )


def test_a_disk_that_fills_up_at_the_last_step(vae, plain, tmp_path, monkeypatch):
    vae.save(tmp_path / "model")
    real, calls = os.replace, []

    def second(a, b):  # the old model has been moved away, the new one does not arrive
        calls.append(b)
        if Path(b) == tmp_path / "model":
            raise OSError(28, "No space left on device")
        return real(a, b)

    monkeypatch.setattr(os, "rename", second)
    with pytest.raises(OSError, match="could not be written"):
        vae.save(tmp_path / "model", overwrite=True)
    np.testing.assert_array_equal(
        scvae.load_model(tmp_path / "model", device="cpu").encode(cells()), plain
    )
    assert left(tmp_path) == ["model", "model.json", "model.safetensors"]


def test_a_disk_that_is_really_full(vae, tmp_path):
    "A limit on the size of files, which the system enforces in another process."
    vae.save(tmp_path / "model")
    code = f"""if True:
        import resource, scvae
        vae = scvae.load_model({str(tmp_path / 'model')!r}, device="cpu")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try: vae.save({str(tmp_path / 'new')!r})
        except OSError as e: print(e)"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "could not be written" in said.stdout and "new" in said.stdout, said
    assert left(tmp_path) == ["model", "model.json", "model.safetensors"]


def test_save_where_one_may_not_write(vae, folder):
    vae.save(folder / "model"), (folder / "file").write_text("")
    with as_nobody():
        refuses(
            OSError, ["new", "could not be written", "Permission denied"], vae.save, folder / "new"
        )
    refuses(OSError, ["could not be written"], vae.save, folder / "file" / "new")
    refuses(FileExistsError, ["overwrite=True"], vae.save, folder / "model")
    refuses(FileExistsError, ["not a model"], lambda: vae.save(folder / "file", overwrite=True))


# ---------------------------------------------------------------- scores


def test_score_refuses(vae):
    a = changed(lambda a: a.obsm.update(X_scvae=vae.encode(a)))
    missing = a.copy()
    missing.obs.loc[missing.obs_names[:4], "type"] = np.nan
    own = a.copy()
    own.obs["id"] = own.obs_names
    hole = a.copy()
    hole.obsm["X_scvae"][3] = np.nan
    refuses(KeyError, ["no column 'kind'", "subtype"], scvae.score, a, "kind")
    refuses(KeyError, ["no 'X_pca'"], lambda: scvae.score(a, "type", use_rep="X_pca"))
    refuses(KeyError, ["no 'X_scvae'", "scvae.fit(adata)"], lambda: scvae.score(cells(), "type"))
    refuses(ValueError, ["No label column", "subtype"], scvae.score, a)
    refuses(ValueError, ["4 of 130 cells have no label"], scvae.score, missing, "type")
    refuses(ValueError, ["label of its own"], scvae.score, own, "id")
    refuses(ValueError, ["NaN or infinite"], scvae.score, hole, "type")
    refuses(
        ValueError,
        ["no clusterer 'k-means'"],
        lambda: scvae.score(a, "type", clusterers=["k-means"]),
    )
    refuses(
        ValueError, ["no clusterer 'k-means'"], lambda: scvae.score(a, "type", clusterers="k-means")
    )
    refuses(TypeError, ["AnnData", "score_latent"], scvae.score, a.obsm["X_scvae"], "type")
    odd = a.copy()
    odd.uns["scvae"] = "odd"
    refuses(ValueError, ["No label column"], scvae.score, odd)
    refuses(ValueError, ["at least two"], scvae.score, a[:1].copy(), "type")


# ---------------------------------------------------------------- memory


def test_not_enough_memory_is_said_before_work_starts(monkeypatch, vae):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 50_000})())
    monkeypatch.setattr(scvae.train, "train_epoch", None)
    refuses(MemoryError, ["fit of 130 cells", "GB", "available", "fewer cells"], fit, cells())
    refuses(MemoryError, ["GB", "available"], vae.encode, cells())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 10_000})())
    refuses(MemoryError, ["dense", "blocks"], lambda: vae.decode(np.zeros((130, 2))))


# ---------------------------------------------------------------- advice that works, and odd sizes


@pytest.mark.parametrize("name", ["raw counts", "it's", "two\nlines", "a  b", "$HOME", "tab\there"])
def test_advice_for_a_shell_names_the_layer_in_one_line(name):
    adata = cells()
    adata.layers[name] = adata.X.copy()
    logged(adata)
    with pytest.raises(NoCounts) as caught:
        counts_of(adata)
    words = caught.value.in_shell().split(": add --layer ")[1]
    assert " ".join(words.split()) == words  # as a sentence is printed
    said = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, text=True)
    assert said.stdout == name


def test_the_layer_that_is_advised_is_there():
    with pytest.raises(KeyError, match="layer='X' takes adata.X"):
        counts_of(cells(), "nope")
    np.testing.assert_array_equal(counts_of(cells(), "X").X.toarray(), cells().X.toarray())


@pytest.mark.parametrize("factor", [1e10, 1e30, 1e200])
@pytest.mark.parametrize("asked", [False, True], ids=["as it is", "rounded"])
def test_rounding_is_not_advised_where_it_does_not_help(factor, asked):
    large = with_X(cells().X.toarray().astype(float) * factor)
    mixed = with_X(np.vstack([fractions(cells()).toarray()[:-1], [[1e10] * 40]]))
    for adata in (large, mixed):
        with warnings.catch_warnings(action="error"), pytest.raises(NoCounts) as caught:
            counts_of(adata, round=asked)
        assert "no molecule count can be" in str(caught.value)
        assert "round" not in caught.value.arguments


def test_a_column_that_is_named_twice(tmp_path):
    cells().write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad", "r+") as f:
        f["obs"].attrs["column-order"] = ["type", "type"]
    refuses(ValueError, ["x.h5ad", "'type' twice"], scvae.load, tmp_path / "x.h5ad")


@pytest.mark.parametrize("turned", [False, True], ids=["genes x cells", "cells x genes"])
def test_line_breaks_in_quoted_names_of_a_table(turned, tmp_path):
    table = cells().to_df().astype(int)
    table = table.rename({table.index[3]: "one\ncell"}).rename(columns={table.columns[0]: "a\n\nb"})
    (table if turned else table.T).to_csv(tmp_path / "x.csv")
    found = scvae.load(tmp_path / "x.csv")
    assert list(found.var_names) == list(table.columns)
    assert list(found.obs_names) == list(table.index)
    np.testing.assert_array_equal(found.X.toarray(), table)


def features(folder, change):
    "A folder as of Cell Ranger, with its list of features changed."
    import scipy.io

    adata = cells()
    genes = "".join(f"E{i}\t{name}\tGene Expression\n" for i, name in enumerate(adata.var_names))
    scipy.io.mmwrite(folder / "matrix.mtx", adata.X.T.astype(int), field="integer")
    (folder / "barcodes.tsv").write_text("\n".join(adata.obs_names) + "\n")
    (folder / "features.tsv").write_text(change(genes))
    return folder


@pytest.mark.parametrize("n", [2, 9, 17, 20])
def test_a_list_of_features_that_was_cut_short(n, tmp_path):
    folder = features(tmp_path, lambda genes: genes[:-n])
    refuses(ValueError, ["features.tsv was cut short", "download"], scvae.load, folder)


def test_features_whose_kind_is_not_known(tmp_path):
    folder = features(
        tmp_path,
        lambda genes: genes.replace("Gene Expression", "", 1).replace("Gene Expression", "Odd", 1),
    )
    with pytest.warns(UserWarning) as heard:
        assert scvae.load(folder).n_vars == 39
    said = " ".join(str(w.message) for w in heard)
    assert "1 of 40 features are of no kind that is named, and were taken for genes" in said
    assert "1 of Odd were left out, because only features of Gene Expression" in said


@pytest.mark.slow
def test_large_seeds_do_what_their_last_bits_do():
    from scvae.clustering import CLUSTERERS, cluster, pca
    from scvae.metrics import depth_r2, score_latent, supervised_ceiling, umap

    Z, types = np.random.default_rng(0).normal(size=(60, 4)), np.repeat([0, 1, 2], 20)
    Z += types[:, None]
    calls = [lambda s, m=m: cluster(Z, m, 3, random_state=s, n_init=2) for m in CLUSTERERS]
    calls += [
        lambda s: pca(Z, 2, s),
        lambda s: umap(Z, s),
        lambda s: score_latent(Z, types, random_state=s, n_init=2),
        lambda s: supervised_ceiling(Z, types, random_state=s),
        lambda s: depth_r2(Z, Z[:, 0] - Z.min() + 1, random_state=s),
    ]
    for call in calls:
        np.testing.assert_array_equal(call(2**62 + 3), call(3))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_very_few_cells_are_clustered_and_laid_out(n):
    from scvae.clustering import CLUSTERERS, cluster
    from scvae.metrics import umap

    Z = np.random.default_rng(0).normal(size=(n, 3))
    for method in CLUSTERERS:
        assert len(cluster(Z, method, min(n, 2))) == n
    assert set(cluster(Z, "leiden")) == {0}
    assert umap(Z).shape == (n, 2) and np.isfinite(umap(Z)).all()


REPS = {
    "text": (pd.DataFrame({"a": list("xyz")}), "real numbers, its dtype is"),
    "no dimensions": (np.zeros((3, 0)), "3 cells and 0 dimensions"),
    "no cells": (np.zeros((0, 3)), "0 cells and 3 dimensions"),
    "objects": (np.array([[1, None]], object), "real numbers, its dtype is object"),
    "complex": (np.ones((3, 2), complex), "real numbers"),
    "3-D": (np.ones((3, 2, 1)), "2-D"),
    "sparse": (sparse.eye(3), "sparse"),
    "NaN": (np.array([[1, np.nan]]), "NaN"),
}


@pytest.mark.parametrize("rep", REPS)
def test_what_is_no_representation(rep):
    from scvae.clustering import CLUSTERERS, check_rep, cluster

    Z, said = REPS[rep]
    refuses(ValueError, [said], check_rep, Z)
    for method in CLUSTERERS:
        refuses(ValueError, [said], cluster, Z, method, 1)
