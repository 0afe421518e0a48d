"A study whose process is killed leaves whole files and no workers, and goes on where it stopped."
import os, signal, subprocess, sys, time
import pandas as pd

PLAN = """
import sys
from scvae.studies.recipes import recipe
from scvae.studies.runner import study
if __name__ == "__main__":
    tiny = dict(dataset="pbmc68k", n_top_genes=300, hidden=(32,))
    plan = [recipe(f"vae{e}", tiny, epochs=e) for e in (2, 3, 4, 5)]
    study(plan, seeds=2, out=sys.argv[1], workers=2, progress=False)
"""


def children(pid):
    command = ["ps", "-o", "pid=", "--ppid", str(pid)]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def alive(pid):
    try: return open(f"/proc/{pid}/stat").read().split()[2] != "Z"
    except FileNotFoundError: return False


def test_kill_and_resume(tmp_path):
    script, rows = tmp_path/"plan.py", tmp_path/"out"/"rows.csv"
    script.write_text(PLAN)
    start = lambda: subprocess.Popen([sys.executable, script, rows.parent], start_new_session=True)
    process = start()
    deadline = time.time() + 300
    while not rows.exists() and process.poll() is None and time.time() < deadline: time.sleep(0.02)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    recorded = pd.read_csv(rows)
    assert 1 <= recorded.key.nunique() < 8, "the kill came too late to test anything"
    assert (recorded.groupby("key").size() == 2).all()                   # whole runs only

    while any(alive(p) for p in workers) and time.time() < deadline: time.sleep(0.1)
    assert not any(alive(p) for p in workers), "workers outlived their parent"

    assert start().wait(300) == 0
    again = pd.read_csv(rows)
    assert again.key.nunique() == 8 and (again.groupby("key").size() == 2).all()
    pd.testing.assert_frame_equal(again.head(len(recorded)), recorded)   # nothing twice
    curves = pd.read_csv(rows.with_name("rows_curves.csv"))
    assert not curves.duplicated(["key", "epoch"]).any()
