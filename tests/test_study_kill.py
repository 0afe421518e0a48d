"A study whose process is killed leaves whole files and no workers, and goes on where it stopped."
import os, shutil, signal, subprocess, sys, time
import pandas as pd, pytest
from scvae.studies import runner

pytestmark = pytest.mark.slow

PLAN = """
import sys
from scvae.studies.recipes import recipe
from scvae.studies.runner import study
if __name__ == "__main__":
    tiny = dict(dataset="pbmc68k", n_top_genes=300, hidden=(32,))
    plan = [recipe(f"vae{e}", tiny, epochs=e) for e in (2, 3, 4, 5)]
    study(plan, seeds=3, out=sys.argv[1], workers=2, progress=False)
"""
N_RUNS = 12


def children(pid):
    command = ["ps", "-o", "pid=", "--ppid", str(pid)]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def alive(pid):
    try: return open(f"/proc/{pid}/stat").read().split()[2] != "Z"
    except FileNotFoundError: return False


def check_whole(out):
    "Two rows for each key, its losses once, and no losses of a key without rows but the last."
    rows, curves = (pd.read_csv(out/name) for name in ("rows.csv", "rows_curves.csv"))
    assert (rows.groupby("key").size() == 2).all()
    assert not curves.duplicated(["key", "epoch"]).any()
    assert set(rows.key) <= set(curves.key)
    return rows


def start(script, out):
    return subprocess.Popen([sys.executable, script, out], start_new_session=True,
                            stderr=subprocess.PIPE, text=True)


def wait_for(condition, process, seconds=300):
    deadline = time.time() + seconds
    while not condition() and process.poll() is None and time.time() < deadline: time.sleep(0.02)


def n_recorded(path):
    return pd.read_csv(path).key.nunique() if path.exists() else 0


@pytest.fixture
def script(tmp_path):
    path = tmp_path/"plan.py"
    path.write_text(PLAN)
    return path


def test_kill_and_resume(script, tmp_path):
    rows = tmp_path/"out"/"rows.csv"
    process = start(script, rows.parent)
    wait_for(rows.exists, process)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    recorded = check_whole(rows.parent)
    assert 1 <= recorded.key.nunique() < N_RUNS
    deadline = time.time() + 60
    while any(alive(p) for p in workers) and time.time() < deadline: time.sleep(0.1)
    assert not any(alive(p) for p in workers), "workers outlived their parent"

    stopped, goes_on = start(script, rows.parent), start(script, rows.parent)
    wait_for(lambda: n_recorded(rows) > recorded.key.nunique(), stopped)
    stopped.send_signal(signal.SIGTERM)                                  # two at once, one stopped
    said = stopped.communicate()[1].strip().splitlines()
    assert stopped.returncode == 143 and len(said) == 1, said
    assert f"of {N_RUNS} runs are recorded in {rows}; the same call goes on" in said[0]
    assert goes_on.wait(300) == 0
    again = check_whole(rows.parent)
    assert again.key.nunique() == N_RUNS
    pd.testing.assert_frame_equal(again.head(len(recorded)), recorded)   # nothing twice
    assert not list(rows.parent.glob(".*")), "something was left behind"


def test_a_killed_worker_costs_its_own_run(script, tmp_path):
    rows = tmp_path/"out"/"rows.csv"
    process = start(script, rows.parent)
    wait_for(rows.exists, process)
    of = {p: open(f"/proc/{p}/cmdline").read() for p in children(process.pid)}
    os.kill(next(int(p) for p in of if "spawn_main" in of[p]), signal.SIGKILL)
    said = process.communicate()[1].strip().splitlines()[-1]
    assert process.returncode == 1
    assert f"1 of {N_RUNS} runs failed" in said and "its process was killed" in said
    assert "the first failure, of 'vae" in said
    assert check_whole(rows.parent).key.nunique() == N_RUNS - 1          # all others


# Where exactly a process is killed is not left to chance: a copy of this process records a run
# and is killed at one line of the code that writes; then at the next line, and so on.

WRITERS = {"record", "append_rows", "locked", "atomic", "_beside", "_parents", "_tidy_up",
           "_put_in_place", "_replace", "_land"}


def run_of(key, n_epochs):
    "What a run would have given."
    history = pd.DataFrame(dict(epoch=range(1, n_epochs + 1), loss=0.5))
    rows = pd.DataFrame(dict(key=key, clusterer=["kmeans", "leiden"], ari=[.1, .2]))
    return rows.reindex(columns=runner.COLUMNS), history


def killed_at_line(number, act):
    "Whether a copy of this process was killed at that line of the writers before it was done."
    pid = os.fork()
    if pid == 0:
        left = [number]
        def trace(frame, event, arg):
            if frame.f_code.co_name not in WRITERS: return None
            if event == "line": left[0] -= 1
            if left[0] <= 0: os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        act()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_killed_at_every_line(tmp_path):
    first, second = run_of("a" * 16, 3), run_of("b" * 16, 2)
    read = lambda folder: {p.name: p.read_text() for p in folder.glob("*.csv")}
    (start := tmp_path/"start").mkdir()
    runner.record(start/"rows.csv", *first)
    shutil.copytree(start, tmp_path/"whole")
    runner.record(tmp_path/"whole"/"rows.csv", *second)
    before, whole, found, number, killed = read(start), read(tmp_path/"whole"), set(), 0, True
    while killed:
        number += 1
        path = shutil.copytree(start, tmp_path/str(number))/"rows.csv"
        killed = killed_at_line(number, lambda: runner.record(path, *second))
        left = read(path.parent)
        found.add(tuple(name for name in whole if left[name] == whole[name]))
        assert all(left[name] in (before[name], whole[name]) for name in whole), number
        runner.record(path, *second)
        assert read(path.parent) == whole, f"killed at line {number}"
    assert number > 50
    assert found == {(), ("rows_curves.csv",), tuple(whole)}     # all that a kill can leave
