"A small part of the study of faults: some cases of every kind that is quick. All survive."
import os, subprocess, sys
import pandas as pd, pytest

QUICK = ["model folder", "h5ad", "loom", "zarr", "10x file", "10x folder", "text", "extreme matrix",
         "fit killed", "file replaced", "file full", "door closed", "five at once"]

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux only")


def study(out):
    "Run the study as a user does; what it printed."
    command = [sys.executable, "-m", "scvae.studies.faults", "--out", out, "--share", "0.005",
               "--kinds", ",".join(QUICK)]
    threads = dict(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    "The file of the rows, and how the study ended."
    out = tmp_path_factory.mktemp("faults")/"faults.csv"
    return out, *study(out)


def test_nothing_is_lost_and_everything_survives(tried):
    out, code, said = tried
    rows = pd.read_csv(out, keep_default_na=False)
    assert not rows.lost.sum(), said
    assert (rows.survived == rows.tried).all() and code == 0, said
    left_out = {line.split(" is left out")[0] for line in said.splitlines() if "left out" in line}
    assert {*rows.fault, *left_out} == set(QUICK)
    assert rows.tried.sum() > 40


def test_what_is_recorded_is_not_tried_again(tried):
    out, *_ = tried
    before = out.read_text()
    study(out)
    assert out.read_text() == before
