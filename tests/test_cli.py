"The command line as a shell sees it: processes, streams, exit codes, what is left when stopped."
import ast, json, os, re, resource, shutil, signal, socket, subprocess, sys
from pathlib import Path
import nbformat, pytest

scvae = [sys.executable, "-W", "error::SyntaxWarning", "-m", "scvae"]
quick = ["--epochs", "1", "--n-top-genes", "50", "--no-report"]
extras = ["optuna", "papermill", "nbconvert", "nbclient", "nbformat", "ipykernel"]


def run(*args, code=0, **more):
    "A command that ends with this exit code."
    done = subprocess.run([*scvae, *map(str, args)], capture_output=True, text=True, **more)
    assert done.returncode == code, done.stderr
    return done


IN_ONE = """
import json, os, sys, time, warnings
from typer.testing import CliRunner
from scvae.cli import app
for words in json.loads(sys.stdin.read()):
    done = CliRunner().invoke(app, words, prog_name="scvae")
    print(json.dumps([words, done.exit_code, done.stderr, done.stdout]), flush=True)
"""


def in_one_process(lines, **more):
    "Exit code, messages and output of many commands, in one process to be quick."
    lines = [[str(word) for word in line] for line in lines]
    done = subprocess.run([sys.executable, "-c", IN_ONE], input=json.dumps(lines), text=True,
                          capture_output=True, timeout=600, **more)
    assert done.returncode == 0, (len(done.stdout.splitlines()), len(lines), done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def python(source, *args):
    "What a Python program prints."
    done = subprocess.run([sys.executable, "-c", source, *map(str, args)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    from scvae import synthetic
    path = tmp_path_factory.mktemp("cells")/"my.h5ad"
    synthetic(n_cells=300, n_genes=100, n_types=3).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def fitted(cells, tmp_path_factory):
    "A run."
    folder = tmp_path_factory.mktemp("fitted")/"run"
    run("fit", cells, "-o", folder, *quick)
    return folder


def test_help_is_whole_and_loads_nothing_heavy():
    help = run("--help").stdout
    names = "data fit encode generate score map transfer report rerun notebook search bench study"
    for name in names.split(): assert f"\n  {name} " in help
    assert "..." not in help.split("Commands:")[1], "a description is cut off"
    loaded = python("""
import sys, scvae.cli
print([m for m in ("torch", "scanpy", "anndata", "pandas", "matplotlib") if m in sys.modules])
""")
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [
    [Path(sys.executable).with_name("scvae")], [sys.executable, "-m", "scvae"],
    [sys.executable, "-m", "scvae.cli"]], ids=["scvae", "-m scvae", "-m scvae.cli"])
def test_it_can_be_called(command):
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip()
    usage = subprocess.run([*command, "fit"], capture_output=True, text=True).stderr
    assert usage.startswith("Usage: ") and "__main__" not in usage


def test_results_and_progress_go_separate_ways(cells, tmp_path):
    done = run("fit", cells, "-o", tmp_path/"run", "--json", *quick)
    result = json.loads(done.stdout)                        # nothing but the result
    assert sum(result["clusters"].values()) == result["cells"] == 300
    assert "train" in done.stderr and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert sorted(p.name for p in (tmp_path/"run").iterdir()) == ["adata.h5ad", "model"]
    rows = json.loads(run("score", tmp_path/"run", "--label", "type", "--json").stdout)
    assert {row["clusterer"] for row in rows} == {"kmeans", "leiden"}
    assert all(0 <= row["nmi"] <= 1 for row in rows)


def test_a_fit_says_its_steps_and_about_how_long_they_take(cells, tmp_path):
    said = run("fit", cells, "-o", tmp_path/"run", *quick).stderr
    assert re.findall(r"^\d/\d \w+$", said, re.M) == ["1/2 train", "2/2 cluster"]
    assert re.search(r"^about \d+ \w+ in all: train \d+ \w+, cluster \d+ s$", said, re.M)
    assert said.index("about") < said.index("1/2 train")


def test_options_of_python_have_their_names_in_the_shell(cells, tmp_path):
    import scvae as library
    fit = ["fit", cells, *quick, "-o"]
    watched = ["--held-out", "0.3", "--patience", "1", "--epochs", "90"]
    lines = [[*fit, tmp_path/"seed", "--seed", "3", "--round-counts"],
             [*fit, tmp_path/"state", "--random-state", "3"], [*fit, tmp_path/"watched", *watched],
             [*fit, tmp_path/"none", "--patience", "1"],
             [*fit, tmp_path/"none", "--device", "gpu"]]
    *done, alone, gpu = in_one_process(lines, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert [code for _, code, *_ in done] == [0, 0, 0]
    seed, state, early = (library.load_model(tmp_path/f"{name}/model", "cpu")
                          for name in ("seed", "state", "watched"))
    assert seed.settings["random_state"] == 3 and seed.history.equals(state.history)
    assert early.settings["options"]["held_out"] == .3 and len(early.history) < 90
    assert alone[1] == gpu[1] == 2 and "add --held-out 0.1 too" in alone[2]
    assert "--device gpu cannot be used here: use 'cpu'" in gpu[2]


def test_what_would_be_ignored_is_told(cells, tmp_path):
    lines = [["fit", cells, *quick, "-o", tmp_path/"none", "--set", "epochs=3"],
             ["fit", cells, "--beta=.1", "-o", tmp_path/"none", "--set", "beta=0.2"],
             ["fit", cells, *quick, "-o", tmp_path/"none", "--set", "lr=true"],
             ["generate", tmp_path/"none", "-o", tmp_path/"new.h5ad", "--layer", "counts"]]
    said = ["--epochs and --set epochs are both given", "--beta and --set beta are both given",
            "--set lr=True: give a number", "--layer and --round tell where"]
    for (_, code, error, _), part in zip(in_one_process(lines), said, strict=True):
        assert code == 2 and part in error, error
    assert not list(tmp_path.glob("n*"))


def test_mistakes_are_one_line_and_leave_nothing(cells, tmp_path):
    for args in (["fit", "none.h5ad", "-o", tmp_path/"run"],
                 ["fit", cells, "--layer", "raw", "-o", tmp_path/"run"],
                 ["score", cells, "--label", "type"]):
        done = run(*args, code=2)
        assert not done.stdout and "Traceback" not in done.stderr
        lines = done.stderr.splitlines()
        assert [line[:7] for line in lines].count("scvae: ") == 1
        assert lines[-1].startswith("scvae: ")
    env = os.environ | {"SCVAE_TRACEBACK": "1"}
    assert "Traceback" in run("fit", "none.h5ad", code=1, cwd=tmp_path, env=env).stderr
    assert not list(tmp_path.glob("*run*"))
    assert run("fit", code=2).stderr.startswith("Usage:")   # what the shell itself can tell


@pytest.mark.slow
def test_batches_of_two_columns_named_by_a_stranger(cells, tmp_path):
    import anndata
    adata = anndata.read_h5ad(cells)
    of_cell = [("a / b", "c"), ("a", "b / c"), ("a /", "/ c"), ("<b>", "'; x")]
    for column, values in zip(("donor", "chip <i>"), zip(*of_cell)):
        adata.obs[column] = [values[i % 4] for i in range(300)]
    adata.write_h5ad(tmp_path/"my.h5ad")
    keys = ["--batch-key", "donor", "--batch-key", "chip <i>"]
    short = ["--epochs", "1", "--n-top-genes", "50"]
    run("fit", tmp_path/"my.h5ad", "-o", tmp_path/"run", *keys, *short)
    assert "chip &lt;i&gt;" in (tmp_path/"run/report.html").read_text()
    run("generate", tmp_path/"run", "-n", "40", "-o", tmp_path/"new.h5ad")
    made = anndata.read_h5ad(tmp_path/"new.h5ad").obs
    assert set(zip(made["donor"], made["chip <i>"])) == set(of_cell)
    run("encode", tmp_path/"run", tmp_path/"my.h5ad", "-o", tmp_path/"Z.h5ad")
    wrong = run("fit", tmp_path/"my.h5ad", "--batch-key", "donor", "--batch-key", "chip", code=2)
    assert "no obs column" in wrong.stderr


def without_extras(source, *args):
    "Run Python as if the packages of the extras were not installed."
    blocked = f"import sys\nfor name in {extras}: sys.modules[name] = None\n"
    return python(blocked + source, *args)


def test_the_library_imports_without_the_extras():
    done = without_extras("import scvae.reports, scvae.chapters, scvae.cli; print('imported')")
    assert done.stdout == "imported\n"


@pytest.mark.slow
def test_fit_is_complete_without_the_extras_and_names_them(cells, tmp_path):
    line = ["fit", cells, "-o", tmp_path/"run", *quick[:-1]]
    done = without_extras("from scvae.cli import app\napp()", *line)
    assert "pip install 'scvae-notebooks[reports]'" in done.stderr.splitlines()[-1]
    assert sorted(p.name for p in (tmp_path/"run").iterdir()) == ["adata.h5ad", "model"]


@pytest.mark.slow
@pytest.mark.parametrize("line, extra", [
    ("report RUN", "reports"), ("notebook 33_beta", "reports"), ("search CELLS", "search")])
def test_what_needs_an_extra_names_it(cells, tmp_path, line, extra):
    run("fit", cells, "-o", tmp_path/"run", *quick)
    words = line.replace("RUN", str(tmp_path/"run")).replace("CELLS", str(cells)).split()
    done = without_extras("""
from scvae.cli import app
try: app()
except SystemExit as end: assert end.code == 2
""", *words)
    said = done.stderr.splitlines()[-1]
    assert said.startswith("scvae: ") and f"pip install 'scvae-notebooks[{extra}]'" in said


def default_signals():                   # a job may have to ignore them, and its children too
    for number in signal.SIGINT, signal.SIGHUP: signal.signal(number, signal.SIG_DFL)


def start(*args):
    "A command that runs beside us."
    return subprocess.Popen([*scvae, *map(str, args)], stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.PIPE, preexec_fn=default_signals)


def in_training(*args):
    "A fit that has read its cells and trains."
    process, said = start("fit", *args, "--n-top-genes", "50"), ""
    while "train:" not in said:             # its bar
        said += os.read(process.stderr.fileno(), 4096).decode() or pytest.fail(said)
    return process


def ended(process):
    "Exit code, output, and the last line that a command says."
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, out, err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("how, code", [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_stopped_in_training(cells, tmp_path, how, code):
    before = cells.read_bytes()
    process = in_training(cells, "-o", tmp_path/"run", "--update", "--epochs", "100000")
    assert len(list(tmp_path.glob(".run.*.part"))) == 1     # it is writing beside
    process.send_signal(how)
    returned, out, said = ended(process)
    assert (returned, out) == (code, "") and said.startswith("scvae: stopped")
    assert [p.name for p in tmp_path.iterdir()] == ["run.checkpoint"]
    assert cells.read_bytes() == before
    assert [p.name for p in cells.parent.iterdir()] == [cells.name]


@pytest.mark.slow
def test_a_fit_that_was_killed_goes_on_to_the_same_weights(cells, tmp_path):
    line = [cells, "-o", tmp_path/"run", "--epochs", "60", "--n-top-genes", "50", "--no-report"]
    process = in_training(*line)
    process.kill()
    process.communicate()
    again, whole = in_one_process([
        ["fit", *line, "--resume"], ["fit", *line[:2], tmp_path/"whole", *line[3:]]])
    assert again[1] == whole[1] == 0, (again, whole)
    run_, whole = (tmp_path/name/"model"/"model.safetensors" for name in ("run", "whole"))
    assert weights(run_) == weights(whole)
    assert not [path for path in tmp_path.glob("*") if path.suffix == ".checkpoint"]


def weights(path):
    "The arrays of a model, as bytes."
    from safetensors.numpy import load_file
    return {name: x.tobytes() for name, x in load_file(path).items()}


@pytest.mark.slow
def test_what_a_kill_left_does_not_block_and_goes_in_the_end(cells, tmp_path):
    line = [cells, "-o", tmp_path/"run", "--epochs", "100000"]
    process = in_training(*line)
    process.kill()
    process.communicate()
    done = run("fit", *line[:3], *quick)
    assert "--resume would go on with it" in done.stderr
    left = {p.name for p in tmp_path.iterdir() if not p.name.endswith(".part")}
    assert left == {"run"}                                  # .part: taken away when it is old


def other_cells(path): path.write_bytes(path.with_name("other.h5ad").read_bytes())
def reordered(path): os.replace(path.with_name("reordered.h5ad"), path)
def longer(path): path.write_bytes(path.read_bytes() + b"1")
def deleted(path): path.unlink()


@pytest.fixture
def mine(cells, tmp_path):
    "A file with cells, and two others with the same cells in part."
    import anndata
    whole = anndata.read_h5ad(cells)
    whole[:100].copy().write_h5ad(tmp_path/"other.h5ad")
    whole[::-1].copy().write_h5ad(tmp_path/"reordered.h5ad")
    return shutil.copy(cells, tmp_path/"mine.h5ad")


@pytest.mark.slow
def test_a_file_that_was_changed_in_training_is_not_written_to(mine, tmp_path):
    import anndata
    names = anndata.read_h5ad(mine).obs_names
    process = in_training(mine, "-o", tmp_path/"run", "--update", "--no-report", "--epochs", "100")
    other_cells(mine)
    now = mine.read_bytes()
    code, out, said = ended(process)
    assert code == 2 and str(tmp_path/"mine_scvae.h5ad") in said and str(mine) in said
    assert mine.read_bytes() == now and str(tmp_path/"mine_scvae.h5ad") in out
    found = anndata.read_h5ad(tmp_path/"mine_scvae.h5ad")
    assert list(found.obs_names) == list(names) and found.obsm["X_scvae"].shape[0] == 300
    assert "scvae" in found.obs
    assert [p.name for p in (tmp_path/"run").iterdir()] == ["model"]


@pytest.mark.parametrize("line, change", [
    ("fit FILE -o OUT --update", other_cells), ("fit FILE -o OUT --update", reordered),
    ("fit FILE -o OUT --update", deleted), ("fit FILE -o OUT", longer),
    ("encode RUN FILE -o FILE --overwrite", longer), ("data FILE -o FILE --overwrite", deleted),
    ("generate RUN --like FILE -o FILE --overwrite", reordered),
    ("map RUN FILE -o FILE --overwrite", longer)])
def test_no_command_writes_over_what_came_meanwhile(fitted, mine, tmp_path, line, change):
    import anndata
    from unittest.mock import patch
    from typer.testing import CliRunner
    from scvae import cli
    def late(*what):
        change(mine)
        now.append(mine.read_bytes() if mine.exists() else None)
        return write(*what)
    now, words = [], {"FILE": mine, "RUN": fitted, "OUT": tmp_path/"out"}
    words = [str(words.get(word, word)) for word in line.split()]
    name = {"data": "write_new", "generate": "write_generated"}.get(line.split()[0], "write_cells")
    write = getattr(cli, name)
    with patch.object(cli, name, late):
        done = CliRunner().invoke(cli.app, words + (quick if "fit" in line else []))
    assert (mine.read_bytes() if mine.exists() else None) == now[0], done.stderr
    kept = tmp_path/"out"/"adata.h5ad" if done.exit_code == 0 else tmp_path/"mine_scvae.h5ad"
    assert (done.exit_code == 0) == (line == "fit FILE -o OUT"), done.stderr
    assert done.exit_code == 0 or str(kept) in done.stderr.splitlines()[-1]
    assert anndata.read_h5ad(kept).n_obs in (300, 30000)


@pytest.mark.slow
def test_two_updates_at_once_lose_nothing(mine, tmp_path):
    import anndata
    both = [start("fit", mine, "-o", tmp_path/name, "--update", *quick) for name in ("a", "b")]
    codes = sorted(ended(process)[0] for process in both)
    results = [mine, tmp_path/"mine_scvae.h5ad"]
    assert codes in ([0, 2], [0, 0])                        # 0, 0: one after the other
    for path in results[:1 + codes.count(2)]:
        assert anndata.read_h5ad(path).obsm["X_scvae"].shape[0] == 300


@pytest.mark.slow
def test_of_five_at_once_one_takes_the_place(cells, tmp_path):
    line = ["fit", cells, "-o", tmp_path/"run", "--json", *quick]
    done = [ended(start_) for start_ in [start(*line) for _ in range(5)]]
    assert sorted(code for code, *_ in done) == [0, 2, 2, 2, 2]
    for code, out, said in done:
        if code and not out: assert "run exists" in said    # it came when the place was taken
        else: assert Path(json.loads(out)["model"], "model.json").is_file()
        if code and out: assert json.loads(out)["model"].removesuffix("/model") in said
    ways = [json.loads(out)["model"] for _, out, _ in done if out]
    assert len(set(ways)) == len(ways) == len(list(tmp_path.glob("run*")))


@pytest.mark.slow
def test_overwrite_keeps_what_is_not_ours(fitted, cells, tmp_path):
    shutil.copytree(fitted, tmp_path/"run")
    (tmp_path/"run"/"notes.txt").write_text("years of work")
    (tmp_path/"run"/"figures").mkdir()
    before = (tmp_path/"run"/"model"/"model.json").read_text()
    in_one_process([["fit", cells, "-o", tmp_path/"run", *quick, "--overwrite", "--seed", "7"]])
    names = sorted(p.name for p in (tmp_path/"run").iterdir())
    assert names == ["adata.h5ad", "figures", "model", "notes.txt"]
    assert (tmp_path/"run"/"model"/"model.json").read_text() != before


def test_new_cells_are_mapped_and_labelled(fitted, mine, tmp_path):
    import anndata
    (_, code, err, _), = in_one_process([["map", fitted, mine, "-o", mine, "--overwrite"]])
    assert code == 0, err
    mapped = anndata.read_h5ad(mine)
    assert mapped.obsm["X_scvae"].shape[0] == 300 and (mapped.obs["scvae_distance"] > 0).all()
    line = ["transfer", fitted, mine, "--label", "type", "-o", tmp_path/"out.h5ad"]
    done = in_one_process([[*line, "--unknown", "0", "--json"], line, [*line, "--overwrite"],
                           [*line[:-1], mine, "--overwrite", "--method", "knn"]])
    assert [code for _, code, *_ in done] == [0, 2, 0, 0], done
    assert sum(json.loads(done[0][3])["types"].values()) == 300
    for path in tmp_path/"out.h5ad", mine:
        obs = anndata.read_h5ad(path).obs
        assert set(obs["type_predicted"]) <= {*obs["type"], "unknown"}
        assert obs["type_confidence"].between(0, 1).all() and "scvae_distance" in obs


@pytest.mark.slow
def test_places_do_where_a_query_has_no_counts(fitted, tmp_path):
    import anndata
    adata = anndata.read_h5ad(fitted/"adata.h5ad")
    del adata.obs["scvae"], adata.uns["scvae"]
    adata.X = adata.X * 1.37
    adata.write_h5ad(tmp_path/"scaled.h5ad")
    line = ["transfer", fitted, tmp_path/"scaled.h5ad", "--label", "type", "-o", tmp_path/"o.h5ad"]
    done = in_one_process([line, [*line, "--use-rep", "X_scvae"]])
    assert [code for _, code, *_ in done] == [2, 0], done
    assert "whole numbers" in done[0][2] and "--use-rep X_scvae" in done[0][2]


NOT_LABELLED = {
    "transfer RUN CELLS --label type --use-rep X_scvae": "has no 'X_scvae' in obsm",
    "transfer RUN RUN_CELLS --label kind": "no obs column 'kind'",
    "transfer RUN RUN_CELLS --label batch_": "no obs column 'batch_'",
    "transfer RUN RUN_CELLS --label type --method tree": "'logistic' or 'knn'",
    "transfer RUN RUN_CELLS --label depth": "has 0 types of at least 3 cells",
    "transfer RUN OWN --label type": "type_confidence", "map RUN OWN": "scvae_distance"}


def test_what_cannot_be_labelled_is_told(fitted, cells, tmp_path):
    import anndata
    own = anndata.read_h5ad(fitted/"adata.h5ad")
    own.obs["type_confidence"] = own.obs["scvae_distance"] = 1.
    own.write_h5ad(tmp_path/"own.h5ad")
    names = {"RUN": fitted, "CELLS": cells, "RUN_CELLS": fitted/"adata.h5ad",
             "OWN": tmp_path/"own.h5ad"}
    lines = [[names.get(word, word) for word in words.split()] + ["-o", tmp_path/"out.h5ad"]
             for words in NOT_LABELLED]
    told = in_one_process(lines)
    for said, (_, code, err, out) in zip(NOT_LABELLED.values(), told, strict=True):
        last = err.splitlines()[-1]
        assert code == 2 and not out and last.startswith("scvae: ") and said in last, err
    assert [p.name for p in tmp_path.iterdir()] == ["own.h5ad"]


def own_column(adata): adata.obs["scvae"] = "mine"
def own_latents(adata): adata.obsm["X_scvae"] = adata.X[:, :2].toarray()


@pytest.mark.slow
def test_what_is_the_users_is_not_overwritten(mine, fitted, tmp_path):
    import anndata
    lines = []
    for change in own_column, own_latents:
        adata, path = anndata.read_h5ad(mine), tmp_path/f"{change.__name__}.h5ad"
        change(adata)
        adata.write_h5ad(path)
        lines += [["fit", path, "-o", tmp_path/"run", "--update", *quick],
                  ["fit", path, "-o", tmp_path/"run", *quick]]
    lines.append(["encode", fitted, path, "-o", tmp_path/"run.h5ad"])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for words, code, err, out in in_one_process(lines):
        assert code == 2 and "which scvae did not write" in err and "train:" not in err, words
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_what_we_wrote_is_written_again(mine, tmp_path):
    mine.chmod(0o640)
    lines = [["fit", mine, "-o", tmp_path/str(seed), "--update", *quick] for seed in (1, 2)]
    lines.append(["encode", tmp_path/"1", mine, "-o", mine, "--overwrite"])
    assert [code for _, code, *_ in in_one_process(lines)] == [0, 0, 0]
    assert mine.stat().st_mode & 0o777 == 0o640


@pytest.mark.slow
def test_a_file_of_an_old_anndata_is_told_before_training_or_written(mine, tmp_path):
    import h5py, numpy as np
    with h5py.File(mine, "r+") as f:                       # as anndata wrote before 0.7
        for part in "obs", "var":
            names = f[part][f[part].attrs["_index"]][:]
            del f[part]
            f[part] = np.array([(n,) for n in names], dtype=[("index", "S20")])
    before, line = mine.read_bytes(), ["fit", mine, "-o", tmp_path/"run", *quick]
    update, copy = in_one_process([[*line, "--update"], line])
    assert update[1] == 2 and "train:" not in update[2] and mine.read_bytes() == before
    assert copy[1] == 0 or "train:" not in copy[2], copy
    assert (tmp_path/"run"/"adata.h5ad").is_file() == (copy[1] == 0)


def limited(n_bytes):
    "A shell's limit on the size of files, as a disk that is full."
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    return limit


FULL = ["fit CELLS -o OUT", "fit CELLS -o OUT --update", "data CELLS -o OUT.h5ad",
        "generate RUN -n 2000 -o OUT.h5ad", "generate RUN -n 20000 -o OUT.h5ad",
        "encode RUN CELLS -o OUT.h5ad", "map RUN CELLS -o OUT.h5ad"]


@pytest.mark.slow
def test_a_full_disk_names_what_was_written(fitted, mine, tmp_path):
    before, lines = mine.read_bytes(), []
    for i, line in enumerate(FULL):
        words = {"CELLS": mine, "RUN": fitted, "OUT": tmp_path/f"out{i}",
                 "OUT.h5ad": tmp_path/f"out{i}.h5ad"}
        lines.append([words.get(word, word) for word in line.split()] + quick * ("fit" in line))
    for i, line in enumerate(lines):   # one by one: HDF5 may crash after a file it could not end
        (words, code, err, out), = in_one_process([line], preexec_fn=limited(40_000))
        said = err.splitlines()[-1]
        assert code == 2 and str(tmp_path/f"out{i}") in said and "space" in said, (words, err)
    assert mine.read_bytes() == before and not list(tmp_path.glob("out?"))
    assert not list(tmp_path.glob("out?.h5ad"))


def missing(path): pass
def a_folder(path): path.mkdir()
def empty(path): path.touch()
def a_pipe(path): os.mkfifo(path)
def a_text(path): path.write_text("a,b\n1,x\n")
def a_cut_file(path): path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(path.parent)
        s.bind(path.name)


READS = ["data BAD", "fit BAD -o OUT", "encode RUN BAD -o OUT.h5ad", "encode BAD CELLS -o OUT.h5ad",
         "generate BAD -o OUT.h5ad", "generate RUN --like BAD -o OUT.h5ad",
         "score BAD --label type", "report BAD", "report RUN --data BAD",
         "rerun BAD", "rerun RUN --data BAD",
         "notebook 33_beta --data BAD -o OUT.ipynb", "notebook BAD -o OUT.ipynb",
         "search BAD --storage OUT", "study beta --check --out BAD",
         "map RUN BAD -o OUT.h5ad", "map BAD CELLS -o OUT.h5ad",
         "transfer RUN BAD --label type -o OUT.h5ad", "transfer BAD RUN --label type -o OUT.h5ad"]
BAD = [(missing, "no.h5ad"), (missing, "no"), (a_folder, "folder"), (empty, "empty.h5ad"),
       (a_pipe, "pipe.h5ad"), (a_text, "text.h5ad"), (a_cut_file, "cut.h5ad"),
       (a_socket, "socket.h5ad"), (missing, "~nouser/my.h5ad"), (missing, "n" * 300),
       (missing, "with\0nul.h5ad"), (missing, "with space ü.h5ad"), (missing, "")]
def test_input_that_is_none_gets_one_sentence(fitted, cells, tmp_path):
    lines = []
    for i, (make, name) in enumerate(BAD):
        (tmp_path/str(i)).mkdir()
        path = name if name[:1] in ("~", "") else str(tmp_path/str(i)/name)
        if make is not missing: make(Path(path))
        words = {"BAD": path, "RUN": str(fitted), "CELLS": str(cells), "OUT": str(tmp_path/"out")}
        words |= {f"OUT.{kind}": str(tmp_path/f"out.{kind}") for kind in ("h5ad", "ipynb")}
        few = READS if make in (missing, a_pipe) and i < 5 else READS[:5] + READS[8:9]
        lines += [[words.get(word, word) for word in line.split()] for line in few]
    before = {p.name for p in fitted.iterdir()}
    for words, code, err, out in in_one_process(lines, cwd=tmp_path):
        said = [line for line in err.splitlines() if line.startswith("scvae: ")]
        assert code == 2 and len(said) == 1 and not out, (words, code, err, out)
        assert "Traceback" not in err and "Errno" not in said[0], (words, err)
    assert not list(tmp_path.glob("*out*")) and {p.name for p in fitted.iterdir()} == before


WRITES = ["data CELLS -o BAD.h5ad", "fit CELLS -o BAD --no-report --epochs 1",
          "encode RUN CELLS -o BAD.h5ad", "generate RUN -o BAD.h5ad", "report RUN -o BAD.html",
          "notebook 33_beta --data CELLS -o BAD.ipynb", "bench --out BAD.csv --no-peers"]


def test_places_that_cannot_be_written_get_one_sentence(fitted, cells, tmp_path):
    (tmp_path/"file").write_text("mine")
    lines = []
    for place in ("/proc/out", tmp_path/"file"/"out", "~nouser/out", "n" * 300, "with\0nul",
                  "/dev/null/out"):
        for line in WRITES:
            words = [word.replace("BAD", str(place)) for word in line.split()]
            lines.append([{"RUN": str(fitted), "CELLS": str(cells)}.get(w, w) for w in words])
    for words, code, err, out in in_one_process(lines, cwd=tmp_path):
        said = [line for line in err.splitlines() if line.startswith("scvae: ")]
        assert code == 2 and len(said) == 1 and not out, (words, code, err, out)
        assert "train:" not in err and "Traceback" not in err, (words, err)
    assert (tmp_path/"file").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_of_our_name_gets_a_hint(tmp_path):
    (tmp_path/"scvae").mkdir()
    (tmp_path/"scvae"/"__init__.py").touch()
    command = Path(sys.executable).with_name("scvae")
    done = subprocess.run([command, "notebook"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and f"{tmp_path/'scvae'} hides this package" in done.stderr


def test_a_pipe_that_closes_early_is_no_error():
    line = f"{sys.executable} -m scvae notebook | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.stdout == "00_data\n" and "Traceback" not in done.stderr


def names(cells, *kinds):
    "Names that code cells assign or define, or that they use."
    trees = [ast.parse(c.source) for c in cells if c.cell_type == "code"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    defined = [n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    used = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, kinds)]
    return set(used) | set(defined if ast.Store in kinds else [])


chapters = sorted((Path(__file__).parents[1]/"nbs").glob("*.ipynb"))


@pytest.mark.parametrize("path", chapters, ids=lambda p: p.stem)
def test_a_chapter_takes_other_cells_or_says_what_does(path):
    from scvae.chapters import parameters_of, prepare, tagged
    whole = nbformat.read(path, 4)
    tags = [tag for c in whole.cells for tag in c.metadata.get("tags", [])]
    if "parameters" not in tags:
        says = (f"{path.stem} is not about one set of cells and takes no other: use .*; "
                "chapters that run on your cells are .*33_beta")
        with pytest.raises(ValueError, match=says): prepare(path, {"data": "my.h5ad"})
        return
    usual = parameters_of(whole)["data"]                   # plain assignments, one a line
    assert tags.count("parameters") == 1 and set(tags) <= {"parameters", usual}
    kept, left_out = prepare(path, {"data": "my.h5ad"}).cells, tagged(whole, usual)
    assert len(kept) == len(whole.cells) - len(left_out)
    defined = names(left_out, ast.Store) - names(kept, ast.Store, ast.Del)
    assert not defined & names(kept, ast.Load), "what is left out on other cells is needed later"
