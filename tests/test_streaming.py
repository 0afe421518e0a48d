"Cells that memory does not hold: the same model, little memory, nothing lost."
import errno, os, signal, subprocess, sys, time
import anndata, h5py, numpy as np, pandas as pd, pytest
from typer.testing import CliRunner
import scvae
from scvae import cli
from scvae.streaming import Scratch, opened, sample, source_of, statistics, write_synthetic

QUICK = dict(n_top_genes=60, n_latent=3, hidden=(16,), epochs=2, progress=False, device="cpu")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("atlas")/"atlas.h5ad"
    write_synthetic(made, n_cells=900, n_genes=200, n_types=3, depth=300.)
    return made


@pytest.fixture
def small_blocks(monkeypatch):
    "So few cells a block that a buffer does not hold all cells of these tests."
    monkeypatch.setattr("scvae.streaming.BLOCK", 4)


def whole(path, **how): return scvae.fit(path, stream=False, **QUICK | how)
def streamed(path, **how): return scvae.fit(path, stream=True, **QUICK | how)
def latents(vae): return vae.cells.obsm["X_scvae"]


@pytest.mark.parametrize("how", [
    {}, dict(likelihood="nb"), dict(batch_key="batch"), dict(n_top_genes=None), dict(norm="batch"),
    dict(held_out=.2, patience=1), dict(contrast=.5), dict(thinning=.5), dict(key_added="Z")],
    ids=lambda how: "-".join(how) or "usual")
def test_streamed_is_the_same_model(path, how):
    a, b = whole(path, **how), streamed(path, **how)
    key = how.get("key_added", "X_scvae")
    assert np.array_equal(a.cells.obsm[key], b.cells.obsm[key])
    assert a.history.equals(b.history) and a.settings == b.settings


@pytest.fixture
def address(path, tmp_path, monkeypatch):
    "The same cells in an object store."
    import fsspec
    monkeypatch.setenv("SCVAE_DATA", str(tmp_path/"data"))
    fsspec.filesystem("memory").put(str(path), "/store/atlas.h5ad")
    return "memory://store/atlas.h5ad"


@pytest.mark.parametrize("stream", [False, True])
def test_cells_of_an_object_store_give_the_model_of_a_file(path, address, stream):
    there, here = scvae.fit(address, stream=stream, **QUICK), whole(path)
    assert np.array_equal(latents(there), latents(here)) and there.settings == here.settings
    with pytest.raises(ValueError, match="nothing at this address"):
        scvae.fit("memory://store/none.h5ad", stream=stream, **QUICK)


def test_the_shell_takes_cells_of_an_object_store(address, tmp_path):
    run = lambda *line: CliRunner().invoke(cli.app, [*map(str, line)], prog_name="scvae")
    quick = ["--epochs", 1, "--no-report"]
    done = run("fit", address, "-o", tmp_path/"run", *quick)
    assert done.exit_code == 0 and (tmp_path/"run"/"adata.h5ad").exists(), done.stderr
    refused = run("fit", address, "-o", tmp_path/"other", "--update", *quick)
    assert refused.exit_code == 2 and "leave out --update" in refused.stderr
    gone = run("fit", "memory://store/none.h5ad", "-o", tmp_path/"none", *quick)
    assert gone.exit_code == 2 and len(gone.stderr.splitlines()) == 1
    assert "nothing at this address" in gone.stderr and not (tmp_path/"none").exists()
    away = run("fit", address, "-o", "s3://atlas/run", *quick)
    assert away.exit_code == 2 and "only cells are read from one" in away.stderr


def test_small_buffers_give_as_good_a_model(path, small_blocks):
    "Other order, other numbers; the losses are alike."
    usual, blocks = streamed(path, epochs=20), streamed(path, epochs=20, memory="30kB")
    assert not usual.history.equals(blocks.history)
    assert abs(blocks.history.recon.iloc[-1] / usual.history.recon.iloc[-1] - 1) < .02


def test_a_saved_model_of_a_file_is_repeated_in_memory(path, tmp_path):
    streamed(path).save(tmp_path/"model")
    again = scvae.fitting.rerun(tmp_path/"model", path, progress=False)
    assert again.attrs["agrees"] and again.attrs["exact"]


def test_what_is_too_large_for_the_memory_given_is_streamed(path):
    assert scvae.fit(path, **QUICK).cells.X is not None
    assert scvae.fit(path, memory="1kB", **QUICK).cells.X is None
    for wrong in ("much", -1, True):
        with pytest.raises(ValueError, match="is no amount of memory"):
            scvae.fit(path, memory=wrong, **QUICK)


def test_files_are_joined_by_the_names_of_their_genes(path, tmp_path):
    a = scvae.load(path)
    first, second = a[:400], a[400:, ::-1]
    for name, part in (("a", first), ("b", second)): part.copy().write_h5ad(tmp_path/f"{name}.h5ad")
    files = [tmp_path/"a.h5ad", str(tmp_path/"b.h5ad")]
    one, many = streamed(path), streamed(files)
    assert one.settings["data_sha256"] == many.settings["data_sha256"]
    assert np.allclose(latents(one), latents(many), atol=1e-3)
    assert list(many.cells.obs["file"].unique()) == ["a.h5ad", "b.h5ad"]
    assert np.allclose(one.encode(files), latents(one), atol=1e-4)
    same = [scvae.fit(files, stream=flag, batch_key="file", **QUICK) for flag in (True, False)]
    assert np.allclose(*map(latents, same), atol=1e-3)


def test_genes_that_some_files_lack_are_left_out_or_refused(path, tmp_path):
    a = scvae.load(path)
    a[:, 20:].copy().write_h5ad(tmp_path/"fewer.h5ad")
    with pytest.warns(UserWarning, match="180 genes are in all files"):
        vae = streamed([path, tmp_path/"fewer.h5ad"])
    assert vae.cells.shape == (1800, 180) and vae.cells.obs_names.is_unique
    a.var_names = [f"other_{i}" for i in range(200)]
    a.write_h5ad(tmp_path/"others.h5ad")
    with pytest.raises(ValueError, match="0 genes in common"):
        streamed([path, tmp_path/"others.h5ad"])


@pytest.mark.parametrize("flag", [True, False])
def test_files_that_disagree_on_a_column_are_joined(path, tmp_path, flag):
    a = scvae.load(path)
    first, second = a[:400].copy(), a[400:].copy()
    first.obs["sample"], second.obs["sample"] = 1, ["A", "B"] * 250
    first.obs["good"], second.obs["good"] = True, "no"
    first.obs["age"] = 30
    for part in first, second: part.obs["self"] = 1   # a name like any other
    files = [tmp_path/"a.h5ad", tmp_path/"b.h5ad"]
    for file, part in zip(files, (first, second)): part.write_h5ad(file)
    vae = scvae.fit(files, stream=flag, batch_key="sample", **QUICK)
    assert vae.batches == ["1", "A", "B"]
    assert vae.cells.obs["good"].value_counts().to_dict() == {"no": 500, "True": 400}
    assert vae.cells.obs["age"].isna().sum() == 500, "a column that one file lacks"
    vae.cells.write_h5ad(tmp_path/"all.h5ad")
    with pytest.raises(ValueError, match="in 500 of 900 cells, of file 'b.h5ad'"):
        scvae.fit(files, stream=flag, batch_key="age", **QUICK)


@pytest.mark.parametrize("flag", ["--stream", "--no-stream"])
def test_cells_of_an_earlier_run_are_joined_with_others(path, tmp_path, flag):
    run, both = tmp_path/"run", tmp_path/"both"
    for line in [path, "-o", run, "--no-stream"], [path, run/"adata.h5ad", "-o", both, flag]:
        code, said = called("fit", *line, "--no-report", *QUICKLY)
        assert code == 0, said
    assert scvae.load(both/"adata.h5ad").obs["scvae"].notna().all()
    mine = scvae.load(path)
    mine.obs["scvae"] = "mine"
    mine.write_h5ad(tmp_path/"mine.h5ad")
    code, said = called("fit", path, tmp_path/"mine.h5ad", "-o", tmp_path/"no", *QUICKLY)
    assert code == 2 and "has 'scvae' in obs, which scvae did not write" in said


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("change", [
    lambda a: a.X.data.__setitem__(7, .5), lambda a: a.X.data.__setitem__(7, np.nan),
    lambda a: a.X.data.__setitem__(7, -1), lambda a: a.X.data.__setitem__(slice(None), 0)])
def test_which_of_several_files_is_wrong_is_said(path, tmp_path, change, flag):
    a = scvae.load(path)
    change(a)
    a.write_h5ad(tmp_path/"wrong.h5ad")
    code, said = called("fit", path, tmp_path/"wrong.h5ad", "-o", tmp_path/"run",
                        "--stream" if flag else "--no-stream", *QUICKLY)
    assert code == 2 and "wrong.h5ad" in said.splitlines()[-1], said


@pytest.mark.parametrize("known, given", [([0, 1], [0., 1.]), ([0., 1.], [0, 1]),
                                          ([0, 1], ["0", "1"])])
def test_batches_that_are_whole_numbers_have_one_spelling(path, known, given):
    a = scvae.load(path)
    a.obs["chip"] = np.resize(known, 900)
    vae = scvae.fit(a, batch_key="chip", **QUICK)
    Z = vae.encode(a)
    a.obs["chip"] = np.resize(given, 900)
    assert np.array_equal(vae.encode(a), Z)
    assert np.array_equal(vae.generate(3, batch=known[1]), vae.generate(3, batch=given[1]))
    assert np.array_equal(vae.map(a.copy()).obsm["X_scvae"], Z)


@pytest.mark.parametrize("change, says", [
    (lambda a: a.X.data.__setitem__(7, .5), "not whole numbers"),
    (lambda a: a.X.data.__setitem__(7, np.nan), "NaN"),
    (lambda a: a.X.data.__setitem__(slice(*a.X.indptr[800:802]), 0), "1 of 900 cells"),
    (lambda a: setattr(a, "X", a.X.tocsc()), r"by genes \(CSC\)")])
def test_what_cannot_be_streamed_is_said_in_one_sentence(path, tmp_path, change, says):
    a = scvae.load(path)
    change(a)
    a.write_h5ad(tmp_path/"wrong.h5ad")
    with pytest.raises(ValueError, match=says): streamed(tmp_path/"wrong.h5ad")


def test_advice_names_the_layer_that_has_the_counts(path, tmp_path):
    a = scvae.load(path)
    a.layers["counts"] = a.X.copy()
    a.X = a.X * .37
    a.write_h5ad(tmp_path/"layers.h5ad")
    with pytest.raises(ValueError, match="layer='counts'"): streamed(tmp_path/"layers.h5ad")
    usual = streamed(path).settings["data_sha256"]
    assert streamed(tmp_path/"layers.h5ad", layer="counts").settings["data_sha256"] == usual
    assert streamed(tmp_path/"layers.h5ad", layer="auto").settings["data_sha256"] == usual


def test_a_file_that_ends_early(path, tmp_path):
    cut = tmp_path/"cut.h5ad"
    cut.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match="cut.h5ad was cut short: copy or download"): streamed(cut)


def test_a_file_that_ends_while_it_is_read(path, tmp_path):
    "Cut, as by a network disk that goes away, once it is open."
    a = scvae.load(path)
    a.write_h5ad(tmp_path/"goes.h5ad")
    with opened(tmp_path/"goes.h5ad") as cells:
        source = source_of(["goes.h5ad"], [cells])
        os.truncate(tmp_path/"goes.h5ad", 3000)
        with pytest.raises(ValueError, match="goes.h5ad cannot be read to its end"):
            statistics(source, 60)


def test_a_disk_that_fills(path, monkeypatch):
    def full(self, values): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    class Full:
        write = full
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: Full())
    with pytest.raises(OSError, match=r"scratch space in .*\(No space left"): streamed(path)


def test_scratch_goes_with_the_process(path, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    streamed(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_run_goes_on_in_the_middle_of_an_epoch(path, tmp_path, small_blocks):
    "SIGKILL between two steps: the checkpoint before it is taken up, with the same result."
    more = dict(QUICK, epochs=3, batch_size=32, memory="30kB", stream=True)
    code = ("import os, scvae\nfrom scvae.checkpoints import Checkpoint\n"
            "from scvae import streaming\n"
            "seen = []\nbatch = streaming.OnDisk.rows\n"
            "def rows(self, some):\n"
            "    seen.append(1)\n"
            "    if len(seen) == 40: os.kill(os.getpid(), 9)\n"
            "    return batch(self, some)\n"
            "streaming.OnDisk.rows, streaming.BLOCK = rows, 4\n"
            f"scvae.fit({str(path)!r}, checkpoint=Checkpoint({str(tmp_path/'state')!r}, every=0), "
            f"**{more!r})")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-500:]
    assert sorted(os.listdir(tmp_path/"state")) == ["README.txt", "fit.checkpoint", "fit.lock"]
    resumed = scvae.fit(path, checkpoint=tmp_path/"state", resume=True, **more)
    assert np.array_equal(latents(resumed), latents(scvae.fit(path, **more)))


def test_a_checkpoint_of_other_cells_is_refused(path, tmp_path):
    other = tmp_path/"other.h5ad"
    write_synthetic(other, n_cells=900, n_genes=200, n_types=3, depth=300., random_state=1)
    def stop(epoch, net): raise KeyboardInterrupt
    kept = dict(checkpoint=tmp_path/"state")
    with pytest.raises(KeyboardInterrupt): streamed(path, **kept, callback=stop)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        streamed(other, **kept, resume=True)


def test_the_order_of_an_epoch_does_not_depend_on_time(path, monkeypatch, small_blocks):
    "A slow reader gives the same model."
    from scvae import streaming
    usual, slow = streamed(path, memory="30kB"), streaming.checked_blocks
    def slowly(*args, **how):
        for block in slow(*args, **how):
            time.sleep(.05)
            yield block
    monkeypatch.setattr(streaming, "checked_blocks", slowly)
    assert np.array_equal(latents(usual), latents(streamed(path, memory="30kB")))


PEAK = """
import re, sys, threading, time, scvae
from scvae import streaming
def now(): return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
most, over = [0], threading.Event()
def watch():
    while not over.wait(.01): most[0] = max(most[0], now())
streaming.MOST_VALUES = 10**5
def fit(path): scvae.fit(path, n_top_genes=60, hidden=(8,), epochs=1, stream=True, progress=False)
fit(sys.argv[1])
before = now()
threading.Thread(target=watch, daemon=True).start()
fit(sys.argv[2])
over.set()
print(most[0] - before)"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux only")
def test_memory_does_not_grow_with_the_counts(tmp_path):
    "Anonymous memory at the peak of a fit, beyond that of a small one, in a process of its own."
    small, large = tmp_path/"small.h5ad", tmp_path/"large.h5ad"
    write_synthetic(small, 500, 600, depth=600.)
    write_synthetic(large, 20_000, 600, depth=1500.)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PEAK, small, large],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    with h5py.File(large) as file: whole_mb = 40 * len(file["X/data"]) / 2**20
    assert float(done.stdout) < whole_mb / 3, (done.stdout, whole_mb)


def test_a_sample_has_its_counts(path):
    a, vae = scvae.load(path), streamed(path)
    with opened(path) as cells: few = sample(source_of(["atlas"], [cells]), vae.cells, 50)
    assert (few.X != a[few.obs_names].X).nnz == 0
    assert "50 of 900 cells" in few.uns["scvae"]["title"]


def shell(*args):
    "Exit code and messages of a command."
    done = subprocess.run([sys.executable, "-m", "scvae", *map(str, args)], capture_output=True,
                          text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.mark.slow
def test_the_shell_streams_batches_of_two_columns(path, tmp_path):
    quick = ["--epochs", 1, "--n-top-genes", 60, "--no-report", "--stream"]
    keys = ["--batch-key", "batch", "--batch-key"]
    code, _ = shell("fit", path, "-o", tmp_path/"run", *quick, *keys, "type")
    assert code == 0 and len(scvae.load_model(tmp_path/"run"/"model").batches) > 3
    code, said = shell("fit", path, "-o", tmp_path/"other", *quick, *keys, "chip")
    assert code == 2 and "no obs column 'chip'" in said
    code, said = shell("fit", path, path, "-o", tmp_path/"other", *quick, "--update")
    assert code == 2 and "--update adds the latents to one file, and 2 are given" in said


def called(*args):
    "The same in this process, which costs no start."
    done = CliRunner().invoke(cli.app, list(map(str, args)), prog_name="scvae")
    return done.exit_code, done.output


def test_a_streamed_run_serves_without_a_copy_of_the_counts(path, tmp_path):
    "Its cells have latents and no counts: they can be scored, mapped to and learned from."
    other = tmp_path/"other.h5ad"
    write_synthetic(other, n_cells=300, n_genes=200, n_types=3, depth=300., random_state=1)
    run, quick = tmp_path/"run", ["--epochs", 2, "--n-top-genes", 60, "--no-report", "--stream"]
    for line in (["fit", path, "-o", run, *quick], ["score", run, "--label", "type"],
                 ["encode", run, other, "-o", tmp_path/"placed.h5ad", "--stream"],
                 ["map", run, other, "-o", tmp_path/"mapped.h5ad"],
                 ["transfer", run, tmp_path/"placed.h5ad", "--label", "type", "--use-rep",
                  "X_scvae", "-o", tmp_path/"named.h5ad"],
                 ["map", run, other, "-o", tmp_path/"mapped_2.h5ad", "--stream"]):
        code, said = called(*line)
        assert code == 0, (line, said)
    mapped, again = (scvae.load(tmp_path/f"{name}.h5ad") for name in ("mapped", "mapped_2"))
    assert again.X is None and mapped.X is not None
    np.testing.assert_allclose(mapped.obsm["X_scvae"], again.obsm["X_scvae"], atol=1e-5)
    pd.testing.assert_frame_equal(mapped.obs, again.obs, atol=1e-5)
    assert scvae.load(run/"adata.h5ad").X is None
    assert "type_predicted" in scvae.load(tmp_path/"named.h5ad").obs
    code, said = called("encode", run, run/"adata.h5ad", "-o", tmp_path/"x.h5ad")
    assert code == 2 and "the file has no X; raw counts are needed" in said
    code, said = called("rerun", run)
    assert code == 2 and "has no counts" in said and "give that with --data" in said


def test_types_of_cells_that_stay_on_disk_are_those_of_cells_in_memory(path, tmp_path, monkeypatch):
    monkeypatch.setattr(scvae.mapping, "A_PART", 200)
    run = tmp_path/"run"
    quick = ["--epochs", 2, "--n-top-genes", 60, "--no-report"]
    assert called("fit", path, "-o", run, *quick)[0] == 0
    for name, more in ("whole", []), ("passing", ["--stream"]):
        line = ["transfer", run, path, "--label", "type", "-o", tmp_path/f"{name}.h5ad", *more]
        code, said = called(*line)
        assert code == 0, said
    whole, passing = (scvae.load(tmp_path/f"{name}.h5ad") for name in ("whole", "passing"))
    assert passing.X is None
    columns = ["type_predicted", "type_confidence"]
    pd.testing.assert_frame_equal(whole.obs[columns], passing.obs[columns], atol=1e-5)
    code, said = called(*line, "--min-counts", 3)
    assert code == 2


def test_genes_that_differ_are_found_in_cells_on_disk(path):
    vae, how = whole(path), dict(n_samples=300, null=False, key_added=None)
    of = lambda cells: vae.differential_expression(cells, "type", **how)
    pd.testing.assert_frame_equal(of(scvae.load(path)), of(anndata.read_h5ad(path, backed="r")))


def test_a_score_leaves_counts_where_they_are(path, tmp_path, monkeypatch):
    run = tmp_path/"run"
    assert called("fit", path, "-o", run, "--epochs", 2, "--n-top-genes", 60, "--no-report")[0] == 0
    monkeypatch.setattr("scvae.streaming.load", lambda *_: pytest.fail("counts were read"))
    code, said = called("score", run, "--label", "type")
    assert code == 0 and "kmeans" in said


@pytest.mark.parametrize("said", ["a word", np.array([1, 2]), 3, {"labels": 5}, {"labels": [[1]]}],
                         ids=str)
def test_what_a_stranger_noted_is_no_obstacle(path, tmp_path, said):
    adata = scvae.load(path)
    adata.uns["scvae"] = said
    adata.write_h5ad(tmp_path/"own.h5ad")
    for cells in (adata, tmp_path/"own.h5ad"): streamed(cells)
    whole(tmp_path/"own.h5ad")
    scvae.data.describe(adata)
    scvae.plots.add_umap(adata)
    adata.uns["scvae"] = said
    scvae.plots.cluster_cells(adata)
    with pytest.raises(ValueError, match="No label column is named"): scvae.score(adata)


def test_what_cannot_be_written_to_is_refused_before_the_work(path):
    adata = scvae.load(path)
    vae = whole(path)
    adata.obsm["X_scvae"] = latents(vae)
    view = lambda: adata[:, ::-1][np.arange(500)]
    for work in (streamed, scvae.plots.cluster_cells, scvae.plots.add_umap, vae.components,
                 lambda cells: scvae.fit(cells, **QUICK)):
        with pytest.raises(ValueError, match="scipy cannot copy"): work(view())


# --- several files, files that change, and what a run is asked for later ---

QUICKLY = ["--epochs", 1, "--n-top-genes", 60]


@pytest.fixture
def two(path, tmp_path):
    "The cells in two files, with counts in a layer and other numbers in X."
    a = scvae.load(path)
    a.layers["counts"] = a.X.copy()
    a.X = a.X.multiply(1 + np.arange(200) % 3).tocsr()
    files = [tmp_path/"a.h5ad", tmp_path/"b.h5ad"]
    for file, part in zip(files, (a[:400], a[400:])): part.copy().write_h5ad(file)
    return files


def again(run, files): return ["rerun", run, *(word for file in files for word in ("--data", file))]


@pytest.mark.parametrize("flag", ["--stream", "--no-stream"])
def test_a_run_of_several_files_remembers_where_their_counts_are(two, tmp_path, flag):
    run, new = tmp_path/"run", tmp_path/"new.h5ad"
    fit = ["fit", *two, "--layer", "counts", "-o", run, "--no-report", flag, *QUICKLY]
    for line in fit, ["encode", run, two[0], "-o", new]:
        code, said = called(*line)
        assert code == 0, (line, said)
    assert scvae.load_model(run/"model").settings["layer"] == "counts"
    own = scvae.load(run/"adata.h5ad").obsm["X_scvae"]
    assert np.allclose(scvae.load(new).obsm["X_scvae"], own[:400], atol=1e-4)
    for line in [again(run, two)] + [["rerun", run]] * (flag == "--no-stream"):
        code, said = called(*line)
        assert code == 0 and "The same, bit for bit" in said, (line, said)


def test_a_store_of_zarr_is_fitted_again(path, tmp_path):
    scvae.load(path).write_zarr(tmp_path/"cells.zarr")
    run = tmp_path/"run"
    fit = ["fit", tmp_path/"cells.zarr", "-o", run, "--no-report", "--stream", *QUICKLY]
    for line in fit, again(run, [tmp_path/"cells.zarr"]):
        code, said = called(*line)
        assert code == 0, (line, said)
    code, said = called("report", run, "--data", path, "--data", path)
    assert code == 2 and "a report is of one file" in said


@pytest.mark.parametrize("stream", [True, False])
def test_cells_without_counts_of_the_shared_genes_are_told(path, tmp_path, stream):
    a = scvae.load(path)
    a[:, 50:].copy().write_h5ad(tmp_path/"fewer.h5ad")
    a.X[7, 50:] = 0
    a.X.eliminate_zeros()
    a.write_h5ad(tmp_path/"bare.h5ad")
    says = r"1 of 900 cells of bare.h5ad \(one is 'cell_0007'\) have no counts among the 150 genes"
    with pytest.warns(UserWarning, match="150 genes"), pytest.raises(ValueError, match=says):
        scvae.fit([tmp_path/"bare.h5ad", tmp_path/"fewer.h5ad"], stream=stream, **QUICK)


@pytest.mark.parametrize("change", ["another", "gone"])
def test_a_file_that_is_replaced_in_training_gives_no_sample(path, tmp_path, monkeypatch, change):
    from scvae.processes import fit
    live, run = tmp_path/"live.h5ad", tmp_path/"run"
    scvae.load(path).write_h5ad(live)
    scvae.load(path)[::-1].copy().write_h5ad(tmp_path/"another.h5ad")
    def then_change(*args, **how):
        vae = fit(*args, **how)
        if change == "gone": os.unlink(live)
        else: os.replace(tmp_path/"another.h5ad", live)
        return vae
    monkeypatch.setattr("scvae.processes.fit", then_change)
    code, said = called("fit", live, "-o", run, "--stream", *QUICKLY)
    assert code == 1 and "live.h5ad was changed since it was read" in said and "no report" in said
    assert sorted(os.listdir(run)) == ["adata.h5ad", "model"]
    transfer = ["transfer", run, path, "--label", "type", "-o", tmp_path/"x.h5ad"]
    for line in ["report", run], transfer:
        code, said = called(*line)
        assert code == 2 and "has no counts of its cells" in said and "fit again" in said


def test_a_streamed_run_without_a_report_gives_types(path, tmp_path):
    run, new = tmp_path/"run", tmp_path/"new.h5ad"
    for line in (["fit", path, "-o", run, "--stream", "--no-report", *QUICKLY],
                 ["transfer", run, path, "--label", "type", "-o", new]):
        code, said = called(*line)
        assert code == 0, (line, said)
    found = scvae.load(new).obs.astype(str)
    assert (found["type_predicted"] == found["type"]).mean() > .9


@pytest.mark.parametrize("flag", ["--stream", "--no-stream"])
def test_cells_are_known_by_the_file_that_they_were_in(two, tmp_path, recwarn, flag):
    run, new = tmp_path/"run", tmp_path/"new.h5ad"
    named = ["--layer", "counts", "--batch-key", "file", "--likelihood", "nb"]
    for line in (["fit", *two, "-o", run, "--no-report", "--stream", *named, *QUICKLY],
                 ["generate", run, "--like", two[1], "-n", 1, "-o", new],
                 ["map", run, two[1], "-o", new, "--overwrite", flag],
                 ["encode", run, two[1], "-o", new, "--overwrite", flag]):
        code, said = called(*line)
        assert code == 0 and "no batch that the model knows" not in said, (line, said)
    own, vae = scvae.load(run/"adata.h5ad").obsm["X_scvae"], scvae.load_model(run/"model")
    assert np.allclose(scvae.load(new).obsm["X_scvae"], own[400:], atol=1e-4)
    recwarn.clear()
    for files, cells in (two, slice(None)), (two[1], slice(400, None)):
        assert np.allclose(vae.encode(files, "counts"), own[cells], atol=1e-4)
    assert not [w for w in recwarn if "no batch that the model knows" in str(w.message)]


@pytest.mark.parametrize("flag", ["--stream", "--no-stream"])
@pytest.mark.parametrize("command", ["map", "encode"])
def test_who_placed_the_cells_is_noted(path, tmp_path, command, flag):
    "Cells that had a fit of their own are those of the model that placed them last."
    from scvae.mapping import fit_mark, placed_by
    run, own, new = (tmp_path/name for name in ("run", "own", "new.h5ad"))
    for line in (["fit", path, "-o", run, "--no-report", *QUICKLY],
                 ["fit", path, "-o", own, "--no-report", "--seed", 5, *QUICKLY],
                 [command, run, own/"adata.h5ad", "-o", new, flag]):
        code, said = called(*line)
        assert code == 0, (line, said)
    mark = fit_mark(scvae.load_model(run/"model").settings)
    assert placed_by(scvae.load(new), "X_scvae") == mark
    assert placed_by(scvae.load(own/"adata.h5ad"), "X_scvae") != mark
