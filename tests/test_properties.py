"For counts of any type, shape and storage: what dense numpy gives, or a refusal in words."
import warnings
import anndata as ad, numpy as np, pandas as pd, pytest
from hypothesis import assume, HealthCheck, given, settings, strategies as st
from scipy import sparse
from scvae.counts import as_csr, check_counts, data_sha256
from scvae.likelihoods import build_net
from scvae.preprocess import (Preprocessor, dispersion, gene_moments, highly_variable,
                              log_normalise, moments)
from scvae.fitting import SCVAE, load_model, posterior

settings.register_profile(
    "bounded", max_examples=50, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
settings.load_profile("bounded")
DTYPES = [bool, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64,
          np.float16, np.float32, np.float64, np.longdouble, object]


def scrambled(X, rng):
    "Entries in any order, some of them stored in two parts, some zeros stored."
    X = np.asarray(X)
    row, col = np.nonzero(np.ones_like(X))
    value = X[row, col].astype(np.int64 if X.dtype == bool else X.dtype)
    keep = (value != 0) | (rng.random(len(value)) < .2)
    row, col, value = row[keep], col[keep], value[keep]
    part = (value // 2 * (rng.random(len(value)) < .5)).astype(value.dtype)
    row, col, value = np.tile(row, 2), np.tile(col, 2), np.concatenate([part, value - part])
    order = rng.permutation(len(row))
    order = order[np.argsort(row[order], kind="stable")]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(X)))])
    return sparse.csr_matrix((value[order], col[order], indptr), X.shape)


def wide(X):
    "With indices of 64 bits."
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


STORAGE = {"dense": lambda X, rng: X,
           "fortran": lambda X, rng: np.asfortranarray(X),
           "csr": lambda X, rng: sparse.csr_matrix(X),
           "csc": lambda X, rng: sparse.csc_matrix(X),
           "csr_array": lambda X, rng: sparse.csr_array(X),
           "64-bit": lambda X, rng: wide(sparse.csr_matrix(X)),
           "64-bit csc": lambda X, rng: wide(sparse.csc_matrix(X)),
           "scrambled": scrambled,
           "scrambled csc": lambda X, rng: scrambled(X.T, rng).T}


@st.composite
def counts(draw, least_cells=1, least_genes=2):
    "A matrix of counts without empty cells, stored in any way; and the same as dense float64."
    n, g = draw(st.integers(least_cells, 20)), draw(st.integers(least_genes, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype, top = np.dtype(draw(st.sampled_from(DTYPES))), draw(st.sampled_from([1, 3, 100]))
    X = rng.integers(1, top + 1, (n, g)) * (rng.random((n, g)) >= draw(st.floats(0, 1)))
    X[np.arange(n), rng.integers(g, size=n)] += X.sum(1) == 0
    only_dense = dtype in (np.dtype(object), np.dtype(np.float16))
    kinds = ["dense", "fortran"] if only_dense else list(STORAGE)
    X = X.astype(dtype)
    return STORAGE[draw(st.sampled_from(kinds))](X, rng), X.astype(float)


def lognorm(X): return np.log1p(X * (1e4 / X.sum(1, keepdims=True)))


@given(counts())
def test_rows_and_checksum(made):
    X, dense = made
    np.testing.assert_array_equal(as_csr(X).toarray().astype(float), dense)
    assert data_sha256(ad.AnnData(X)) == data_sha256(ad.AnnData(dense))
    check_counts(ad.AnnData(X))


@given(counts())
def test_log_normalise(made):
    X, dense = made
    copy = X.copy()
    L = log_normalise(X)
    assert L.dtype == np.float32 and L.format == "csr"
    np.testing.assert_allclose(L.toarray(), lognorm(dense), rtol=1e-5)
    assert type(X) is type(copy) and X.dtype == copy.dtype
    after = X.toarray() if sparse.issparse(X) else X
    np.testing.assert_array_equal(np.asarray(after, float), dense)   # left as it was


@given(counts(), st.integers(1, 30))
def test_gene_moments(made, block):
    X, dense = made
    mean, std = gene_moments(X, block=block)
    expected = lognorm(dense).std(0, ddof=1) if len(dense) > 1 else np.zeros(dense.shape[1])
    np.testing.assert_allclose(mean, lognorm(dense).mean(0), rtol=1e-5)
    expected = np.where(expected < 1e-4, 1, expected)  # constant but for the rounding of float32
    np.testing.assert_allclose(std, expected, rtol=2e-3)


@given(counts(least_cells=2), st.integers(1, 30))
def test_moments_before_the_logarithm(made, block):
    X, dense = made
    found = moments(X, block=block)
    normalised = dense * (1e4 / dense.sum(1, keepdims=True))
    np.testing.assert_allclose(found.normalised_mean, normalised.mean(0), rtol=1e-4)
    var = normalised.var(0, ddof=1)
    np.testing.assert_allclose(found.normalised_var, var, rtol=1e-3, atol=1e3)  # up to 1e8


@given(counts(least_cells=2))
def test_dispersion_is_the_same_for_any_form(made):
    X, dense = made
    for name, column in dispersion(X).items():
        np.testing.assert_array_equal(column, dispersion(dense)[name])


@given(counts(), st.integers(1, 30))
def test_transform(made, block):
    X, dense = made
    prep = Preprocessor().fit(X)
    Z = prep.transform(X, block=block)
    assert Z.dtype == np.float32 and Z.shape == dense.shape
    scaled = (lognorm(dense) - prep.mean) / prep.std
    np.testing.assert_allclose(Z, np.clip(scaled, -10, 10), atol=2e-3)
    of_dense = Preprocessor().fit(dense).transform(dense)
    np.testing.assert_array_equal(Z, of_dense)  # whatever the form, to the last digit


@given(counts(least_cells=2), st.integers(1, 12))
def test_highly_variable_genes_are_as_many_as_asked(made, n):
    X, dense = made
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try: chosen = highly_variable(X, n)
        except ValueError as e: assert n > dense.shape[1] and "give a number from 1" in str(e)
        else:
            assert chosen.sum() == n
            np.testing.assert_array_equal(chosen, highly_variable(dense, n))


@given(made=counts(least_cells=2), depth_covariate=st.booleans(),
       likelihood=st.sampled_from(["gaussian", "nb"]))
def test_encode_after_save_and_load(made, likelihood, depth_covariate, tmp_path):
    X, dense = made
    made_of = dict(n_latent=2, hidden=[4], dropout=0., norm=None, random_state=0, batches=[],
                   likelihood=likelihood, depth_covariate=depth_covariate, batch_key=None)
    history = pd.DataFrame({"epoch": [1], "recon": [.1], "loss": [.1]})
    vae = SCVAE(build_net(made_of, dense.shape[1]), Preprocessor().fit(X), history, made_of)
    vae.save(tmp_path/"model", overwrite=True)
    again = load_model(tmp_path/"model", device="cpu")
    for a, b in zip(posterior(vae, ad.AnnData(X)), posterior(again, ad.AnnData(dense))):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(vae.reconstruction_error(ad.AnnData(X)),
                                  again.reconstruction_error(ad.AnnData(dense)))
    assert np.isfinite(vae.encode(ad.AnnData(X))).all()


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([np.float32, np.float64]), st.data())
def test_any_floats_are_counts_or_refused(n, g, dtype, data):
    number = st.one_of(st.integers(-2, 9).map(float), st.floats(width=32))
    values = data.draw(st.lists(number, min_size=n * g, max_size=n * g))
    X = np.array(values, dtype).reshape(n, g)
    off = np.abs(X[np.isfinite(X)] - np.rint(X[np.isfinite(X)]))
    assume(not ((off > 0) & (off < .01)).any())  # noise, which may pass, has its own tests
    whole = np.isfinite(X).all() and (X >= 0).all() and (X == np.rint(X)).all()
    good = whole and (X <= 2**31).all() and (X.sum(1) > 0).all()
    for form in (X, sparse.csr_matrix(X), sparse.csc_matrix(X)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if good: assert np.isfinite(Preprocessor().fit(form).transform(form)).all()
            else:
                with pytest.raises(ValueError, match="adata|cells"): Preprocessor().fit(form)
