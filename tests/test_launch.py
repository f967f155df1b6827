"""The launch scripts: what they would run, to the letter; and local.sh with a stand-in for zfjax
that only waits."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

LAUNCH = Path(__file__).parent.parent / "launch"
SCRIPTS = ("local.sh", "slurm.sh", "tpu_vm.sh", "kubernetes.sh", "skypilot.sh")
NEEDED = {  # what each cannot do without
    "tpu_vm.sh": ["--name", "tpu", "--zone", "zone-a"],
    "kubernetes.sh": ["--image", "registry/zfjax:1"],
    "skypilot.sh": ["--share", "10.0.0.2:/zf"],
}
WORKDIR = '/runs/it\'s a "run" $HOME'
SAID = r"/runs/it\'s\ a\ \"run\"\ \$HOME"
TRAIN = ["--preset", "demo", "--workdir", WORKDIR]
EVOLVE = ["evolve", "--workdir", WORKDIR, "--dry-run"]


def call(script, *arguments, **environment):
    """The script's exit status, lines and messages; with a PATH that has none of the tools it would
    start."""
    bare = {"PATH": "/usr/bin:/bin", **environment}
    done = subprocess.run(
        ["bash", LAUNCH / script, *arguments], capture_output=True, text=True, env=bare, check=False
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def dry(script, *arguments):
    status, lines, messages = call(script, *arguments)
    assert (status, messages) == (0, "")
    return lines


def meeting(program, word, coordinator, count, rest):
    return [
        f"{program} {word} --coordinator {coordinator} --process-count {count} --process-index"
        f" {index} {rest}"
        for index in range(count)
    ]


@pytest.mark.parametrize("script", [*SCRIPTS, "common.sh", "slurm.sbatch"])
def test_bash_can_read_it(script):
    subprocess.run(["bash", "-n", LAUNCH / script], check=True)
    if script in SCRIPTS:
        assert os.access(LAUNCH / script, os.X_OK)


def test_local():
    assert dry("local.sh", "--dry-run", "--preset", "demo", "--workdir", "runs/demo") == [
        ".venv/bin/zfjax train --preset demo --workdir runs/demo"
    ]
    assert dry("local.sh", "--dry-run", *EVOLVE) == [
        f".venv/bin/zfjax evolve --workdir {SAID} --dry-run"
    ]
    expected = meeting(
        ".venv/bin/zfjax", "train", "127.0.0.1:29400", 3, f"--preset demo --workdir {SAID}"
    )
    assert dry("local.sh", "--processes", "3", "--dry-run", *TRAIN) == expected
    status, lines, _ = call("local.sh", "--processes", "3", "--dry-run", *TRAIN, ZFJAX_PORT="1234")
    assert (status, lines) == (0, [line.replace(":29400", ":1234") for line in expected])


def test_slurm():
    assert dry(
        "slurm.sh",
        "--dry-run",
        "--nodes",
        "2",
        "--gpus-per-node",
        "2",
        "--time",
        "1-00:00:00",
        "--partition",
        "gpu",
        "--cpus-per-task",
        "8",
        *TRAIN,
    ) == [
        (
            "sbatch --nodes=2 --ntasks-per-node=2 --gpus-per-node=2 --time=1-00:00:00"
            " --partition=gpu --cpus-per-task=8 launch/slurm.sbatch train --preset demo --workdir"
            f" {SAID}"
        ),
        *4 * [f".venv/bin/zfjax train --coordinator auto --preset demo --workdir {SAID}"],
    ]
    assert dry("slurm.sh", "--dry-run", "--nodes", "2", "--gpus-per-node", "0", *EVOLVE) == [
        (
            f"sbatch --nodes=2 --ntasks-per-node=1 launch/slurm.sbatch evolve --workdir {SAID}"
            " --dry-run"
        ),
        *2 * [f".venv/bin/zfjax evolve --coordinator auto --workdir {SAID} --dry-run"],
    ]


def unquoted(line):
    """The words that a shell reads in a line."""
    return subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True
    ).stdout.split("\0")[:-1]


def test_tpu_vm():
    own = ["--dry-run", *NEEDED["tpu_vm.sh"]]
    ssh = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "tpu", "--zone=zone-a", "--worker=all"]
    running = 'grep -qs zfjax "/proc/$(cat zfjax/.pid)/cmdline"'
    here, there = dry("tpu_vm.sh", *own, "--share", "10.0.0.2:/z f", *TRAIN)
    assert there == f".venv/bin/zfjax train --coordinator auto --preset demo --workdir {SAID}"
    assert unquoted(here) == [
        *ssh,
        (
            f"--command=set -e; if {running}; then echo 'zfjax is running on this worker; --stop"
            " ends it.' >&2; exit 1; fi; mountpoint -q /mnt/zfjax || { sudo mkdir -p /mnt/zfjax"
            " && sudo mount -t nfs -o lookupcache=positive 10.0.0.2:/z\\ f /mnt/zfjax; }; cd"
            f" zfjax && echo $$ >.pid && exec {there}"
        ),
    ]
    (here,) = dry("tpu_vm.sh", *own, "--stop")
    assert unquoted(here) == [*ssh, f'--command={running} && kill -TERM "$(cat zfjax/.pid)"']
    archive, copy, install = dry("tpu_vm.sh", *own, "--setup")
    assert archive == "git archive --format=tar.gz --output=zfjax-checkout.tar.gz HEAD"
    assert (
        copy
        == "gcloud compute tpus tpu-vm scp zfjax-checkout.tar.gz tpu: --zone=zone-a --worker=all"
    )
    *words, command = unquoted(install)
    assert words == ssh
    assert command.endswith(
        "\n"
        + """make PYTHON="$python" .venv/ready; .venv/bin/pip install --quiet \
-c constraints.txt -e '.[tpu]'"""
    )
    subprocess.run(["bash", "-n", "-c", command.removeprefix("--command=")], check=True)
    last = dry("tpu_vm.sh", *own, "--setup", *EVOLVE)[-1]
    assert last == f".venv/bin/zfjax evolve --coordinator auto --workdir {SAID} --dry-run"


def test_kubernetes():
    own = [*NEEDED["kubernetes.sh"], "--processes", "2", "--gpus", "8", "--name", "zf"]
    address = "zf-worker-0-0.zf:29400"
    assert dry("kubernetes.sh", "--dry-run", *own, *TRAIN) == [
        "kubectl apply -f -",
        *meeting("zfjax", "train", address, 2, f"--preset demo --workdir {SAID}"),
    ]
    assert dry("kubernetes.sh", "--dry-run", "--namespace", "vision", *own, *EVOLVE) == [
        "kubectl apply --namespace=vision -f -",
        *meeting("zfjax", "evolve", address, 2, f"--workdir {SAID} --dry-run"),
    ]

    hostile = '/a\\b & "${IMAGE}" $(HOME) $$\n\t\'é'
    jobset = yaml.safe_load(
        "\n".join(dry("kubernetes.sh", "--render", *own, "train", "--workdir", hostile, "INDEX"))
    )
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["metadata"]["name"] == "zf"
    assert jobset["spec"]["failurePolicy"] == {"maxRestarts": 10}
    (group,) = jobset["spec"]["replicatedJobs"]
    job = group["template"]["spec"]
    assert address.startswith(f"zf-{group['name']}-0-0.")
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 2, 2)
    pod = job["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 120
    (container,) = pod["containers"]
    assert container["image"] == "registry/zfjax:1"
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 8}}
    assert container["command"] == [
        "zfjax",
        "train",
        "--coordinator",
        address,
        "--process-count",
        "2",
        "--process-index",
        "$(JOB_COMPLETION_INDEX)",
        "--workdir",
        hostile.replace("$", "$$"),
        "INDEX",
    ]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    claims = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["volumes"]]
    assert claims == ["zfjax-runs", "zfjax-data", None]


def test_skypilot(tmp_path):
    own = ["--dry-run", "--share", "10.0.0.2:/zf", "--nodes", "2"]
    first, *nodes = dry("skypilot.sh", *own, "--gpus", "H100:8", "--infra", "gcp/us-east5", *TRAIN)
    words = f"train --preset demo --workdir {SAID}"
    assert unquoted(first) == [
        "sky",
        "launch",
        "--cluster",
        "zfjax",
        "--num-nodes",
        "2",
        "--gpus",
        "H100:8",
        "--infra",
        "gcp/us-east5",
        "--env",
        "ZFJAX_SHARE=10.0.0.2:/zf",
        "--env",
        "ZFJAX_EXTRA=cuda",
        "--env",
        f"ZFJAX_WORDS={words}",
        "launch/skypilot.yaml",
    ]
    rest = f"--preset demo --workdir {SAID}"
    assert nodes == meeting(".venv/bin/zfjax", "train", "FIRST_NODE_IP:29400", 2, rest)
    spot, *nodes = dry("skypilot.sh", *own, "--spot", "--name", "zf", *EVOLVE)
    assert spot.startswith(
        "sky jobs launch --name zf --use-spot --num-nodes 2 --env ZFJAX_SHARE=10.0.0.2:/zf "
    )
    assert nodes == meeting(
        ".venv/bin/zfjax", "evolve", "FIRST_NODE_IP:29400", 2, f"--workdir {SAID} --dry-run"
    )

    # What a node runs, with the environment that SkyPilot gives it.
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    assert set(task["envs"]) == {"ZFJAX_SHARE", "ZFJAX_EXTRA", "ZFJAX_WORDS"}
    stub(tmp_path / ".venv/bin/zfjax", '#!/bin/bash\nprintf "%s\\0" "$@"')
    stub(tmp_path / "bin/mountpoint", "#!/bin/bash\n")
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "ZFJAX_SHARE": "10.0.0.2:/zf",
        "ZFJAX_WORDS": words,
        "SKYPILOT_NODE_IPS": "10.1.0.1\n10.1.0.2",
        "SKYPILOT_NODE_RANK": "1",
        "SKYPILOT_NUM_NODES": "2",
    }
    subprocess.run(["bash", "-n", "-c", task["setup"]], check=True)
    ran = subprocess.run(
        ["bash", "-c", task["run"]],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split("\0")[:-1] == [
        "train",
        "--coordinator",
        "10.1.0.1:29400",
        "--process-count",
        "2",
        "--process-index",
        "1",
        *TRAIN,
    ]


GRID = ["ablate", "--workdir", WORKDIR, "--preset", "demo", "--grid", "stems"]
GRID_SAID = f"--workdir {SAID} --preset demo --grid stems"


def test_workers_of_an_ablation_here(tmp_path):
    worker = f".venv/bin/zfjax ablate --work {GRID_SAID}"
    assert dry("local.sh", "--dry-run", *GRID) == [f".venv/bin/zfjax ablate {GRID_SAID}"]
    assert dry("local.sh", "--processes", "2", "--dry-run", *GRID) == [worker] * 2
    stub(tmp_path / "nvidia-smi", "#!/bin/bash\necho GPU 0\necho GPU 1\necho GPU 2\n")
    path = f"{tmp_path}:/usr/bin:/bin"
    status, lines, _ = call("local.sh", "--dry-run", *GRID, PATH=path)
    assert status == 0
    assert lines == [f"env CUDA_VISIBLE_DEVICES={gpu} {worker}" for gpu in range(3)]
    _, lines, _ = call("local.sh", "--processes", "4", "--dry-run", *GRID, PATH=path)
    assert [line.split()[1][-1] for line in lines] == ["0", "1", "2", "0"]
    # A run still takes all devices in one process.
    _, lines, _ = call("local.sh", "--dry-run", *TRAIN, PATH=path)
    assert lines == [f".venv/bin/zfjax train --preset demo --workdir {SAID}"]


def test_a_worker_that_fails_keeps_no_other_from_going_on(start):
    process = start("--processes", "3", words=GRID, FAILS="1", ENDS="yes")
    process.communicate(timeout=20)
    assert process.returncode == 7 and not list(start.notes.glob("*.signals"))
    nothing_is_left(start.notes)


def test_workers_of_an_ablation_elsewhere(tmp_path):
    worker = f".venv/bin/zfjax ablate --work {GRID_SAID}"
    first, *jobs = dry("slurm.sh", "--dry-run", "--workers", "3", "--time", "60", *GRID)
    assert first == (
        "sbatch --array=1-3 --nodes=1 --ntasks-per-node=1 --gpus-per-node=1 --time=60"
        f" launch/slurm.sbatch ablate --work {GRID_SAID}"
    )
    assert jobs == [worker] * 3
    own = ["--dry-run", "--workers", "2", "--gpus-per-node", "0", "--no-locks"]
    first, *jobs = dry("slurm.sh", *own, *GRID)
    assert unquoted(first)[4:9] == ["launch/slurm.sbatch", "ablate", "--work", "@/2", "--workdir"]
    assert jobs == [worker.replace("--work ", f"--work {index}/2 ") for index in (1, 2)]

    own = [*NEEDED["kubernetes.sh"], "--processes", "2", "--gpus", "1", "--name", "zf"]
    expected = ["kubectl apply -f -", *2 * [worker.removeprefix(".venv/bin/")]]
    assert dry("kubernetes.sh", "--dry-run", *own, *GRID) == expected
    job = yaml.safe_load("\n".join(dry("kubernetes.sh", "--render", *own, *GRID)))
    assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == ("batch/v1", "Job", "zf")
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert spec["backoffLimitPerIndex"] == 10
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [1]
    pod = spec["template"]["spec"]
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == ("Never", 120)
    [container] = pod["containers"]
    words = [word.replace("$", "$$") for word in GRID[1:]]
    assert container["command"] == ["zfjax", "ablate", "--work", *words]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }

    own = ["--dry-run", *NEEDED["skypilot.sh"], "--workers", "2", "--gpus", "H100:1", "--spot"]
    *jobs, one, two = dry("skypilot.sh", *own, *GRID)
    assert one == two == worker
    assert [unquoted(line)[:7] for line in jobs] == [
        ["sky", "jobs", "launch", "--detach-run", "--yes", "--name", f"zfjax-{index}"]
        for index in (1, 2)
    ]
    assert f"ZFJAX_WORDS=ablate --work {GRID_SAID}" in unquoted(jobs[0])
    assert "--use-spot" in unquoted(jobs[0]) and unquoted(jobs[0])[-1] == "launch/skypilot.yaml"
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    stub(tmp_path / ".venv/bin/zfjax", '#!/bin/bash\nprintf "%s\\0" "$@"')
    stub(tmp_path / "bin/mountpoint", "#!/bin/bash\n")
    ran = subprocess.run(
        ["bash", "-c", task["run"]],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "ZFJAX_SHARE": "10.0.0.2:/zf",
             "ZFJAX_WORDS": f"ablate --work {GRID_SAID}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert ran.stdout.split("\0")[:-1] == ["ablate", "--work", *GRID[1:]]


def test_an_ablation_s_own_part_is_kept():
    for part in (["--work", "2/8"], ["--work=2/8"], ["--work"]):
        [line] = dry("slurm.sh", "--dry-run", *GRID, *part)[1:]
        assert line == f".venv/bin/zfjax ablate {GRID_SAID} {' '.join(part)}"


def test_what_ablations_do_not_take_is_said():
    for script, options, said in (
        ("slurm.sh", ["--nodes", "2"], "an ablation takes --workers"),
        ("skypilot.sh", [*NEEDED["skypilot.sh"], "--nodes", "2"], "an ablation takes --workers"),
        ("tpu_vm.sh", NEEDED["tpu_vm.sh"], "start equal workers with"),
    ):
        status, lines, message = call(script, "--dry-run", *options, *GRID)
        assert (status, lines, message.count("\n")) == (2, [], 1) and said in message
    for script in ("slurm.sh", "skypilot.sh"):
        options = [*NEEDED.get(script, []), "--workers", "2"]
        status, _, message = call(script, "--dry-run", *options, *TRAIN)
        assert status == 2 and "a run takes --nodes" in message


@pytest.mark.parametrize("script", SCRIPTS)
def test_mistakes_end_in_one_sentence(script):
    def fails(*arguments):
        status, lines, message = call(script, "--dry-run", *NEEDED.get(script, []), *arguments)
        assert (status, lines, message.count("\n")) == (2, [], 1)
        assert message.startswith(f"launch/{script}: ")
        return message

    assert "--frobnicate is not an option of this script" in fails("--frobnicate", *TRAIN)
    assert "Say what to run" in fails()
    if script != "tpu_vm.sh":
        count = {"local.sh": "--processes", "kubernetes.sh": "--processes"}.get(script, "--nodes")
        for wrong in ("two", "0", "-1", "07"):
            assert f"{count} {wrong}: give a whole number from 1." in fails(count, wrong, *TRAIN)
        assert f"{count} needs a value." in fails(count)
    if script in ("tpu_vm.sh", "kubernetes.sh", "skypilot.sh"):
        for workdir in (["--workdir", "runs/zf"], ["--workdir=runs/zf"]):
            assert "--workdir runs/zf: give the whole path" in fails("--preset", "demo", *workdir)
    status, lines, messages = call(script, "--help")
    assert (status, messages) == (0, "") and any(f"launch/{script} " in line for line in lines)


def test_names_and_seconds_are_checked():
    status, _, message = call(
        "kubernetes.sh", "--dry-run", "--image", "i", "--name", "Bad Name", *TRAIN
    )
    assert (status, message.count("\n")) == (2, 1) and "--name Bad Name: small letters" in message
    status, _, message = call("local.sh", "--dry-run", *TRAIN, ZFJAX_GRACE="5s")
    assert status == 2 and "ZFJAX_GRACE 5s: give a whole number from 0." in message


@pytest.mark.parametrize("script", NEEDED)
def test_what_is_missing_is_said(script):
    status, lines, message = call(script, "--dry-run", *TRAIN)
    assert (status, lines, message.count("\n")) == (2, [], 1)
    assert NEEDED[script][0] in message


STUB = """#!/bin/bash
# Stands in for zfjax: notes its arguments and the signals it gets, waits, and leaves a child
# behind.
index=0
for word; do
  if [ "$before" = --process-index ]; then index=$word; fi
  before=$word
done
if [ "$1" = ablate ]; then  # equal workers have no index
  for index in 0 1 2 3; do mkdir "$NOTES/taken-$index" 2>/dev/null && break; done
fi
printf '%s\\n' "$@" >"$NOTES/$index.arguments"
save() {  # process 0 takes longest; a second signal would show
  echo "$1" >>"$NOTES/$index.signals"
  trap 'echo again >>"$NOTES/$index.signals"' TERM INT
  if [ "$index" = 0 ]; then for _ in 1 2 3 4; do sleep 0.05; done; fi
  exit "$2"
}
trap 'save TERM 143' TERM
trap 'save INT 130' INT
if [ "$index" = "${STAYS:-}" ]; then trap '' TERM; fi
echo "process $index of it"
sleep 60 &
echo "$$ $!" >"$NOTES/$index.pids.part"
mv "$NOTES/$index.pids.part" "$NOTES/$index.pids"
if [ "$index" = "${FAILS:-}" ]; then
  until [ -e "$NOTES/0.pids" ] && [ -e "$NOTES/1.pids" ] && [ -e "$NOTES/2.pids" ]; do
    sleep 0.02
  done
  exit 7
fi
if [ -n "${ENDS:-}" ]; then exit 0; fi
while :; do wait; done
"""


def stub(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def start(tmp_path):
    """Starts local.sh of a copy of the checkout whose zfjax is the stand-in, as three processes;
    what is left of them is killed in the end."""
    copy, notes = tmp_path / "a checkout", tmp_path / "notes"
    shutil.copytree(LAUNCH, copy / "launch")
    notes.mkdir()
    stub(copy / ".venv/bin/zfjax", STUB)
    (copy / ".venv/bin/python").symlink_to(sys.executable)
    (copy / "Makefile").write_text(".venv/ready:\n\t@touch $@\n")
    started = []

    def launch(*arguments, words=TRAIN, **environment):
        bare = {
            "PATH": "/usr/bin:/bin",
            "NOTES": str(notes),
            "TMPDIR": str(tmp_path),
            **environment,
        }
        process = subprocess.Popen(
            [copy / "launch/local.sh", *arguments, *words],
            env=bare,
            cwd="/",
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    launch.notes = notes
    yield launch
    for number in [process.pid for process in started if process.poll() is None] + noted_processes(
        notes
    ):
        if alive(number):
            os.kill(number, signal.SIGKILL)
    for process in started:
        process.communicate()


def alive(number):
    """Whether a process runs; one that has ended and waits for its parent to ask does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def noted_processes(notes):
    return [int(number) for path in notes.glob("*.pids") for number in path.read_text().split()]


def nothing_is_left(notes):
    assert len(noted_processes(notes)) == 6
    until(lambda: not any(alive(number) for number in noted_processes(notes)))


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")


@needs_proc
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_every_process_once(start, sent, status):
    if signal.getsignal(sent) == signal.SIG_IGN:
        pytest.skip("started with this signal ignored, which a shell cannot undo")
    process = start("--processes", "3", ZFJAX_PORT="2345")
    until(lambda: len(noted_processes(start.notes)) == 6)
    process.send_signal(sent)
    output, messages = process.communicate(timeout=20)
    assert process.returncode == status
    assert output == "process 0 of it\n"
    assert sorted(messages.splitlines()) == ["[1] process 1 of it", "[2] process 2 of it"]
    for index in range(3):
        assert (start.notes / f"{index}.signals").read_text() == f"{sent.name[3:]}\n"
        assert (start.notes / f"{index}.arguments").read_text().splitlines() == [
            "train",
            "--coordinator",
            "127.0.0.1:2345",
            "--process-count",
            "3",
            "--process-index",
            str(index),
            *TRAIN,
        ]
    nothing_is_left(start.notes)


@needs_proc
@pytest.mark.parametrize("index", [0, 2])
def test_one_that_fails_ends_the_others(start, index):
    process = start("--processes", "3", FAILS=str(index))
    process.communicate(timeout=20)
    assert process.returncode == 7
    others = {f"{other}.signals" for other in range(3) if other != index}
    assert {path.name for path in start.notes.glob("*.signals")} == others
    nothing_is_left(start.notes)
    meet = (start.notes / "0.arguments").read_text().splitlines()[2]
    assert meet == (start.notes / "2.arguments").read_text().splitlines()[2]
    assert meet.startswith("127.0.0.1:") and 1024 <= int(meet.split(":")[1]) < 65536


@needs_proc
def test_one_that_does_not_end_is_killed(start):
    process = start("--processes", "3", FAILS="0", STAYS="1", ZFJAX_GRACE="0")
    process.communicate(timeout=20)
    assert process.returncode == 7
    nothing_is_left(start.notes)


@needs_proc
def test_success_and_one_process(start):
    process = start("--processes", "3", ENDS="yes")
    process.communicate(timeout=20)
    assert process.returncode == 0
    nothing_is_left(start.notes)
    process = start(ENDS="yes")
    assert process.wait(timeout=20) == 0
    assert (start.notes / "0.arguments").read_text().splitlines() == ["train", *TRAIN]


# The last job of array 12 is numbered 12 too, and what is said of 12 is said of all its jobs.
ARRAY = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.mark.parametrize(
    ("status", "array", "called"),
    [
        (143, {}, ["scancel --signal=TERM 12", "scontrol requeue 12"]),
        (143, ARRAY, ["scancel --signal=TERM 12_3", "scontrol requeue 12_3"]),
        (0, {}, ["scancel --signal=TERM 12"]),
    ],
)
def test_the_slurm_job_goes_back_into_the_queue(tmp_path, status, array, called):
    tools, notes = tmp_path / "bin", tmp_path / "notes"
    stub(
        tools / "srun",
        f'#!/bin/bash\ntrap "exit {status}" TERM\nprintf "%s\\n" "$@" >arguments\necho $$ >step\n'
        "mv step srun.pid\nwhile :; do sleep 0.05; done\n",
    )
    stub(
        tools / "scancel", '#!/bin/bash\necho "scancel $*" >>notes\nkill -TERM "$(cat srun.pid)"\n'
    )
    stub(tools / "scontrol", '#!/bin/bash\necho "scontrol $*" >>notes\n')
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "SLURM_JOB_ID": "12", **array}
    job = subprocess.Popen(
        ["bash", LAUNCH / "slurm.sbatch", "train", *TRAIN], env=environment, cwd=tmp_path
    )
    until((tmp_path / "srun.pid").exists)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=20) == status
    assert notes.read_text().splitlines() == called
    expected = [
        "--wait=300",
        "--kill-on-bad-exit=0",
        ".venv/bin/zfjax",
        "train",
        "--coordinator",
        "auto",
        *TRAIN,
    ]
    assert (tmp_path / "arguments").read_text().splitlines() == expected


def test_a_job_of_the_slurm_array_is_an_equal_worker(tmp_path):
    stub(tmp_path / "bin/srun", '#!/bin/bash\nprintf "%s\\n" "$@" >arguments\n')
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "SLURM_JOB_ID": "14", **ARRAY}
    for part, own in ((["--work", "@/8"], ["--work", "3/8"]), (["--work"], ["--work"])):
        subprocess.run(
            ["bash", LAUNCH / "slurm.sbatch", "ablate", *part, *GRID[1:]],
            env=environment,
            cwd=tmp_path,
            check=True,
        )
        started = (tmp_path / "arguments").read_text().splitlines()
        assert started[2:] == [".venv/bin/zfjax", "ablate", *own, *GRID[1:]]
