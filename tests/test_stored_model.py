"""A model that version 0.1.0 wrote is read by every later version, and gives what it gave then.

A folder that is damaged, or made to do harm, ends in a load or in one of our sentences."""
import hashlib, json, os, pickle, random, shutil, stat, struct, subprocess, sys, tracemalloc
import warnings
from pathlib import Path
import numpy as np, pytest
from anndata import AnnData
from safetensors.numpy import load_file, save_file
import scvae
from scvae.files import load_tensors, save_tensors
from scvae.fitting import FILES, load_model, rerun

folder = Path(__file__).parent/"fixtures"


def cells(stored):
    adata = AnnData(stored["counts"])
    adata.var_names = [f"gene_{i}" for i in range(adata.n_vars)]
    adata.obs["batch"] = [f"batch_{i % 2}" for i in range(adata.n_obs)]
    adata.obs["chip"] = [f"{i % 3}/" for i in range(adata.n_obs)]
    return adata


def write():
    "Made once, with scvae 0.1.0: python tests/test_stored_model.py"
    made = scvae.synthetic(n_cells=50, n_genes=30, n_types=3, random_state=0)
    stored = {"counts": made.X.toarray()}
    adata = cells(stored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer cells than a minibatch
        vae = scvae.fit(adata, n_top_genes=20, batch_key="batch", likelihood="nb", hidden=(8,),
                        n_latent=3, epochs=5, progress=False, device="cpu")
    vae.save(folder/"model_0.1.0")
    gave = {"latents": vae.encode(adata), "decoded": vae.decode(np.eye(3), "batch_1"),
            "error": vae.reconstruction_error(adata)}
    save_file(stored | gave, folder/"model_0.1.0_gave.safetensors")


def test_a_model_of_0_1_0_still_gives_what_it_gave():
    stored = load_file(folder/"model_0.1.0_gave.safetensors")
    vae = scvae.load_model(folder/"model_0.1.0", device="cpu")
    adata = cells(stored)
    np.testing.assert_allclose(vae.encode(adata), stored["latents"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(vae.decode(np.eye(3), "batch_1"), stored["decoded"], rtol=1e-3)
    np.testing.assert_allclose(vae.reconstruction_error(adata), stored["error"], rtol=1e-3)
    assert vae.batches == ["batch_0", "batch_1"] and len(vae.history) == 5 and len(vae.genes) == 20


@pytest.mark.parametrize("space", scvae.fitting.SPACES)
def test_cells_lie_where_they_lay(space, tmp_path):
    adata = scvae.synthetic(60, 30, n_types=3, random_state=0)
    vae = scvae.fit(adata, space=space, n_latent=3, hidden=(8,), epochs=2, batch_size=32,
                    progress=False, device="cpu")
    if space == "angle": vae.settings["space"] = None   # as it was saved while that was the default
    vae.save(tmp_path/"model")
    again = scvae.load_model(tmp_path/"model", device="cpu")
    np.testing.assert_array_equal(again.encode(adata), adata.obsm["X_scvae"])
    assert again.settings["space"] == space


# ---------------------------------------------------------------- folders that are not sound


@pytest.fixture
def model(tmp_path):
    "A copy of a stored model."
    shutil.copytree(folder/"model_0.1.0", tmp_path/"model")
    return tmp_path/"model"


def forge(model, change=lambda said, settings, arrays: None, text=None):
    "Write the stored model with a change in what it says or holds; its checksums are right."
    said = json.loads((folder/"model_0.1.0"/"model.json").read_text())
    arrays, _ = load_tensors(folder/"model_0.1.0"/"model.safetensors")
    arrays = {name: values.copy() for name, values in arrays.items()}
    change(said, said["settings"], arrays)
    if text is None: text = json.dumps(said)
    meta = {"json_sha256": hashlib.sha256(text.encode()).hexdigest()}
    save_tensors(model/"model.safetensors", arrays, meta)
    (model/"model.json").write_text(text)


def refused(model, *errors):
    "The sentence in which loading ends, raised by us; at most 100 MB were asked for."
    tracemalloc.start()
    with warnings.catch_warnings(action="error"), pytest.raises(errors or ValueError) as caught:
        load_model(model, "cpu")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    text = str(caught.value)
    assert str(model) in text and "\n" not in text and len(text) < 600, text
    assert Path(caught.traceback[-1].path).parent.name == "scvae"
    assert most < 1e8
    return text


DEEP = "[" * 100_000
SETTINGS = {
    "n_latent": [None, 0, -1, 2.5, "3", [3], True, 10**30, float("nan")],
    "hidden": [None, 8, "8", [0], [8.5], [[8]], [20_000] * 3, [2**31] * 2, [1] * 100_000],
    "dropout": [1.5, "0", float("nan"), None], "norm": ["instance", ["batch"], 3],
    "likelihood": ["normal", ["nb"], None, "a" * 10_000, "zinb"],
    "depth_covariate": [1, None, "yes"],
    "sphere": [1, None, "yes"], "space": ["genes", 1, [], "expression", "both"],
    "length": [0, -1, "long"],
    "random_state": [-1, "0", 2**64, None],
    "batches": ["ab", None, [1, 2], ["a", "a"], [["a"]], []],
    "batch_key": [None, 3, ["batch"], ["batch", 3], []],
    "layer": [3, ["counts"]], "options": [None, [], {"lr": [1]}],
    "mix_batches": [1, None, "yes"], "batch_clusters": [-1, "3", 2.5, 5, 10**9],
    "adapted": [-1, "1", 1, 10**9], "n_cells": ["50", -1], "data_sha256": [3], "key_added": [None],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_any_kind(name, model):
    for value in SETTINGS[name]:
        forge(model, lambda said, settings, arrays: settings.update({name: value}))
        refused(model)


SAID = {
    "format": [None, 0, True, "1", 1e400, 2], "settings": [None, [], "x"],
    "genes": [[], ["a"], "genes", {}, [1] * 30, [["a"]] * 30, ["a"] * 29 + [None], ["\ud800"] * 30],
    "target_sum": [0, -1, None, "1e4", float("nan"), float("inf"), 1e300],
    "max_value": [0, None, float("nan")], "n_top_genes": [0, 2.5, "20"],
    "history": [None, [], {}, {"epoch": [], "recon": []}, {"epoch": [1], "recon": [1, 2]},
                {"epoch": [1], "recon": ["x"]}, {"epoch": [1], "recon": [float("nan")]}],
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of_any_kind(name, model):
    for value in SAID[name]:
        forge(model, lambda said, settings, arrays: said.update({name: value}))
        refused(model)
    if name == "format": return
    forge(model, lambda said, settings, arrays: said.pop(name))
    assert f"no {name}" in refused(model)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", DEEP, '{"a":' * 100_000, "9" * 10_000,
                                  '{"format": 1}', '{"format": ' + "9" * 5000 + "}", " " * 2**25])
def test_model_json_of_any_content(text, model):
    forge(model, text=text)
    refused(model)


def times(name, factor):
    "A change of an array."
    return lambda said, settings, arrays: arrays.update({name: arrays[name] * np.float32(factor)})


def as_type(name, dtype):
    "A change of its type."
    return lambda said, settings, arrays: arrays.update({name: arrays[name].astype(dtype)})


def put(name, value):
    "A change of its first number."
    return lambda said, settings, arrays: arrays[name].reshape(-1).__setitem__(0, value)


WEIGHT, MEAN, STD, CHOSEN = "net.mean.weight", "prep.mean", "prep.std", "prep.highly_variable"
ARRAYS = {
    "NaN": times(WEIGHT, np.nan), "one NaN": put(WEIGHT, np.nan), "infinite": put(WEIGHT, np.inf),
    "mean NaN": put(MEAN, np.nan), "std 0": times(STD, 0), "std below": put(STD, -1.),
    "std tiny": put(STD, 1e-60), "double": as_type(WEIGHT, np.float64),
    "half": as_type(WEIGHT, np.float16), "whole mean": as_type(MEAN, np.int64),
    "not bool": as_type(CHOSEN, np.int8),
    "all chosen": lambda said, s, a: a.update({CHOSEN: a[CHOSEN] | True}),
    "none chosen": lambda said, s, a: a.update({CHOSEN: a[CHOSEN] & False}),
    "flat": lambda said, s, a: a.update({WEIGHT: a[WEIGHT].ravel()}),
    "turned": lambda said, s, a: a.update({WEIGHT: np.ascontiguousarray(a[WEIGHT].T)}),
    "cut": lambda said, s, a: a.update({STD: a[STD][:-1]}),
    "empty": lambda said, s, a: a.update({MEAN: a[MEAN][:0]}),
    "no weight": lambda said, s, a: a.pop(WEIGHT), "no genes": lambda said, s, a: a.pop(CHOSEN),
    "one more": lambda said, s, a: a.update({"net.more": np.ones(3, np.float32)}),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_any_kind(name, model):
    forge(model, ARRAYS[name])
    refused(model)


def header(change):
    "A change of what the file of numbers says before the numbers."
    def changed(path):
        raw = path.read_bytes()
        size = struct.unpack("<Q", raw[:8])[0]
        text = change(json.loads(raw[8:8 + size]))
        text = (text if isinstance(text, str) else json.dumps(text)).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size:])
    return changed


def length(n):
    "A change of the length that the header is said to have."
    return lambda path: path.write_bytes(struct.pack("<Q", n) + path.read_bytes()[8:])


def part(**change):
    "A change of what is said of one array."
    return header(lambda said: said | {WEIGHT: said[WEIGHT] | change})


HEADERS = {
    "long": length(2**62), "100 MB": length(10**8), "none": length(0),
    "deep": header(lambda said: DEEP), "a list": header(lambda said: []),
    "empty": header(lambda said: {}),
    "no meta": header(lambda said: said | {"__metadata__": None}),
    "meta deep": header(lambda said: said | {"__metadata__": {"scvae": DEEP}}),
    "meta a list": header(lambda said: said | {"__metadata__": {"scvae": '{"meta": []}'}}),
    "huge": part(shape=[2**40, 2**40]), "negative": part(shape=[-1]), "words": part(shape=["a"]),
    "no shape": part(shape=None), "type": part(dtype="F8_E4M3"), "no type": part(dtype=[]),
    "offsets": part(data_offsets=[0, 2**62]), "no offsets": part(data_offsets=None),
    "turned": part(data_offsets=[8, 0]), "all cut": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "noise": lambda path: path.write_bytes(b"\xff" * 999),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_any_kind(name, model):
    HEADERS[name](model/"model.safetensors")
    refused(model)


def sparse_file(path):
    with path.open("wb") as f: f.truncate(20 * 2**30)


FILES_OF_A_KIND = {
    "pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir,
    "loop": lambda path: path.symlink_to(path), "nowhere": lambda path: path.symlink_to("/none"),
    "large": sparse_file, "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", FILES_OF_A_KIND)
def test_files_of_any_kind(kind, name, model):
    (model/name).unlink()
    FILES_OF_A_KIND[kind](model/name)
    refused(model, ValueError, OSError)


def test_any_flip_cut_or_swap_is_noticed(model):
    "A small part of what `make faults` does."
    rng, whole = random.Random(0), {name: (model/name).read_bytes() for name in FILES}
    for _ in range(150):
        name = rng.choice(FILES)
        raw, i = bytearray(whole[name]), rng.randrange(len(whole[name]))
        how = rng.randrange(3)
        if how == 0: raw[i] ^= 1 << rng.randrange(8)
        elif how == 1: del raw[i:]
        else: raw[i:i] = rng.randbytes(9)
        (model/name).write_bytes(raw)
        refused(model)
        (model/name).write_bytes(whole[name])


def test_later_settings_and_other_line_ends_do_no_harm(model):
    forge(model, lambda said, settings, arrays: settings.update(later={"a": [1]}))
    text = (model/"model.json").read_text()
    (model/"model.json").write_bytes(text.replace("\n", "\r\n").encode())
    assert load_model(model, "cpu").settings["later"] == {"a": [1]}


def test_weights_out_of_proportion_give_no_nan(model):
    def enlarge(said, settings, arrays):
        for name in ("net.encoder.0.0.weight", "net.mean.weight"): arrays[name] *= 1e30
    forge(model, enlarge)
    adata = cells(load_file(folder/"model_0.1.0_gave.safetensors"))
    with pytest.raises(FloatingPointError, match="of 50 cells have latents that are no numbers"):
        load_model(model, "cpu").encode(adata)


# ---------------------------------------------------------------- umask, notes, and the same again


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o000], ids=oct)
def test_a_model_is_readable_as_the_umask_says(umask, model, tmp_path):
    vae, before = load_model(model, "cpu"), os.umask(umask)
    try:
        for _ in range(2): vae.save(tmp_path/"new"/"saved", overwrite=True)
    finally: os.umask(before)
    mode = lambda path: stat.S_IMODE(path.stat().st_mode)
    assert {mode(tmp_path/"new"/"saved"/name) for name in FILES} == {0o666 & ~umask}
    assert {mode(path) for path in (tmp_path/"new", tmp_path/"new"/"saved")} == {0o777 & ~umask}


def test_notes_in_a_model_folder_stay(model):
    (model/"notes.txt").write_text("mine")
    load_model(model, "cpu").save(model, overwrite=True)
    assert sorted(p.name for p in model.iterdir()) == sorted([*FILES, "notes.txt"])


def test_what_has_no_record_is_not_repeated(model):
    with pytest.raises(ValueError, match="does not say how it was made"):
        rerun(model, cells(load_file(folder/"model_0.1.0_gave.safetensors")))


@pytest.mark.parametrize("how", [{}, dict(precision="bfloat16", norm="batch", dropout=.2),
                                 dict(batch_key="batch", likelihood="nb", weight=np.arange(30.)),
                                 dict(batch_key=("batch", "chip")),
                                 dict(likelihood="calibrated", held_out=.2, patience=2)], ids=str)
def test_a_fit_is_repeated_to_the_bit(how, tmp_path):
    adata = cells(load_file(folder/"model_0.1.0_gave.safetensors"))
    usual = dict(hidden=(8,), n_latent=3, epochs=4, batch_size=20, progress=False, device="cpu")
    scvae.fit(adata, **usual | how).save(tmp_path/"model")
    adata.write_h5ad(tmp_path/"adata.h5ad")
    table = rerun(tmp_path, progress=False)
    assert table.attrs == {"exact": True, "agrees": True} and table.agrees.all()
    options = json.loads(adata.uns["scvae"]["fit"])["options"]
    assert options["device"] == "cpu" and options["precision"] in ("float32", "bfloat16")


if __name__ == "__main__": write()


def test_a_pickled_model_has_all_its_methods_in_another_process(tmp_path):
    "Those, too, that later chapters add; a model that `fitting.load_model` opens likewise."
    made = scvae.synthetic(n_cells=50, n_genes=30, n_types=3, random_state=0)
    vae = scvae.fit(made, hidden=(8,), n_latent=3, epochs=1, batch_size=16, progress=False)
    (tmp_path/"vae.pkl").write_bytes(pickle.dumps(vae))
    vae.save(tmp_path/"model")
    opened = ["import pickle; vae = pickle.load(open('vae.pkl', 'rb'))",
              "from scvae.fitting import load_model; vae = load_model('model')"]
    asked = "; print(vae.map and vae.adapt and vae.differential_expression and 'all there')"
    for lines in opened:
        told = subprocess.run([sys.executable, "-c", lines + asked], cwd=tmp_path,
                              capture_output=True, text=True)
        assert told.stdout.strip().endswith("all there"), told.stderr
