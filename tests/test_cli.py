"The command line as a shell sees it: processes, streams, exit codes, and what is left when one is stopped."
import ast, json, os, signal, subprocess, sys
from pathlib import Path
import nbformat, pytest

scvae = [sys.executable, "-W", "error::SyntaxWarning", "-m", "scvae.cli"]
quick = ["--epochs", "1", "--n-top-genes", "50", "--no-report"]


def run(*args, code=0, **more):
    "A command that ends with this exit code."
    done = subprocess.run([*scvae, *map(str, args)], capture_output=True, text=True, **more)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    from scvae import synthetic
    path = tmp_path_factory.mktemp("cells")/"my.h5ad"
    synthetic(n_cells=300, n_genes=100, n_types=3).write_h5ad(path)
    return path


def test_help_is_whole_and_loads_nothing_heavy():
    help = run("--help").stdout
    for name in "data fit encode generate score report notebook search bench study".split(): assert f"\n  {name} " in help
    assert "..." not in help.split("Commands:")[1], "a description is cut off"
    heavy = "import sys, scvae.cli; print([m for m in ('torch', 'scanpy', 'anndata', 'pandas', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_console_script_is_there():
    done = subprocess.run([Path(sys.executable).with_name("scvae"), "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip()


def test_results_and_progress_go_separate_ways(cells, tmp_path):
    done = run("fit", cells, "-o", tmp_path/"run", "--json", *quick)
    result = json.loads(done.stdout)                        # nothing but the result
    assert sum(result["clusters"].values()) == result["cells"] == 300
    assert "train" in done.stderr and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert sorted(p.name for p in (tmp_path/"run").iterdir()) == ["adata.h5ad", "model"]
    rows = json.loads(run("score", tmp_path/"run", "--label", "type", "--json").stdout)
    assert {row["clusterer"] for row in rows} == {"kmeans", "leiden"} and all(0 <= row["nmi"] <= 1 for row in rows)


def test_mistakes_are_one_line_and_leave_nothing(cells, tmp_path):
    for args in (["fit", "none.h5ad"], ["fit", cells, "--layer", "raw"], ["score", cells, "--label", "type"]):
        done = run(*args, *(["-o", tmp_path/"run"] if args[0] == "fit" else []), code=2)
        assert not done.stdout and "Traceback" not in done.stderr
        assert [line[:7] for line in done.stderr.splitlines()].count("scvae: ") == 1 and done.stderr.splitlines()[-1].startswith("scvae: ")
    assert "Traceback" in subprocess.run([*scvae, "fit", "none.h5ad"], capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"SCVAE_TRACEBACK": "1"}).stderr
    assert not list(tmp_path.glob("*run*"))
    assert run("fit", code=2).stderr.startswith("Usage:")   # what the shell itself can tell is wrong


@pytest.mark.parametrize("how, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_training(cells, tmp_path, how, code):
    before = cells.read_bytes()
    process = subprocess.Popen([*scvae, "fit", cells, "-o", tmp_path/"run", "--update", "--epochs", "100000", "--n-top-genes", "50"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))   # a job in the background may have been told to ignore it
    said = b""
    while b"train" not in said: said += os.read(process.stderr.fileno(), 4096) or pytest.fail(said.decode())
    assert len(list(tmp_path.glob(".run.*.part"))) == 1     # it is writing beside
    process.send_signal(how)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code and not out and b"Traceback" not in err
    assert not list(tmp_path.iterdir()) and cells.read_bytes() == before and [p.name for p in cells.parent.iterdir()] == [cells.name]


def test_a_pipe_that_closes_early_is_no_error():
    done = subprocess.run(f"{sys.executable} -m scvae.cli notebook | head -1", shell=True, capture_output=True, text=True)
    assert done.stdout == "00_data\n" and "Traceback" not in done.stderr


def names(cells, *kinds):
    "Names that code cells assign or define, or that they use."
    nodes = [n for c in cells if c.cell_type == "code" for n in ast.walk(ast.parse(c.source))]
    defined = {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))} if ast.Store in kinds else set()
    return defined | {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, kinds)}


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1]/"nbs").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_chapter_takes_other_cells_or_says_what_does(path):
    from scvae.cli import prepare
    whole = nbformat.read(path, 4)
    tags = [tag for c in whole.cells for tag in c.metadata.get("tags", [])]
    if "parameters" not in tags:
        with pytest.raises(ValueError, match=f"{path.stem} is not about one set of cells and takes no other: use .*; chapters that run on your cells are .*07_beta"): prepare(path, {"data": "my.h5ad"})
        return
    lines = ast.parse(next(c.source for c in whole.cells if "parameters" in c.metadata.get("tags", []))).body
    default = {line.targets[0].id: ast.literal_eval(line.value) for line in lines}      # plain assignments, one a line
    assert tags.count("parameters") == 1 and set(tags) <= {"parameters", default["data"]}
    kept = prepare(path, {"data": "my.h5ad"}).cells
    left_out = [c for c in whole.cells if default["data"] in c.metadata.get("tags", [])]
    assert len(kept) == len(whole.cells) - len(left_out)
    missing = (names(left_out, ast.Store) - names(kept, ast.Store, ast.Del)) & names(kept, ast.Load)
    assert not missing, "what is left out on other cells is needed later"
