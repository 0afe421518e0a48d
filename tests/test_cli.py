"The command line as a shell sees it: processes, streams, exit codes, what is left when stopped."
import ast, json, os, signal, subprocess, sys
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


def test_help_is_whole_and_loads_nothing_heavy():
    help = run("--help").stdout
    names = "data fit encode generate score report notebook search bench study".split()
    for name in names: assert f"\n  {name} " in help
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


def without_extras(source, *args):
    "Run Python as if the packages of the extras were not installed."
    blocked = f"import sys\nfor name in {extras}: sys.modules[name] = None\n"
    return python(blocked + source, *args)


def test_the_library_imports_without_the_extras():
    done = without_extras("import scvae.reports, scvae.chapters, scvae.cli; print('imported')")
    assert done.stdout == "imported\n"


def test_fit_is_complete_without_the_extras_and_names_them(cells, tmp_path):
    line = ["fit", cells, "-o", tmp_path/"run", *quick[:-1]]
    done = without_extras("from scvae.cli import app\napp()", *line)
    assert "pip install 'scvae-notebooks[reports]'" in done.stderr.splitlines()[-1]
    assert sorted(p.name for p in (tmp_path/"run").iterdir()) == ["adata.h5ad", "model"]


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


def default_sigint(): signal.signal(signal.SIGINT, signal.SIG_DFL)   # a job may have to ignore it


@pytest.mark.parametrize("how, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_training(cells, tmp_path, how, code):
    before = cells.read_bytes()
    line = [*scvae, "fit", cells, "-o", tmp_path/"run", "--update", "--epochs", "100000",
            "--n-top-genes", "50"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=default_sigint)
    said = b""
    while b"train" not in said:
        said += os.read(process.stderr.fileno(), 4096) or pytest.fail(said.decode())
    assert len(list(tmp_path.glob(".run.*.part"))) == 1     # it is writing beside
    process.send_signal(how)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code and not out and b"Traceback" not in err
    assert not list(tmp_path.iterdir()) and cells.read_bytes() == before
    assert [p.name for p in cells.parent.iterdir()] == [cells.name]


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
