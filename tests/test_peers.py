"scvi-tools beside us: what can be checked where it isn't installed."
import os, subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest
from scipy import sparse

root = Path(__file__).parents[1]
script, scorer = root/"peers"/"run_scvi.py", root/"peers"/"run_scib.py"


def failure(*args, python=sys.executable, script=script):
    "The last line that a call which cannot work prints."
    done = subprocess.run([python, script, *map(str, args)], capture_output=True, text=True)
    assert done.returncode and not done.stdout and "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def counts(tmp_path):
    sparse.save_npz(tmp_path/"counts.npz", sparse.csr_matrix(np.arange(12.).reshape(4, 3)))
    return tmp_path/"counts.npz"


def test_what_cannot_work_is_told_in_a_sentence(counts, tmp_path):
    assert "there is no file" in failure(tmp_path/"none.npz", tmp_path/"out")
    assert "--epochs is 0: give 1 or more" in failure(counts, tmp_path/"out", "--epochs", 0)
    assert "--seed is -1: give 0 or more" in failure(counts, tmp_path/"out", "--seed", -1)
    assert "two lists of cells" in failure(counts, tmp_path/"out", "--compare", tmp_path/"none")
    assert "`make peers` sets up" in failure(counts, tmp_path/"out")  # there is no scvi-tools here
    assert [p.name for p in tmp_path.iterdir()] == ["counts.npz"]


def test_batches_and_labels_are_names_of_all_cells(counts, tmp_path):
    out, names, none = tmp_path/"out", tmp_path/"names.txt", tmp_path/"none.txt"
    names.write_text("a\nb\na\nb b é\n", encoding="utf-8")
    scanvi = counts, out, "--method", "scanvi"
    assert f"there is no file {none}" in failure(counts, out, "--batches", none)
    assert "scanvi needs labels" in failure(*scanvi)
    assert f"there is no file {none}" in failure(*scanvi, "--labels", none)
    assert "scvi_2x30 knows no labels" in failure(
        counts, out, "--method", "scvi_2x30", "--labels", names)
    assert "`make peers` sets up" in failure(*scanvi, "--labels", names, "--batches", names)
    sys.path.insert(0, str(script.parent))
    from run_scvi import read_names
    assert list(read_names(names, 4)) == ["a", "b", "a", "b b é"]
    with pytest.raises(SystemExit, match="has 4 lines for 5 cells"): read_names(names, 5)
    names.write_text("a\n\nb\nc")
    with pytest.raises(SystemExit, match="line 2 of .* is empty"): read_names(names, 4)
    names.write_bytes("é".encode("latin-1"))
    with pytest.raises(SystemExit, match="is no text in UTF-8"): read_names(names, 1)


@pytest.mark.parametrize("content, said", [
    ("[[[0], [1]", "holds no lists of numbers"), ('[[["a"], [1]]]', "holds no lists of numbers"),
    ("5", "holds no lists of numbers"), ("[[[0]]]", "is not of two groups"),
    ("[[[0], []]]", "is not of two groups"), ("[[[0], [4]]]", "is not of two groups of 4 cells"),
    ("[[[0], [-1]]]", "is not of two groups"), ("[[[0], [1]], [[2], [9]]]", "comparison 1 of")])
def test_groups_to_compare_are_numbers_of_cells(tmp_path, content, said):
    sys.path.insert(0, str(script.parent))
    from run_scvi import read_pairs
    path = tmp_path/"pairs.json"
    path.write_text(content)
    with pytest.raises(SystemExit, match=said): read_pairs(path, 4)
    path.write_text("[[[0, 3], [1]]]")
    assert [[g.tolist() for g in pair] for pair in read_pairs(path, 4)] == [[[0, 3], [1]]]


GOOD = dict(label=np.array(["a", "b"] * 50), batch=np.array(["x"] * 60 + ["y"] * 40),
            base=np.eye(100), Z_one=np.eye(100)[:, :3])


@pytest.mark.parametrize("change, said", [
    (dict(label=None), "has no label"), (dict(batch=None), "has no batch"),
    (dict(base=None), "has no base"), (dict(Z_one=None), "there is no representation"),
    (dict(Z_versions=np.eye(100)), "cannot be called versions"),
    (dict(Z_one=np.eye(99)), "needs 2 dimension"), (dict(batch=np.array(["x"])), "100 cells"),
    (dict(Z_one=np.full((100, 2), np.nan)), "Z_one holds what is no finite number"),
    (dict(label=np.array(["x"] * 100)), "label is the same for all cells"),
    (dict(label=np.array(["a", 1] * 50, object)), "names as text and not as objects"),
    ({k: v[::2] if k == "batch" else v[:50] for k, v in GOOD.items()}, "there are 50 cells")])
def test_what_cannot_be_scored(tmp_path, change, said):
    sys.path.insert(0, str(script.parent))
    from run_scib import read
    path = tmp_path/"x.npz"
    np.savez(path, **{k: v for k, v in (GOOD | change).items() if v is not None})
    with pytest.raises(SystemExit, match=said): read(path)


def test_what_is_scored_is_read(tmp_path):
    sys.path.insert(0, str(script.parent))
    from run_scib import read
    np.savez(tmp_path/"all.npz", **GOOD)
    assert set(read(tmp_path/"all.npz")) == set(GOOD)
    np.savez(tmp_path/"one.npz", **GOOD | dict(batch=np.array(["x"] * 100)))   # cells of one batch
    assert set(read(tmp_path/"one.npz")) == set(GOOD)
    call = lambda *args: failure(*args, tmp_path/"out.json", script=scorer)
    assert "there is no file" in call(tmp_path/"none.npz")
    assert "--threads is 0" in call("--threads", 0, tmp_path/"all.npz")
    assert "or --serve" in call("--serve", tmp_path/"all.npz")
    assert "`make integration` sets up" in call(tmp_path/"all.npz")  # no scib-metrics here
    assert not (tmp_path/"out.json").exists()


@pytest.mark.parametrize("content, said", [
    (None, "cannot be read as a sparse matrix"), ([[1, 2.5]], "are not counts"),
    ([[1, -2.]], "are not counts")])
def test_what_is_no_count_matrix(tmp_path, content, said):
    sys.path.insert(0, str(script.parent))
    from run_scvi import read_counts
    path = tmp_path/"x.npz"
    if content is None: path.write_bytes(b"PK broken")
    else: sparse.save_npz(path, sparse.csr_matrix(np.array(content)))
    with pytest.raises(SystemExit, match=said): read_counts(path)


@pytest.mark.parametrize("of", ["", "scib-"])
def test_everything_is_pinned(of):
    pins = dict(line.split("==")
                for line in (root/"peers"/f"{of}constraints.txt").read_text().split())
    wanted = (root/"peers"/f"{of}requirements.txt").read_text().split()
    assert wanted and all(w == f"{w.split('==')[0]}=={pins[w.split('==')[0]]}" for w in wanted)


def test_both_sides_have_the_same_torch():
    pins = dict(line.split("==") for line in (root/"peers"/"constraints.txt").read_text().split())
    ours = (root/"constraints.txt").read_text().split()
    assert f"torch=={pins['torch']}" in ours


TRAINER = '''#!{python}
"What run_scvi.py does, with random latents; seed 1 fails while there is a file `broken`."
import json, sys
from pathlib import Path
import numpy as np
from scipy import sparse
script, counts, out, *more = sys.argv[1:]
told = dict(zip(more[::2], more[1::2]))
seed, epochs = told["--seed"], told["--epochs"]
if seed == "1" and (Path(script).parents[1]/"broken").exists(): sys.exit("out of luck")
X, history = sparse.load_npz(counts), list(range(1, int(epochs) + 1))
Path(out).parent.mkdir(exist_ok=True)
np.save(out + ".npy", np.random.default_rng(int(seed)).normal(size=(X.shape[0], 10)))
used = dict(n_latent=10, hidden=[128], dropout=0.1, likelihood="zinb", epochs=int(epochs), lr=1e-3,
            batch_size=128, warmup=400)
losses = {{name: history for name in ("epoch", "beta", "recon", "kl", "loss")}}
report = dict(counts=Path(counts).name, seconds=1, peak_mb=1, versions={{}}, settings=used,
              losses=losses, compared={{}})
Path(out + ".json").write_text(json.dumps(report))
'''


PLAN = """
import sys
from scvae.studies.peers import SCVI
from scvae.studies.recipes import recipe
from scvae.studies.runner import study
if __name__ == "__main__":
    plan = [recipe("scvi", method="scvi", dataset="pbmc68k", n_top_genes=300, epochs=2, **SCVI)]
    study(plan, seeds=3, out=sys.argv[1], workers=2, progress=False)
"""


@pytest.mark.slow
def test_runs_are_recorded_resumed_and_a_failure_costs_only_its_own(tmp_path):
    for folder in (".venv-peers/bin", "peers"): (tmp_path/folder).mkdir(parents=True)
    (tmp_path/"peers/run_scvi.py").touch(), (tmp_path/"broken").touch()
    python = tmp_path/".venv-peers/bin/python"
    python.write_text(TRAINER.format(python=sys.executable)), python.chmod(0o755)
    (tmp_path/"plan.py").write_text(PLAN)

    def run():
        command = [sys.executable, tmp_path/"plan.py", tmp_path/"out"]
        env = os.environ | {"SCVAE_PEERS": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, env=env)

    said = run().stderr.strip().splitlines()[-1]
    assert all(part in said for part in ("1 of 3 runs failed", "seed 1", "out of luck"))
    path = tmp_path/"out"/"rows.csv"
    first = pd.read_csv(path, dtype={"key": str})
    assert sorted(first.seed.unique()) == [0, 2]

    (tmp_path/"broken").unlink()
    assert run().returncode == 0
    rows = pd.read_csv(path, dtype={"key": str})
    assert sorted(rows.seed.unique()) == [0, 1, 2]
    pd.testing.assert_frame_equal(rows.head(len(first)), first)  # nothing was run or written twice
    from scvae.studies.runner import COLUMNS
    assert list(rows.columns) == list(COLUMNS) and not rows.isna().any().any()
    assert not pd.read_csv(path.with_name("rows_curves.csv")).duplicated(["key", "epoch"]).any()
